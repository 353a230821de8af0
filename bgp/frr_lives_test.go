package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"
)

// frrLives are the rows about what is said, and about a session's life.
var frrLives = []row{
	{
		name: "any external AS",
		bgp:  "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.PeerAS, p.External = 0, true }), check: forwardsBoth,
	},
	{
		name: "external AS where ours is wanted",
		bgp:  "neighbor {our4} remote-as external",
		peer: over4(func(p *Peer) { p.PeerAS, p.Internal = 0, true }), check: refused("Bad Peer AS"),
	},
	{
		name: "our AS where an external one is wanted",
		bgp:  "neighbor {our4} remote-as internal",
		peer: over4(func(p *Peer) { p.MyAS, p.PeerAS, p.External = routerAS, 0, true }), check: refused("is 65000, which is ours, and another is expected"),
	},
	{
		name: "another AS than expected",
		bgp:  "neighbor {our4} remote-as external",
		peer: over4(func(p *Peer) { p.PeerAS = 65009 }), check: refused("its AS is 65000, 65009 is expected"),
	},
	{
		name: "AS that the router does not expect",
		bgp:  "neighbor {our4} remote-as 65009",
		peer: over4(), check: refused("the router closed the session: OPEN Message Error/Bad Peer AS"),
	},
	{
		name: "AS of four octets",
		bgp:  "neighbor {our4} remote-as 4200000001",
		peer: over4(func(p *Peer) { p.MyAS, p.IPv6 = 4200000001, false }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitPath(t, r, c.prefix4, func(q path) bool { return q.ASPath.String == "4200000001" })
		},
	},
	{
		name: "local AS",
		bgp:  "neighbor {our4} remote-as 64999",
		peer: over4(func(p *Peer) { p.LocalAS, p.IPv6 = 64999, false }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitPath(t, r, c.prefix4, func(q path) bool { return q.ASPath.String == "64999" })
		},
	},
	{
		name: "internal, local preference",
		bgp:  "neighbor {our4} remote-as internal", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.MyAS, p.PeerAS, p.Internal = routerAS, 0, true }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitPath(t, r, c.prefix4, func(q path) bool { return q.ASPath.String == "Local" && q.LocPrf == 100 })
			n.Set([]Prefix{{Prefix: c.prefix4, LocalPref: 250}}, []Peer{p})
			waitPath(t, r, c.prefix4, func(q path) bool { return q.LocPrf == 250 })
			waitRoute(t, r, c.prefix6)
		},
	},
	{
		name: "communities",
		bgp:  "neighbor {our4} remote-as external",
		peer: over4(func(p *Peer) { p.IPv6 = false }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwards4(t, r, n, c, p)
			n.Set([]Prefix{
				{Prefix: c.prefix4, Communities: []uint32{65000<<16 | 7, 65000<<16 | 5}, LargeCommunities: [][3]uint32{{4200000000, 2, 3}}},
				{Prefix: c.prefix4, Communities: []uint32{65000<<16 | 6}},
			}, []Peer{p})
			waitPath(t, r, c.prefix4, func(q path) bool {
				return q.Community.String == "65000:5 65000:6 65000:7" && q.LargeCommunity.String == "4200000000:2:3"
			})
		},
	},
	{
		name:    "link bandwidth", // two nodes, one of which has three times the weight
		prepare: func(t *testing.T, c cable) { c.second().lay(t) },
		bgp:     "neighbor {our4} remote-as external\n neighbor {second4} remote-as external",
		peer:    over4(func(p *Peer) { p.IPv6 = false }),
		check:   func(t *testing.T, r *router.Router, n *node, c cable, p Peer) { weighed(t, r, n, c, p, ourAS+1) },
	},
	{
		name:    "link bandwidth, internal",
		prepare: func(t *testing.T, c cable) { c.second().lay(t) },
		bgp:     "neighbor {our4} remote-as internal\n neighbor {second4} remote-as internal",
		peer:    over4(func(p *Peer) { p.MyAS, p.PeerAS, p.IPv6 = routerAS, 0, false }),
		check:   func(t *testing.T, r *router.Router, n *node, c cable, p Peer) { weighed(t, r, n, c, p, routerAS) },
	},
	{
		name: "GRACEFUL_SHUTDOWN",
		bgp:  "neighbor {our4} remote-as external",
		peer: over4(func(p *Peer) { p.IPv6 = false }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwards4(t, r, n, c, p)
			n.Set([]Prefix{{Prefix: c.prefix4, Communities: []uint32{0xFFFF0000}}}, []Peer{p})
			waitPath(t, r, c.prefix4, func(q path) bool { return q.Community.String == "graceful-shutdown" && q.LocPrf == 0 })
		},
	},
	{
		name:    "GRACEFUL_SHUTDOWN, internal", // two nodes, the better one of which is drained
		prepare: func(t *testing.T, c cable) { c.second().lay(t) },
		bgp:     "neighbor {our4} remote-as internal\n neighbor {second4} remote-as internal",
		peer:    over4(func(p *Peer) { p.MyAS, p.PeerAS, p.IPv6 = routerAS, 0, false }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			second := c.second()
			other := run(t, Config{RouterID: netip.MustParseAddr("10.9.9.8")})
			better := Prefix{Prefix: c.prefix4, LocalPref: 200}
			n.Set([]Prefix{better}, []Peer{p})
			there := p
			there.Address = second.their4
			other.Set([]Prefix{{Prefix: c.prefix4}}, []Peer{there})
			other.waitState(p.Name, Established)
			forwards4(t, r, n, c, p)
			better.Communities = []uint32{gracefulShutdown}
			n.Set([]Prefix{better}, []Peer{p})
			waitRoute(t, r, c.prefix4, second.our4)
			other.Set(nil, []Peer{there})
			waitPath(t, r, c.prefix4, func(q path) bool { return q.Community.String == "graceful-shutdown" && q.LocPrf == 0 })
			forwards4(t, r, n, c, p) // it is still taken where there is no other
		},
	},
	{
		name: "prefixes come and go",
		bgp:  "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(), check: comeAndGo,
	},
	{
		name: "route refresh",
		bgp:  "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			before := n.status(p.Name).Sent.Updates
			if _, err := r.Show(c.fill("clear bgp ipv4 unicast {our4} soft in")); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the family to be sent again", func() error {
				if s := n.status(p.Name); s.Received.RouteRefreshes == 0 || s.Sent.Updates <= before {
					return fmt.Errorf("sent %+v, received %+v", s.Sent, s.Received)
				}
				return nil
			})
			forwardsBoth(t, r, n, c, p)
		},
	},
	{
		name: "hold time changed", mayFall: true,
		bgp: "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			p.HoldTime = 6 * time.Second
			n.Set(c.prefixes(), []Peer{p})
			waitFor(t, "a change that waits", func() error {
				if s := n.status(p.Name); !s.Pending {
					return fmt.Errorf("%s: %s", s.State, s.Reason)
				}
				return nil
			})
			n.Set(c.prefixes()[:1], []Peer{p}) // the session goes on
			waitRoute(t, r, c.prefix6)
			if s := n.status(p.Name); s.State != Established || s.Ups != 1 || s.HoldTime != 9*time.Second {
				t.Errorf("status %+v", s)
			}
			if _, err := r.Show(c.fill("clear bgp {our4}")); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the new hold time", func() error {
				if s := n.status(p.Name); s.HoldTime != p.HoldTime || s.Pending {
					return fmt.Errorf("it is %s: %s", s.HoldTime, s.Reason)
				}
				return nil
			})
			if why := n.fell(); len(why) != 1 || !strings.Contains(why[0], "the router closed the session") {
				t.Errorf("the session ended: %q", why)
			}
		},
	},
	{
		name: "the router is shut down with a message", mayFall: true,
		bgp: "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			must(t, r.Configure(c.fill("router bgp 65000\n neighbor {our4} shutdown message new line cards\n")))
			waitReason(t, n, p.Name, `Cease/Administrative Shutdown (6/2): "new line cards"`)
		},
	},
	{
		name: "Close", mayFall: true,
		bgp: "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.GracefulRestart = true }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			n.Close(bounded(t), "node is drained")
			waitRoute(t, r, c.prefix4)
			waitRoute(t, r, c.prefix6)
			text, err := r.Show(c.fill("show bgp neighbors {our4}"))
			if err != nil || !strings.Contains(string(text), "Notification received (Cease/Administrative Shutdown)") {
				t.Errorf("FRR says %s, %v", text, err)
			}
		},
	},
}

// weighed has a second node advertise three times the weight, and then both the same.
func weighed(t *testing.T, r *router.Router, n *node, c cable, p Peer, secondAS uint32) {
	other := run(t, Config{RouterID: netip.MustParseAddr("10.9.9.8")})
	n.Set([]Prefix{{Prefix: c.prefix4, Weight: 1}}, []Peer{p})
	there := p
	there.Address, there.MyAS = c.second().their4, secondAS
	other.Set([]Prefix{{Prefix: c.prefix4, Weight: 3}}, []Peer{there})
	waitWeights(t, r, c.prefix4, 1, 3)
	n.Set([]Prefix{{Prefix: c.prefix4, Weight: 3}}, []Peer{p})
	waitWeights(t, r, c.prefix4, 1, 1)
}
