package cluster

import (
	"net/netip"
	"strings"
	"testing"
)

// Invariant 1 within a lab: no two stations share anything.
func TestNeverTwoStationsAlike(t *testing.T) {
	o := Options{Nodes: maxNodes, Proxy: "nftables"}
	seen := map[string]string{}
	for _, s := range append(o.nodes(), cpStation, clientStation, client2Station) {
		unique := []string{s.name, s.v4().String(), s.v6().String(), s.mac().String(), s.cable()}
		if s.number() <= maxNodes && s != cpStation {
			unique = append(unique, netip.MustParsePrefix(s.podNet4()).String(), netip.MustParsePrefix(s.podNet6()).String())
		}
		for _, u := range unique {
			if other, taken := seen[u]; taken {
				t.Errorf("%s and %s both have %s", other, s.name, u)
			}
			seen[u] = s.name
		}
		if len(s.cable()) > 15 {
			t.Errorf("interface name %s is too long", s.cable())
		}
	}
}

func TestStationOf(t *testing.T) {
	o := Options{Nodes: 3}
	for name, ok := range map[string]bool{"node1": true, "node3": true, "node0": false, "node4": false, "client": false, "node": false, "1": false} {
		s, err := o.stationOf(name)
		if (err == nil) != ok || ok && s.name != name {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if err != nil && !strings.Contains(err.Error(), "node1, node2, node3") {
			t.Errorf("%s: the error does not say which there are: %v", name, err)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"0 nodes":          {Nodes: 0, Proxy: "nftables"},
		"21 nodes":         {Nodes: 21, Proxy: "nftables"},
		"ipvs":             {Nodes: 1, Proxy: "ipvs"},
		"without holdfast": {Nodes: 1, Proxy: "iptables", HoldfastArgs: "--settle=1s"},
	} {
		if err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
