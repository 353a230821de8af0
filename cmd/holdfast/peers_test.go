package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
)

// What an operator reads of sessions that stand in different ways.
func TestPeersTable(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	router := netip.MustParseAddr("10.0.0.1")
	var b strings.Builder
	printPeers(&b, []bgp.PeerStatus{
		{
			Name: "tor1", Address: router, State: bgp.Established, Since: now.Add(-90 * time.Second), RemoteAS: 65000,
			AdvertisedV4: 12, AdvertisedV6: 3, BFD: &bfd.Status{State: bfd.Up}, LastError: "the router closed the session", Problem: "IPv6 is not advertised: eth0 has no global IPv6 address",
			Pending: true,
		},
		{Name: "tor2", Address: router.Next(), State: bgp.Active, Since: now.Add(-2 * time.Second), Reason: "next attempt", LastError: "connection refused", BFD: &bfd.Status{State: bfd.Down, Trouble: "port 3784 is taken"}},
		{Name: "tor3", State: bgp.Idle, Since: now, Reason: "added", Frozen: true},
	}, now)
	const want = `PEER  ROUTER    AS     STATE        FOR    ADVERTISED  BFD
tor1  10.0.0.1  65000  Established  1m30s  12, 3       Up
tor2  10.0.0.2  -      Active       2s     -           Down
tor3  -         -      Idle         0s     -           -
tor1: times and router ID as its BGPPeer has them now count from the next session on; IPv6 is not advertised: eth0 has no global IPv6 address
tor2: connection refused; port 3784 is taken
tor3: its BGPPeer cannot be used as it stands (see its status); the session stays as it is; added
`
	if b.String() != want {
		t.Errorf("printed\n%s\nand should\n%s", b.String(), want)
	}
	b.Reset()
	if printPeers(&b, nil, now); b.String() != "No BGPPeer selects this node.\n" {
		t.Errorf("without peers: %q", b.String())
	}
}

func TestPeersAreServed(t *testing.T) {
	h := copyOf(t)
	server := httptest.NewServer(http.HandlerFunc(h.servePeers))
	defer server.Close()
	var b strings.Builder
	if err := fetch(t.Context(), server.URL, &b); err != nil || b.String() != "No BGPPeer selects this node.\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if err := fetch(t.Context(), server.URL+"%", &b); err == nil {
		t.Error("a wrong address is not refused")
	}
}
