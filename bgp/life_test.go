package bgp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// A router that is rebooted has the routes again soon after it is back, though
// the longest wait between attempts is long.
func TestRouterRestarts(t *testing.T) {
	t.Parallel()
	c := newCable("fake", 250)
	c.routerNS, c.here = "reboot", "reboot0"
	addRouterNamespace(t, c.routerNS)
	c.lay(t)
	r := router.Started(t)(router.StartBIRD(bounded(t), c.routerNS, c.routerNS, c.fill(`router id 10.255.0.9;
protocol device { }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol bgp node { local as 65000; neighbor {our4} external; passive on; ipv4 { import all; export none; }; }
`)))
	n := run(t, Config{})
	p := plain(c, c.their4)
	p.IPv6, p.Connect = false, 2*time.Minute
	n.Set(c.prefixes(), []Peer{p})
	forwards4(t, r, n, c, p)
	must(t, r.Stop())
	s := n.waitState(p.Name, Active)
	if s.LastError == "" {
		t.Errorf("status %+v", s)
	}
	waitRoute(t, r, c.prefix4)
	must(t, r.Start(bounded(t)))
	forwards4(t, r, n, c, p)
}

const frrAgain = `router bgp 65000
 bgp router-id 10.255.0.10
 no bgp ebgp-requires-policy
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor {our4} remote-as external
 neighbor {our4} passive
 address-family ipv6 unicast
  neighbor {our4} activate
 exit-address-family
exit
`

const birdAgain = `router id 10.255.0.11;
protocol device { }
protocol kernel { graceful restart on; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { graceful restart on; ipv6 { import none; export where source = RTS_BGP; }; }
protocol bgp node {
	local as 65000; neighbor {our4} external; passive on; graceful restart on;
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}
`

// A router with graceful restart that is killed keeps forwarding until it has been told
// everything again.
func TestRouterRestartsGracefully(t *testing.T) {
	t.Parallel()
	frr := func(ctx context.Context, ns, config string) (*router.Router, error) {
		return router.StartFRR(ctx, ns, ns, config)
	}
	bird := func(ctx context.Context, ns, config string) (*router.Router, error) {
		return router.StartBIRD(ctx, ns, ns, config)
	}
	for i, test := range []struct {
		ns     string
		six    bool // the session
		start  func(ctx context.Context, ns, config string) (*router.Router, error)
		config string
		killed []string
	}{
		{"again1", false, frr, frrAgain, []string{"bgpd"}},
		{"again2", false, bird, birdAgain, nil},
		{"again3", true, frr, frrAgain, []string{"bgpd"}},
		{"again4", true, bird, birdAgain, nil},
	} {
		t.Run(test.ns, func(t *testing.T) {
			t.Parallel()
			c := newCable("fake", 240+i)
			c.routerNS, c.here = test.ns, test.ns
			addRouterNamespace(t, c.routerNS)
			c.lay(t)
			p := plain(c, c.their4)
			if test.six {
				p.Address, test.config = c.their6, strings.ReplaceAll(test.config, "{our4}", "{our6}")
			}
			p.GracefulRestart = true
			r := router.Started(t)(test.start(bounded(t), test.ns, c.fill(test.config)))
			n := run(t, Config{})
			n.Set(c.prefixes(), []Peer{p})
			forwardsBoth(t, r, n, c, p)
			watched, _ := watch(r, c.prefix4, c.prefix6)
			must(t, r.Kill(test.killed...))
			n.waitState(p.Name, Active)
			must(t, r.Start(bounded(t)))
			waitFor(t, "everything to be told again", func() error {
				if s := n.status(p.Name); s.State != Established || s.Ups != 2 || s.Sent.Updates < 8 { // two prefixes, two ends of RIB, twice
					return fmt.Errorf("%s: %s, sent %+v", s.State, s.Reason, s.Sent)
				}
				return nil
			})
			waitSettled(t, r, n, c, p)
			if gone := watched(); gone != nil {
				t.Error(gone)
			}
			forwardsBoth(t, r, n, c, p)
		})
	}
}

// Invariant 5: what a router advertises is not looked at, good or bad.
func TestNeverReadsWhatRoutersAdvertise(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	n := run(t, Config{})
	p := f.peer()
	prefixes := []Prefix{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, {Prefix: netip.MustParsePrefix("192.0.2.2/32")}}
	n.Set(prefixes[:1], []Peer{p})
	l := f.accept()
	l.establish(fakeOpen())
	m := newModel()
	for m.ends[ipv4] == 0 {
		must(t, m.apply(l.hearKind(packet.BGP_MSG_UPDATE)))
	}
	bodies := [][]byte{
		{0xff, 0xff, 0, 0},                           // more withdrawn routes than there are octets
		{0, 0, 0xff, 0xff},                           // more attributes
		{0, 2, 99, 1, 0, 0},                          // a withdrawn prefix of 99 bits
		{0, 0, 0, 3, 0x40, 1, 9},                     // an ORIGIN that is longer than the attributes
		{0, 0, 0, 4, 0x40, 1, 1, 77, 32, 1, 1, 1, 1}, // an unknown ORIGIN, and nothing else that is due
		bytes.Repeat([]byte{0x5a}, maxMessageLen-headerLen),
		{0, 5, 32, 192, 0, 2, 1, 0, 0}, // our own prefix, withdrawn
	}
	for _, body := range bodies {
		update := bytes.Clone(keepalive[:16])
		update = binary.BigEndian.AppendUint16(update, uint16(headerLen+len(body)))
		l.say(append(append(update, packet.BGP_MSG_UPDATE), body...))
	}
	l.say(keepalive)
	waitFor(t, "everything to be read", func() error {
		if s := n.status(p.Name); s.Received.Updates != uint64(len(bodies)) || s.Received.Keepalives < 2 {
			return fmt.Errorf("received %+v; %s: %s", s.Received, s.State, s.LastError)
		}
		return nil
	})
	n.Set(prefixes, []Peer{p})
	must(t, m.apply(l.hearKind(packet.BGP_MSG_UPDATE)))
	if s := n.status(p.Name); len(m.routes) != 2 || s.State != Established || s.Ups != 1 || s.Downs != 0 || s.AdvertisedV4 != 2 {
		t.Errorf("routes %v, status %+v", m.routes, s)
	}
}

