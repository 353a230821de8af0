package bgp

import (
	"fmt"
	"testing"

	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/deploy/router"
)

// frrRestarts are the rows about sessions that follow another one, and about BFD.
var frrRestarts = []row{
	{
		name: "source and TTL security changed, with graceful restart", mayFall: true,
		bgp: "neighbor {our4} remote-as external\n neighbor {our4} ttl-security hops 1", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.GracefulRestart = true }),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			edited(t, r, n, c, p)
			if !restarted(t, r, c) {
				t.Error("FRR has not been told of a restart")
			}
		},
	},
	{
		name: "source and TTL security changed, without graceful restart", mayFall: true, // the check above sees what it is for
		bgp: "neighbor {our4} remote-as external\n neighbor {our4} ttl-security hops 1", ipv6: "neighbor {our4} activate",
		peer: over4(),
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			edited(t, r, n, c, p)
			if restarted(t, r, c) {
				t.Error("FRR has been told of a restart")
			}
		},
	},
	{
		name: "a restart with graceful restart",
		bgp:  "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.GracefulRestart = true }), check: comesBack,
	},
	{
		name: "a restart without graceful restart", // the check above sees what it is for
		bgp:  "neighbor {our4} remote-as external", ipv6: "neighbor {our4} activate",
		peer: over4(), check: comesBack,
	},
	{
		name: "a restart with graceful restart, shorter than the detection time of BFD",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} bfd\n neighbor {our4} bfd profile patient", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) {
			p.GracefulRestart = true
			p.BFD = &bfd.Profile{Multiplier: 10}
		}),
		serial: true, mayFall: true, // when FRR makes that session anew
		check: func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
			forwardsBoth(t, r, n, c, p)
			waitFor(t, "the BFD session that FRR makes anew when BGP has come up", func() error {
				var peers []struct{ Peer, Local, Status string }
				must(t, r.JSON("show bfd peers json", &peers))
				for _, q := range peers {
					if q.Peer == c.our4.String() && q.Local == c.their4.String() && q.Status == "up" {
						return nil
					}
				}
				return fmt.Errorf("there are %+v", peers)
			})
			waitPace(t, n, p)
			comesBack(t, r, n, c, p)
		},
	},
	{
		name: "BFD",
		bgp:  "neighbor {our4} remote-as external\n neighbor {our4} bfd\n neighbor {our4} bfd profile fast", ipv6: "neighbor {our4} activate",
		peer: over4(func(p *Peer) { p.BFD = fastBFD }), serial: true, mayFall: true, check: frrBFD,
	},
	{
		name: "BFD over IPv6",
		bgp:  "neighbor {our6} remote-as external\n neighbor {our6} bfd\n neighbor {our6} bfd profile fast", ipv6: "neighbor {our6} activate",
		peer: over6(func(p *Peer) { p.BFD = fastBFD }), serial: true, mayFall: true, check: frrBFD,
	},
}

// frrBFD: FRR's bfdd is shut down, and falls silent.
func frrBFD(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	forwardsBoth(t, r, n, c, p)
	waitBFD(t, n, p.Name, bfd.Up)
	must(t, r.Configure(c.fill("bfd\n profile fast\n  shutdown\n")))
	waitBFD(t, n, p.Name, bfd.Down)
	if s := n.status(p.Name); s.State != Established { // RFC 5882 §3.2: it is meant
		t.Errorf("with BFD AdminDown at the router, the session is %s: %s", s.State, s.Reason)
	}
	must(t, r.Configure(c.fill("bfd\n profile fast\n  no shutdown\n")))
	waitBFD(t, n, p.Name, bfd.Up)
	must(t, r.Signal(stop, "bfdd"))
	waitReason(t, n, p.Name, "BFD has found the router dead")
	must(t, r.Signal(resume, "bfdd"))
	waitBFD(t, n, p.Name, bfd.Up)
	forwardsBoth(t, r, n, c, p)
}
