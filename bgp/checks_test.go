package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

// What rows of FRR and of BIRD have in common.

// routeFar gives the router an address that is more than one hop away.
func routeFar(t *testing.T, c cable) {
	must(t, world.IP(c.routerNS, c.fill("addr add {far}/32 dev lo")))
	must(t, world.IP("", c.fill("route add {far}/32 via {their4}")))
}

func overFar(c cable) Peer {
	p := plain(c, c.far)
	p.Multihop, p.Source = true, c.our4
	return p
}

// routeThrough puts a namespace between us and the router that only forwards, with cables
// of its own: TTL falls on the way.
func routeThrough(t *testing.T, c cable) {
	near, far := c.second(), c.third()
	near.routerNS, far.ourNS = c.middle(), c.middle()
	addRouterNamespace(t, c.middle())
	near.lay(t)
	far.lay(t)
	must(t, world.IP("", fmt.Sprintf("route add %s/32 via %s", c.far, near.their4)))
	must(t, world.IP(c.middle(), fmt.Sprintf("route add %s/32 via %s", c.far, far.their4)))
	must(t, world.IP(c.routerNS, c.fill("addr add {far}/32 dev lo"), c.fill("route add {second4}/32 via {third4}"),
		c.fill("route add {second6}/128 via {third6}")))
}

func overMiddle(c cable) Peer {
	p := plain(c, c.far)
	p.Multihop, p.Source, p.BFD = true, c.second().our4, fastBFD
	return p
}

// livesThrough: what is in the middle stops forwarding, and forwards again.
func livesThrough(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	works := func() {
		t.Helper()
		waitBFD(t, n, p.Name, bfd.Up)
		waitRoute(t, r, c.prefix4, c.third().our4)
		waitRoute(t, r, c.prefix6, c.third().our6)
	}
	works()
	sysctl(t, c.middle(), "ipv4/ip_forward", "0")
	waitReason(t, n, p.Name, "BFD has found the router dead")
	waitRoute(t, r, c.prefix4)
	waitRoute(t, r, c.prefix6)
	sysctl(t, c.middle(), "ipv4/ip_forward", "1")
	works()
}

// rekeyed gives both sides another password; a router ends the session then.
func rekeyed(change func(*testing.T, *router.Router, cable)) func(*testing.T, *router.Router, *node, cable, Peer) {
	return func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
		forwardsBoth(t, r, n, c, p)
		p.Password = "new"
		n.Set(c.prefixes(), []Peer{p})
		change(t, r, c)
		waitFor(t, "another session", func() error {
			if s := n.status(p.Name); s.State != Established || s.Ups < 2 {
				return fmt.Errorf("%s: %s", s.State, s.Reason)
			}
			return nil
		})
		forwardsBoth(t, r, n, c, p)
	}
}

// withoutExtendedNextHop: IPv4 keeps its own next hop on an IPv6 session.
func withoutExtendedNextHop(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	forwardsBoth(t, r, n, c, p)
	if s := n.status(p.Name); s.ExtendedNextHop || !s.IPv4 || !s.IPv6 {
		t.Errorf("status %+v", s)
	}
}

// edited changes what a session cannot outlive; with graceful restart the routes stay.
func edited(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	forwardsBoth(t, r, n, c, p)
	p.Source, p.TTLSecurity = c.our4, true
	if gone := renewed(t, r, n, c, p); (gone == nil) != p.GracefulRestart {
		t.Errorf("with graceful restart: %t; %v", p.GracefulRestart, gone)
	}
}

// comesBack restarts the node; with graceful restart the routes stay, and without they
// do not: it is seen.
func comesBack(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	forwardsBoth(t, r, n, c, p)
	if gone := restart(t, r, n, c, p); (gone == nil) != p.GracefulRestart {
		t.Errorf("with graceful restart: %t; %v", p.GracefulRestart, gone)
	}
}

// corrected gives the peer its password after the session failed for another one.
func corrected(password string) func(*testing.T, *router.Router, *node, cable, Peer) {
	return func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
		waitReason(t, n, p.Name, "MD5")
		p.Password = password
		n.Set(c.prefixes(), []Peer{p})
		forwardsBoth(t, r, n, c, p)
	}
}

// staysUpWithIPv4 is for a peer with a hold time of 3 s.
func staysUpWithIPv4(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	forwards4(t, r, n, c, p)
	if s := n.waitState(p.Name, Established); s.IPv6 || s.AdvertisedV6 != 0 || s.Keepalive != time.Second {
		t.Errorf("status %+v", s)
	}
	waitFor(t, "more than a hold time", func() error {
		if s := n.status(p.Name); s.Up(time.Now()) < 3500*time.Millisecond {
			return fmt.Errorf("%s: %s", s.State, s.Reason)
		}
		return nil
	})
	forwards4(t, r, n, c, p)
}

func comeAndGo(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	forwardsBoth(t, r, n, c, p)
	wide := netip.MustParsePrefix("2001:db8:ffff::/48")
	n.Set([]Prefix{{Prefix: c.prefix4}, {Prefix: wide}}, []Peer{p})
	waitRoute(t, r, wide, c.our6)
	waitRoute(t, r, c.prefix6)
	forwards4(t, r, n, c, p)
	n.Set([]Prefix{{Prefix: c.prefix4, Peers: []string{"another"}}, {Prefix: c.prefix6, Peers: []string{p.Name}}}, []Peer{p})
	waitRoute(t, r, c.prefix4)
	forwards6(t, r, n, c, p)
}
