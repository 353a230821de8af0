package bgp

import (
	"testing"

	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/deploy/router"
)

// birdRestarts are the rows about sessions that follow another one, and about BFD.
var birdRestarts = []row{
	{
		name: "source and TTL security changed, with graceful restart", mayFall: true,
		bgp: "neighbor {our4} external; ttl security on;", peer: over4(func(p *Peer) { p.GracefulRestart = true }), check: edited,
	},
	{
		name: "source and TTL security changed, without graceful restart", mayFall: true,
		bgp: "neighbor {our4} external; ttl security on;", peer: over4(), check: edited,
	},
	{
		name: "a restart with graceful restart", bgp: "neighbor {our4} external;",
		peer: over4(func(p *Peer) { p.GracefulRestart = true }), check: comesBack,
	},
	{name: "a restart without graceful restart", bgp: "neighbor {our4} external;", peer: over4(), check: comesBack},
	{
		name: "a restart with graceful restart, shorter than the detection time of BFD", bgp: "neighbor {our4} external; bfd graceful;",
		peer: over4(func(p *Peer) {
			p.GracefulRestart = true
			p.BFD = &bfd.Profile{Multiplier: 10}
		}),
		serial: true,
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitPace(t, n, p)
			comesBack(t, r, n, c, p)
		},
	},
	{
		name: "BFD", bgp: "neighbor {our4} external; bfd on;", peer: over4(func(p *Peer) { p.BFD = fastBFD }),
		serial: true, mayFall: true, check: birdBFD,
	},
	{
		name: "BFD over IPv6", bgp: "neighbor {our6} external; bfd on; ipv4 { extended next hop off; };", peer: over6(func(p *Peer) { p.BFD = fastBFD }),
		serial: true, mayFall: true, check: birdBFD,
	},
	{
		name: "an end that is meant, with bfd graceful", bgp: "neighbor {our4} external; bfd graceful;", mayFall: true,
		peer: over4(func(p *Peer) { p.BFD, p.GracefulRestart = fastBFD, true }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			for i := range 10 {
				n.Set([]Prefix{{Prefix: c.prefix4}, {Prefix: c.prefix6}}, []Peer{p})
				forwardsBoth(t, r, n, c, p)
				waitBFD(t, n, p.Name, bfd.Up)
				if i < 9 {
					n.Set(nil, nil)
				} else {
					n.Close(t.Context(), "removed")
				}
				waitRoute(t, r, c.prefix4)
				waitRoute(t, r, c.prefix6)
			}
		},
	},
}

// birdBFD: BIRD falls silent.
func birdBFD(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	forwardsBoth(t, r, n, c, p)
	waitBFD(t, n, p.Name, bfd.Up)
	must(t, r.Signal(stop))
	waitReason(t, n, p.Name, "BFD has found the router dead")
	must(t, r.Signal(resume))
	waitBFD(t, n, p.Name, bfd.Up)
	forwardsBoth(t, r, n, c, p)
}
