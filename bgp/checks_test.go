package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

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
