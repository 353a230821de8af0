package router_test

import (
	"fmt"
	"net/netip"
	"testing"

	"holdfast.dev/holdfast/deploy/router"
)

// A router has settled when a neighbour that restarts gracefully is back and has told
// everything, and when it has got everything again itself.
func TestSettled(t *testing.T) {
	a, b := pair(t)
	f := startFRR(t, a, `router bgp 65000
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 10.0.0.2 remote-as external
 neighbor 10.0.0.2 timers connect 1
exit
`, "bgpd")
	g := startBIRD(t, b, `router id 10.0.0.2;
protocol device { }
protocol kernel { graceful restart on; ipv4 { import none; export where source = RTS_BGP; }; }
protocol static { ipv4; route 203.0.113.9/32 blackhole; }
protocol bgp tor { local as 65001; neighbor 10.0.0.1 external; connect delay time 1; graceful restart on; ipv4 { import all; export all; }; }
`)
	settled := func(r *router.Router, neighbour string, want bool) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%s to have settled with %s: %t", r.Name(), neighbour, want), func() error {
			got, err := r.Settled(netip.MustParseAddr(neighbour))
			if err == nil && got != want {
				err = fmt.Errorf("it is %t", got)
			}
			return err
		})
	}
	both := func() {
		t.Helper()
		settled(f, "10.0.0.2", true)
		settled(g, "10.0.0.1", true)
	}
	both()
	must(t, g.Kill())
	settled(f, "10.0.0.2", false)
	must(t, g.Start(bounded(t)))
	both()
	must(t, f.Kill("bgpd"))
	settled(g, "10.0.0.1", false)
	must(t, f.Start(bounded(t)))
	both()
	if ok, err := f.Settled(netip.MustParseAddr("10.0.0.77")); ok || err != nil {
		t.Errorf("with somebody whom it does not know: %t, %v", ok, err)
	}
}
