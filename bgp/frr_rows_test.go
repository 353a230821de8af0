package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"
)

var frrRows = slices.Concat(frrWays, frrLives, frrRestarts)

// frrWays are the rows about how a session comes up.
var frrWays = []row{
	{
		name: "both families over IPv4",
		bgp:  "neighbor {our4} remote-as external",
		ipv6: "neighbor {our4} activate",
		peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			s := n.waitState(p.Name, Established)
			if s.RemoteAS != routerAS || s.RemoteID != netip.MustParseAddr("10.255.0.1") || s.HoldTime != 9*time.Second ||
				s.AdvertisedV4 != 1 || s.AdvertisedV6 != 1 || !s.RouteRefresh || s.Problem != "" {
				t.Errorf("status %+v", s)
			}
		},
	},
	{
		name: "both families over IPv6, RFC 8950",
		bgp:  "neighbor {our6} remote-as external\n neighbor {our6} capability extended-nexthop",
		ipv6: "neighbor {our6} activate",
		peer: over6(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwards6(t, r, n, c, p)
			if s := n.status(p.Name); !s.ExtendedNextHop {
				t.Errorf("status %+v", s)
			}
			waitHop(t, r, c.prefix4, c.our6)
		},
	},
	{
		name: "both families over IPv6, without RFC 8950",
		bgp:  "neighbor {our6} remote-as external", ipv6: "neighbor {our6} activate",
		peer: over6(), check: withoutExtendedNextHop,
	},
	{
		name: "IPv4 alone, for longer than the hold time",
		bgp:  "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer:  over4(func(p *Peer) { p.IPv6, p.HoldTime, p.Keepalive = false, 3*time.Second, 0 }),
		check: staysUpWithIPv4,
	},
	{
		name: "IPv6 alone, over IPv6",
		bgp:  "neighbor {our6} remote-as external", ipv4: "no neighbor {our6} activate", ipv6: "neighbor {our6} activate",
		peer: over6(func(p *Peer) { p.IPv4 = false }), check: forwards6,
	},
	{
		name: "no family in common",
		bgp:  "neighbor {our4} remote-as external",
		peer: over4(func(p *Peer) { p.IPv4 = false }), check: refused("Unsupported Capability"),
	},
	{
		name: "MD5 over IPv4",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} password s3cret", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.Password = "s3cret" }), check: forwardsBoth,
	},
	{
		name: "MD5 over IPv6",
		bgp:  "neighbor {our6} remote-as external\n neighbor {our6} password s3cret", ipv6: "neighbor {our6} activate",
		peer: over6(func(p *Peer) { p.Password = "s3cret" }), check: forwardsBoth,
	},
	{
		name: "wrong MD5 password, then the right one",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} password s3cret", ipv6: "neighbor {our4} activate",
		peer:  over4(func(p *Peer) { p.Password = "wrong" }),
		check: corrected("s3cret"),
	},
	{
		name: "wrong MD5 password over IPv6, then the right one",
		bgp:  "neighbor {our6} remote-as external\n neighbor {our6} password s3cret", ipv6: "neighbor {our6} activate",
		peer:  over6(func(p *Peer) { p.Password = "wrong" }),
		check: corrected("s3cret"),
	},
	{
		name: "password changed on both sides", mayFall: true, // FRR ends sessions whose password changes
		bgp: "neighbor {our4} remote-as external\n neighbor {our4} password old\n neighbor {our4} timers connect 1", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.Password = "old" }),
		check: rekeyed(func(t *testing.T, r *router.Router, c cable) {
			must(t, r.Configure(c.fill("router bgp 65000\n neighbor {our4} password new\n")))
		}),
	},
	{
		name: "multihop", prepare: routeFar,
		bgp: "neighbor {our4} remote-as external\n neighbor {our4} ebgp-multihop 5\n neighbor {our4} update-source {far}", ipv6: "neighbor {our4} activate",
		peer: overFar, check: forwardsBoth,
	},
	{
		name: "multihop with BFD, and a router between", prepare: routeThrough, mayFall: true,
		bgp:  "neighbor {second4} remote-as external\n neighbor {second4} ebgp-multihop 2\n neighbor {second4} update-source {far}\n neighbor {second4} bfd\n neighbor {second4} bfd profile fast",
		ipv6: "neighbor {second4} activate",
		peer: overMiddle, check: livesThrough,
	},
	{
		name: "TTL security at the router",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} ttl-security hops 1", ipv6: "neighbor {our4} activate",
		peer: over4(), check: forwardsBoth,
	},
	{
		name: "TTL security at both, over IPv6",
		bgp:  "neighbor {our6} remote-as external\n neighbor {our6} ttl-security hops 1", ipv6: "neighbor {our6} activate",
		peer: over6(func(p *Peer) { p.TTLSecurity = true }), check: forwardsBoth,
	},
	{
		name: "TTL security here, not at the router", // which sends to neighbours with TTL 1
		bgp:  "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.TTLSecurity = true }), check: refused("sent no OPEN for 10s"),
	},
	{
		name: "passive router",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} passive", ipv6: "neighbor {our4} activate",
		peer: over4(), check: forwardsBoth,
	},
	{
		name: "router connects",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} port 1801\n neighbor {our4} timers connect 1", ipv6: "neighbor {our4} activate",
		config: Config{Listen: 1801}, peer: over4(func(p *Peer) { p.Port = 9 }),
		check: forwardsBoth,
	},
	{
		name: "router connects, with MD5, over IPv6",
		bgp:  "neighbor {our6} remote-as external\n neighbor {our6} port 1802\n neighbor {our6} timers connect 1\n neighbor {our6} password in", ipv6: "neighbor {our6} activate",
		config: Config{Listen: 1802}, peer: over6(func(p *Peer) { p.Port, p.Password = 9, "in" }),
		check: forwardsBoth,
	},
	{
		name: "router connects, with TTL security",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} port 1806\n neighbor {our4} timers connect 1\n neighbor {our4} ttl-security hops 1", ipv6: "neighbor {our4} activate",
		config: Config{Listen: 1806}, peer: over4(func(p *Peer) { p.Port, p.TTLSecurity = 9, true }),
		check: forwardsBoth,
	},
	{
		name: "both connect", collides: true,
		bgp: "neighbor {our4} remote-as external\n neighbor {our4} port 1803\n neighbor {our4} timers connect 1", ipv6: "neighbor {our4} activate",
		config: Config{Listen: 1803}, peer: over4(), check: forwardsBoth,
	},
	{
		name: "unnumbered", withoutGlobal6: true,
		bgp: "neighbor {there} interface v6only remote-as external", ipv6: "neighbor {there} activate",
		peer: func(c cable) Peer {
			p := plain(c, netip.Addr{})
			p.Interface = c.here
			return p
		},
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			s := n.waitState(p.Name, Established)
			waitRoute(t, r, c.prefix6, s.Local.Addr().WithZone(""))
			waitHop(t, r, c.prefix4, s.Local.Addr().WithZone(""))
		},
	},
}
