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
	"holdfast.dev/holdfast/speaker"
)

// standing is the sessions of peers in no VRF, on BGP's own port.
func standing(all []bgp.PeerStatus) (out []speaker.Peer) {
	for _, p := range all {
		out = append(out, speaker.Peer{PeerStatus: p, Port: 179})
	}
	return out
}

// What an operator reads of sessions that stand in different ways.
func TestPeersTable(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	router := netip.MustParseAddr("10.0.0.1")
	var b strings.Builder
	printPeers(&b, standing([]bgp.PeerStatus{
		{
			Name: "tor1", Address: router, State: bgp.Established, Since: now.Add(-90 * time.Second), RemoteAS: 65000,
			AdvertisedV4: 12, AdvertisedV6: 3, BFD: &bfd.Status{State: bfd.Up}, LastError: "the router closed the session", Problem: "IPv6 is not advertised: eth0 has no global IPv6 address",
			Pending: true,
		},
		{Name: "tor2", Address: router.Next(), State: bgp.Active, Since: now.Add(-2 * time.Second), Reason: "next attempt", LastError: "connection refused", BFD: &bfd.Status{State: bfd.Down, Trouble: "port 3784 is taken"}},
		{Name: "tor3", State: bgp.Idle, Since: now, Reason: "added", Frozen: true},
	}), now)
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
	b.Reset()
	if err := fetch(t.Context(), server.URL+"/peers?output=wide", &b); err != nil || b.String() != "No BGPPeer selects this node.\n" {
		t.Errorf("wide: %q, %v", b.String(), err)
	}
	if err := fetch(t.Context(), server.URL+"/peers?name=tor1", &b); err == nil || err.Error() != `no BGPPeer "tor1" selects this node, or it has no session here` {
		t.Errorf("one that is not there: %v", err)
	}
	if err := fetch(t.Context(), server.URL+"%", &b); err == nil {
		t.Error("a wrong address is not refused")
	}
}

// All that an operator may want to know of a session, as "show bgp neighbor" has it.
func TestPeersInDetail(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	router, node := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
	peers := standing([]bgp.PeerStatus{
		{
			Name: "tor1", Address: router, State: bgp.Established, Since: now.Add(-90 * time.Second), Reason: "established",
			LastError: "hold timer expired: nothing heard for 9s", Problem: "IPv6 is not advertised: eth0 has no global IPv6 address",
			LocalAS: 64512, Local: netip.AddrPortFrom(node, 40001), Remote: netip.AddrPortFrom(router, 179), RemoteAS: 65000, RemoteID: netip.MustParseAddr("1.2.3.4"),
			HoldTime: 9 * time.Second, Keepalive: 3 * time.Second, IPv4: true, IPv6: true, FourOctetAS: true, RouteRefresh: true,
			GracefulRestart: true, RemoteRestartTime: 2 * time.Minute, AdvertisedV4: 12, AdvertisedV6: 3,
			Sent: bgp.Messages{Opens: 4, Updates: 17, Keepalives: 200, Notifications: 1}, Received: bgp.Messages{Opens: 3, Keepalives: 201, RouteRefreshes: 1},
			Connects: 5, Ups: 3, Downs: 2,
			BFD: &bfd.Status{
				Session: bfd.Session{Profile: bfd.Profile{Transmit: 50 * time.Millisecond, Receive: 50 * time.Millisecond, Multiplier: 3}},
				State:   bfd.Up, Since: now.Add(-time.Minute), Reason: "the router is up", TransmitEvery: 50 * time.Millisecond, DetectAfter: 150 * time.Millisecond,
				RemoteState: bfd.Up, RemoteTransmit: 50 * time.Millisecond, RemoteReceive: 50 * time.Millisecond, RemoteMultiplier: 3,
				PacketsIn: 1000, PacketsOut: 1001, Dropped: map[string]uint64{"TTL below 255": 2}, Ups: 2, Downs: 1,
			},
		},
		{Name: "tor2", State: bgp.Active, Since: now.Add(-2 * time.Second), Reason: "connection refused", LastError: "connection refused", LocalAS: 64512, Connects: 7},
	})
	peers[1].Interface, peers[1].VRF = "eth1", "red"
	var b strings.Builder
	detailPeers(&b, peers, now)
	const want = `tor1
  router        10.0.0.1:179
  state         Established for 1m30s: established
  note          IPv6 is not advertised: eth0 has no global IPv6 address
  last error    hold timer expired: nothing heard for 9s
  AS shown      64512
  peer          AS 65000 (external), router ID 1.2.3.4
  connection    10.0.0.9:40001 to 10.0.0.1:179
  timers        hold 9s, keepalive 3s
  agreed on     IPv4, IPv6, four-octet AS, route refresh, graceful restart (the router's restart time is 2m)
  advertised    12 IPv4, 3 IPv6 prefixes
  sent          4 OPEN, 17 UPDATE, 200 KEEPALIVE, 1 NOTIFICATION, 0 ROUTE-REFRESH
  received      3 OPEN, 0 UPDATE, 201 KEEPALIVE, 0 NOTIFICATION, 1 ROUTE-REFRESH
  sessions      3 established, 2 lost, 5 attempts to connect
  BFD           Up for 1m: the router is up
  BFD sends     every 50ms, wants to hear every 50ms, multiplier 3
  BFD hears     a router that is Up, offers every 50ms, wants every 50ms, multiplier 3; dead after 150ms of silence
  BFD packets   1001 sent, 1000 received, 0 not sent, 2 dropped (TTL below 255)
  BFD sessions  2 up, 1 down

tor2
  router      not found yet on eth1 in VRF red
  state       Active for 2s: connection refused
  note        connection refused
  last error  connection refused
  AS shown    64512
  sent        0 OPEN, 0 UPDATE, 0 KEEPALIVE, 0 NOTIFICATION, 0 ROUTE-REFRESH
  received    0 OPEN, 0 UPDATE, 0 KEEPALIVE, 0 NOTIFICATION, 0 ROUTE-REFRESH
  sessions    0 established, 0 lost, 7 attempts to connect
`
	if b.String() != want {
		t.Errorf("printed\n%s\nand should\n%s", b.String(), want)
	}
}