// Invariant 3: a change of one peer touches only the session with that one, and
// what Set takes away or freezes is as it says.
func TestNeverTouchesTheOthers(t *testing.T) {
	t.Parallel()
	a, b, c := newFake(t, ""), newFake(t, ""), newFake(t, "")
	n := run(t, Config{})
	prefixes := []Prefix{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}}
	peers := []Peer{a.peer(), b.peer(), c.peer()}
	n.Set(prefixes, peers)
	la, lb, lc := a.accept(), b.accept(), c.accept()
	for _, l := range []*line{la, lb, lc} {
		l.establish(fakeOpen())
		l.hearKind(packet.BGP_MSG_UPDATE)
	}
	peers[1].TTLSecurity = true                           // another session
	peers[2].Connect, peers[2].BFD = time.Minute, fastBFD // the same session
	frozen := []Peer{{Name: peers[0].Name, Frozen: true}, peers[1], peers[2]}
	n.Set(prefixes, frozen)
	if note := lb.hearEnd(); note == nil || note.code != packet.BGP_ERROR_CEASE || note.subcode != packet.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE {
		t.Errorf("NOTIFICATION %v", note)
	}
	again := b.accept()
	again.establish(fakeOpen())
	n.waitState(peers[1].Name, Established)
	for _, p := range []Peer{peers[0], peers[2]} {
		if s := n.status(p.Name); s.State != Established || s.Ups != 1 || s.Downs != 0 {
			t.Errorf("%s: %s, %d times up", p.Name, s.State, s.Ups)
		}
	}
	if s := n.status(peers[0].Name); !s.Frozen {
		t.Error("it is not shown as frozen")
	}
	n.Set(prefixes, []Peer{frozen[0], peers[1]}) // one is taken away
	if note := lc.hearEnd(); note == nil || note.subcode != packet.BGP_ERROR_SUB_PEER_DECONFIGURED {
		t.Errorf("NOTIFICATION %v", note)
	}
	waitFor(t, "two peers", func() error {
		if k := len(n.Status()); k != 2 {
			return fmt.Errorf("there are %d", k)
		}
		return nil
	})
	for _, p := range peers[:2] {
		if s := n.status(p.Name); s.State != Established {
			t.Errorf("%s: %s: %s", p.Name, s.State, s.Reason)
		}
	}
	n.end()
	for _, l := range []*line{la, again} { // invariant 4
		if note := l.hearEnd(); note != nil {
			t.Errorf("at the end of the process: NOTIFICATION %v", note)
		}
	}
}

// Invariant 6: next hops are addresses of the node, of the route's kind.
func TestNextHops(t *testing.T) {
	addr := netip.MustParseAddr
	all := []address{
		{Prefix: netip.MustParsePrefix("10.0.0.2/24"), Index: 1, flags: 0x80},
		{Prefix: netip.MustParsePrefix("fe80::2/64"), Index: 1, flags: 0x80},
		{Prefix: netip.MustParsePrefix("fd00::9:1/64"), Index: 1},             // SLAAC
		{Prefix: netip.MustParsePrefix("fd00::1/128"), Index: 1, flags: 0x80}, // a VIP
		{Prefix: netip.MustParsePrefix("fd00::2/64"), Index: 1, flags: 0x80},
		{Prefix: netip.MustParsePrefix("fd00::1:2/64"), Index: 1, flags: 0xa0}, // deprecated
		{Prefix: netip.MustParsePrefix("10.0.1.2/24"), Index: 2, flags: 0x80},
		{Prefix: netip.MustParsePrefix("fd01::2/64"), Index: 3, flags: 0x80},
	}
	both := terms{Families: [families]bool{true, true}}
	enhe := both
	enhe.IPv4OverIPv6 = true
	for _, row := range []struct {
		local   string
		t       terms
		v4, v6  string // octets, as addresses joined
		problem bool
	}{
		{"10.0.0.2", both, "10.0.0.2", "fd00::2", false},
		{"10.0.1.2", both, "10.0.1.2", "", true},
		{"fd00::2", both, "10.0.0.2", "fd00::2", false},
		{"fd00::2", enhe, "fd00::2", "fd00::2", false},
		{"fd01::2", both, "", "fd01::2", true},
		{"10.0.1.2", terms{Families: [families]bool{true, false}}, "10.0.1.2", "", false},
	} {
		hops, problem := nextHops(all, addr(row.local), row.t)
		octets := func(s string) hop {
			if s == "" {
				return ""
			}
			return hopOf(addr(s))
		}
		if hops[ipv4] != octets(row.v4) || hops[ipv6] != octets(row.v6) || (problem != "") != row.problem {
			t.Errorf("%s: next hops %x, %x; %s", row.local, hops[ipv4], hops[ipv6], problem)
		}
	}
}
