package bgp

import (
	"fmt"
	"strings"
	"testing"

	"holdfast.dev/holdfast/deploy/router"
)

// birdLives are the rows about what is said, and about a session's life.
var birdLives = []row{
	{
		name: "internal, local preference", bgp: "neighbor {our4} internal;",
		peer: over4(func(p *Peer) { p.MyAS, p.PeerAS = routerAS, 0 }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwards4(t, r, n, c, p)
			n.Set([]Prefix{{Prefix: c.prefix4, LocalPref: 250}}, []Peer{p})
			waitShown(t, r, c.prefix4, "BGP.local_pref: 250")
		},
	},
	{
		name: "internal, GRACEFUL_SHUTDOWN", bgp: "neighbor {our4} internal;",
		peer: over4(func(p *Peer) { p.MyAS, p.PeerAS = routerAS, 0 }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			n.Set([]Prefix{{Prefix: c.prefix4, LocalPref: 250, Communities: []uint32{gracefulShutdown}}}, []Peer{p})
			waitShown(t, r, c.prefix4, "BGP.local_pref: 0", "BGP.community: (65535,0)")
		},
	},
	{
		name: "any external AS", bgp: "neighbor {our4} external;",
		peer: over4(func(p *Peer) { p.PeerAS, p.External = 0, true }), check: forwardsBoth,
	},
	{
		name: "external AS where ours is wanted", bgp: "neighbor {our4} external;",
		peer: over4(func(p *Peer) { p.PeerAS, p.Internal = 0, true }), check: refused("Bad Peer AS"),
	},
	{
		name: "our AS where it is wanted", bgp: "neighbor {our4} internal;",
		peer: over4(func(p *Peer) { p.MyAS, p.PeerAS, p.Internal = routerAS, 0, true }), check: forwardsBoth,
	},
	{
		name: "our AS where an external one is wanted", bgp: "neighbor {our4} internal;",
		peer: over4(func(p *Peer) { p.MyAS, p.PeerAS, p.External = routerAS, 0, true }), check: refused("is 65000, which is ours, and another is expected"),
	},
	{
		name: "another AS than BIRD expects", bgp: "neighbor {our4} as 65009;", peer: over4(),
		check: refused("the router closed the session: OPEN Message Error/Bad Peer AS"),
	},
	{
		name: "AS of four octets", bgp: "neighbor {our4} as 4200000001;", peer: over4(func(p *Peer) { p.MyAS = 4200000001 }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitShown(t, r, c.prefix4, "BGP.as_path: 4200000001")
		},
	},
	{
		name: "local AS", bgp: "neighbor {our4} as 64999;", peer: over4(func(p *Peer) { p.LocalAS = 64999 }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitShown(t, r, c.prefix4, "BGP.as_path: 64999\n")
		},
	},
	{name: "prefixes come and go", bgp: "neighbor {our4} external;", peer: over4(), check: comeAndGo},
	{
		name: "communities", bgp: "neighbor {our4} external;", peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			n.Set([]Prefix{{Prefix: c.prefix4, Communities: []uint32{65000<<16 | 7, 65000<<16 | 5, 0xFFFFFF01},
				LargeCommunities: [][3]uint32{{4200000000, 2, 3}}}}, []Peer{p})
			waitShown(t, r, c.prefix4, "BGP.community: (65000,5) (65000,7) (65535,65281)",
				"BGP.large_community: (4200000000, 2, 3)")
		},
	},
	{
		name: "link bandwidth", bgp: "neighbor {our4} external;", peer: over4(), // which BIRD does not know
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			n.Set([]Prefix{{Prefix: c.prefix4, Weight: 3}, {Prefix: c.prefix6, Weight: 3}}, []Peer{p})
			forwardsBoth(t, r, n, c, p)
			waitShown(t, r, c.prefix4, "BGP.ext_community: (unknown 0x4004, 64512, 1077936128)")
		},
	},
	{
		name: "route refresh", bgp: "neighbor {our4} external;", peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			if _, err := r.Show(c.fill("reload in n{n}")); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "a route refresh", func() error {
				if s := n.status(p.Name); s.Received.RouteRefreshes == 0 {
					return fmt.Errorf("received %+v", s.Received)
				}
				return nil
			})
			forwardsBoth(t, r, n, c, p)
		},
	},
	{
		name: "Close", bgp: "neighbor {our4} external;", peer: over4(func(p *Peer) { p.GracefulRestart = true }), mayFall: true,
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			n.Close(bounded(t), "node is drained")
			waitRoute(t, r, c.prefix4)
			waitRoute(t, r, c.prefix6)
			text, err := r.Show(c.fill("show protocols all n{n}"))
			if err != nil || !strings.Contains(string(text), "node is drained") {
				t.Errorf("BIRD says %s, %v", text, err)
			}
		},
	},
}
