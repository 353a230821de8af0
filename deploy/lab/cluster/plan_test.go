package cluster

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// Invariant 1 within a lab: no two stations share anything.
func TestNeverTwoStationsAlike(t *testing.T) {
	o := Options{Nodes: maxNodes, Proxy: "nftables", Routers: "frr,bird,frr2,frr3,frr4,frr5,frr6,frr7,frr8"}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	routers := o.routers()
	for _, s := range slices.Concat(o.nodes(), routers, []station{cpStation, clientStation, client2Station, farStation}) {
		unique := []string{s.name, s.v4().String(), s.v6().String(), s.mac().String(), s.cable()}
		if slices.Contains(routers, s) {
			unique = append(unique, s.farV4().String(), s.farV6().String(), s.farCable())
		}
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
		`"cisco"`:          {Nodes: 1, Proxy: "nftables", Routers: "frr,cisco"},
		`"frr10"`:          {Nodes: 1, Proxy: "nftables", Routers: "frr10"},
		"frr twice":        {Nodes: 1, Proxy: "nftables", Routers: "frr,bird,frr"},
		"10 routers":       {Nodes: 1, Proxy: "nftables", Routers: "frr,frr1,frr2,frr3,frr4,frr5,frr6,frr7,frr8,bird"},
	} {
		if err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
