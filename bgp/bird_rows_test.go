package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

var birdRows = slices.Concat(birdWays, birdLives, birdRestarts)

// birdWays are the rows about how a session comes up.
var birdWays = []row{
	{name: "both families over IPv4", bgp: "neighbor {our4} external;", peer: over4(), check: forwardsBoth},
	{
		name: "both families over IPv6, RFC 8950", bgp: "neighbor {our6} external;", peer: over6(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitRoute(t, r, c.prefix4, c.our6)
			forwards6(t, r, n, c, p)
		},
	},
	{
		name: "both families over IPv6, without RFC 8950", bgp: "neighbor {our6} external; ipv4 { extended next hop off; };",
		peer: over6(), check: withoutExtendedNextHop,
	},
	{
		name: "unnumbered", withoutGlobal6: true,
		bgp:  `neighbor range fe80::/10 external; interface "{there}"; dynamic name "unnumbered";`,
		also: `protocol radv { interface "{there}" { max ra interval 4; }; }`,
		peer: func(c cable) Peer {
			p := plain(c, netip.Addr{})
			p.Interface = c.here
			return p
		},
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			s := n.waitState(p.Name, Established)
			waitRoute(t, r, c.prefix6, s.Local.Addr().WithZone(""))
			waitRoute(t, r, c.prefix4, s.Local.Addr().WithZone(""))
		},
	},
	{
		name: "link-local addresses", withoutGlobal6: true,
		bgp:  "neighbor {ours}%{there} external;",
		peer: func(c cable) Peer { return plain(c, c.linkLocal(c.routerNS, c.there).WithZone(c.here)) },
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			ours := c.linkLocal("", c.here)
			waitRoute(t, r, c.prefix4, ours)
			waitRoute(t, r, c.prefix6, ours)
		},
	},
	{
		name: "no global IPv6 address to be the next hop, then one", withoutGlobal6: true,
		bgp: "neighbor {our4} external;", peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwards4(t, r, n, c, p)
			waitRoute(t, r, c.prefix6)
			if s := n.status(p.Name); !strings.Contains(s.Problem, "IPv6 is not advertised") || s.AdvertisedV6 != 0 {
				t.Errorf("status %+v", s)
			}
			must(t, world.IP(c.routerNS, fmt.Sprintf("addr add %s/64 dev %s nodad", c.their6, c.there)))
			must(t, world.IP("", fmt.Sprintf("addr add %s/64 dev %s nodad", c.our6, c.here)))
			forwards6(t, r, n, c, p)
			waitFor(t, "no problem", func() error {
				if s := n.status(p.Name); s.Problem != "" {
					return errors.New(s.Problem)
				}
				return nil
			})
		},
	},
	{
		name: "IPv4 alone, for longer than the hold time", bgp: "neighbor {our4} external;",
		peer: over4(func(p *Peer) { p.IPv6, p.HoldTime, p.Keepalive = false, 3*time.Second, 0 }), check: staysUpWithIPv4,
	},
	{name: "IPv6 alone, over IPv6", bgp: "neighbor {our6} external;", peer: over6(func(p *Peer) { p.IPv4 = false }), check: forwards6},
	{
		name: "MD5 over IPv4", bgp: `neighbor {our4} external; password "b1rd";`,
		peer: over4(func(p *Peer) { p.Password = "b1rd" }), check: forwardsBoth,
	},
	{
		name: "MD5 over IPv6", bgp: `neighbor {our6} external; password "b1rd";`,
		peer:  over6(func(p *Peer) { p.Password, p.IPv4 = "b1rd", false }),
		check: forwards6,
	},
	{
		name: "wrong MD5 password, then the right one", bgp: `neighbor {our4} external; password "b1rd";`,
		peer: over4(func(p *Peer) { p.Password = "wrong" }), check: corrected("b1rd"),
	},
	{
		name: "wrong MD5 password over IPv6, then the right one", bgp: `neighbor {our6} external; password "b1rd"; ipv4 { extended next hop off; };`,
		peer: over6(func(p *Peer) { p.Password = "wrong" }), check: corrected("b1rd"),
	},
	{
		name: "password changed on both sides", mayFall: true, // BIRD ends sessions whose password changes
		bgp:  `neighbor {our4} external; password "old";`,
		peer: over4(func(p *Peer) { p.Password = "old" }),
		check: rekeyed(func(t *testing.T, r *router.Router, c cable) {
			must(t, r.Configure(strings.Replace(birdText, `password "old"`, `password "new"`, 1)))
		}),
	},
	{name: "TTL security", bgp: "neighbor {our4} external; ttl security on;", peer: over4(func(p *Peer) { p.TTLSecurity = true }), check: forwardsBoth},
	{name: "TTL security at the router", bgp: "neighbor {our4} external; ttl security on;", peer: over4(), check: forwardsBoth},
	{
		name: "TTL security over IPv6", bgp: "neighbor {our6} external; ttl security on;",
		peer: over6(func(p *Peer) { p.TTLSecurity, p.IPv4 = true, false }), check: forwards6,
	},
	{
		name: "TTL security here, not at the router", // which sends to neighbours with TTL 1
		bgp:  "neighbor {our4} external;", peer: over4(func(p *Peer) { p.TTLSecurity = true }), check: refused("sent no OPEN for 10s"),
	},
	{
		name: "multihop with BFD, and a router between", prepare: routeThrough, mayFall: true,
		bgp:  "neighbor {second4} external; multihop 2; source address {far}; bfd on;",
		also: "protocol static { ipv4; route {second4}/32 via {third4}; }\nprotocol static { ipv6; route {second6}/128 via {third6}; }",
		peer: overMiddle,
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitFor(t, "packets with TTL 64, less what they lose, to be found too low", func() error {
				if s := n.status(p.Name).BFD; s == nil || !strings.Contains(s.Trouble, "come with TTL 63, less than 254") {
					return fmt.Errorf("BFD is %+v", s)
				}
				return nil
			})
			lower := *p.BFD
			lower.MinimumTTL = 63
			p.BFD = &lower
			n.Set(c.prefixes(), []Peer{p})
			livesThrough(t, r, n, c, p)
		},
	},
	{name: "multihop", bgp: "neighbor {our4} external; multihop 5; source address {far};", prepare: routeFar, peer: overFar, check: forwardsBoth},
	{name: "passive router", bgp: "neighbor {our4} external; passive on;", peer: over4(), check: forwardsBoth},
	{
		name: "router connects", bgp: "neighbor {our4} port 1804 external;",
		config: Config{Listen: 1804}, peer: over4(func(p *Peer) { p.Port = 9 }), check: forwardsBoth,
	},
	{
		name: "router connects, with MD5, over IPv6", bgp: `neighbor {our6} port 1805 external; password "in";`,
		config: Config{Listen: 1805}, peer: over6(func(p *Peer) { p.Port, p.Password, p.IPv4 = 9, "in", false }), check: forwards6,
	},
	{
		name: "router connects, with TTL security", bgp: "neighbor {our4} port 1808 external; ttl security on;",
		config: Config{Listen: 1808}, peer: over4(func(p *Peer) { p.Port, p.TTLSecurity = 9, true }), check: forwardsBoth,
	},
	{
		name: "both connect", collides: true, bgp: "neighbor {our4} port 1809 external;",
		config: Config{Listen: 1809}, peer: over4(), check: forwardsBoth,
	},
}
