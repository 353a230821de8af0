package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

// birdRows: bgp is the body of a "protocol bgp".
var birdRows = []row{
	{name: "both families over IPv4", bgp: "neighbor {our4} external;", peer: over4(), check: forwardsBoth},
	{
		name: "both families over IPv6, RFC 8950", bgp: "neighbor {our6} external;", peer: over6(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			waitRoute(t, r, c.prefix4, c.our6)
			forwards6(t, r, n, c, p)
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
	{name: "TTL security", bgp: "neighbor {our4} external; ttl security on;", peer: over4(func(p *Peer) { p.TTLSecurity = true }), check: forwardsBoth},
	{name: "TTL security at the router", bgp: "neighbor {our4} external; ttl security on;", peer: over4(), check: forwardsBoth},
	{
		name: "TTL security over IPv6", bgp: "neighbor {our6} external; ttl security on;",
		peer: over6(func(p *Peer) { p.TTLSecurity, p.IPv4 = true, false }), check: forwards6,
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
		name: "a restart with graceful restart", bgp: "neighbor {our4} external;",
		peer: over4(func(p *Peer) { p.GracefulRestart = true }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			if gone := restart(t, r, n, c, p); gone != nil {
				t.Error(gone)
			}
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
	{
		name: "BFD", bgp: "neighbor {our4} external; bfd on;", peer: over4(func(p *Peer) { p.BFD = fastBFD }), serial: true, mayFall: true,
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			waitBFD(t, n, p.Name, bfd.Up)
			must(t, r.Signal(stop))
			waitReason(t, n, p.Name, "BFD has found the router dead")
			must(t, r.Signal(resume))
			waitBFD(t, n, p.Name, bfd.Up)
			forwardsBoth(t, r, n, c, p)
		},
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

// waitShown waits until BIRD says all of this of a prefix.
func waitShown(t *testing.T, r *router.Router, prefix netip.Prefix, want ...string) {
	t.Helper()
	waitFor(t, "BIRD's route to "+prefix.String(), func() error {
		text, err := r.Show("show route all for " + prefix.String())
		if err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				return fmt.Errorf("no %s in %s", w, text)
			}
		}
		return nil
	})
}

func birdConfig(cables []cable) string {
	var b strings.Builder
	fmt.Fprintf(&b, `router id 10.255.0.2;
protocol device { scan time 10; }
protocol direct { ipv4; ipv6; } # next hops of internal peers are looked up
protocol kernel k4 { merge paths yes limit 16; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel k6 { merge paths yes limit 16; ipv6 { import none; export where source = RTS_BGP; }; }
protocol bfd { interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; idle tx interval 1 s; }; }
template bgp NODES {
	local as %d;
	hold time 9; keepalive time 3; connect retry time 1; connect delay time 1; error wait time 1, 2;
	graceful restart on; graceful restart time 120;
	ipv4 { import all; export none; extended next hop on; };
	ipv6 { import all; export none; };
}
`, routerAS)
	for i, row := range birdRows {
		fmt.Fprintf(&b, "protocol bgp n%d from NODES { %s }\n", i+1, strings.ReplaceAll(cables[i].fill(row.bgp), "{ours}", cables[i].linkLocal("", cables[i].here).String()))
	}
	return b.String()
}

func TestBIRD(t *testing.T) {
	t.Parallel()
	cables := layAll(t, birdNS, birdRows)
	r := router.Started(t)(router.StartBIRD(bounded(t), birdNS, birdNS, birdConfig(cables)))
	runRows(t, r, birdRows, cables)
}
