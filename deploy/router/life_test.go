package router_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"holdfast.dev/holdfast/deploy/router"
)

// How routers and their daemons end and begin.

// Invariant 4, and what distinguishes the two ways to end: killed, the routes
// stay in the kernel; stopped, they go.
func TestKillStopStart(t *testing.T) {
	a, b := pair(t)
	f, g := startFRR(t, a, frrText), startBIRD(t, b, birdText)
	learnt := map[*router.Router]string{f: "198.51.100.1/32", g: "192.0.2.1/32"}
	for _, r := range []*router.Router{f, g} {
		waitRoute(t, r, learnt[r])
		must(t, r.Kill())
		if hops, err := r.NextHops(netip.MustParsePrefix(learnt[r])); err != nil || len(hops) != 1 || r.Running() {
			t.Errorf("%s killed: next hops %v, %v; running %v", r.Name(), hops, err, r.Running())
		}
		if _, err := r.Show("show version"); err == nil {
			t.Errorf("%s answers after it was killed", r.Name())
		}
		must(t, r.Start(bounded(t)))
	}
	for r, prefix := range learnt {
		waitRoute(t, r, prefix)
		must(t, r.Stop())
		waitHops(t, r, prefix, nil)
		if r.Running() {
			t.Errorf("%s runs after it was stopped", r.Name())
		}
		must(t, r.Start(bounded(t)))
	}
	for r, prefix := range learnt {
		waitRoute(t, r, prefix)
	}
}

// One daemon can be taken from a router and given back.
func TestKillOneDaemon(t *testing.T) {
	a, _ := pair(t)
	f := startFRR(t, a, frrText, "bgpd")
	if err := f.Kill("bfdd"); err == nil {
		t.Error("killed a daemon that was never started")
	}
	must(t, f.Kill("bgpd"))
	if _, err := f.Show("show bgp summary"); err == nil {
		t.Error("BGP answers after bgpd was killed")
	}
	if !f.Running() {
		t.Error("zebra went with bgpd")
	}
	must(t, f.Start(bounded(t)))
	out, err := f.Show("show running-config")
	if err != nil || !strings.Contains(string(out), "network 192.0.2.1/32") {
		t.Errorf("after its restart: %v: %s", err, out)
	}
	must(t, f.Signal(syscall.SIGSTOP))
	must(t, f.Signal(syscall.SIGCONT))
}

// Invariants 1 and 3: many at once, each with files of its own in the world.
func TestSeveralAtOnce(t *testing.T) {
	a, b := pair(t)
	for i, ns := range []string{a, b} {
		own := fmt.Sprintf("203.0.113.%d", i+1)
		f := startFRR(t, ns, "ip route "+own+"/32 blackhole\n", "staticd")
		g := startBIRD(t, ns, "protocol device { }\nprotocol static { ipv4; route "+own+"/32 blackhole; }\n")
		for r, command := range map[*router.Router]string{f: "show running-config", g: "show route"} {
			out, err := r.Show(command)
			if err != nil || strings.Count(string(out), "203.0.113.") != 1 || !strings.Contains(string(out), own) {
				t.Errorf("%s in %s: %v: %s", r.Name(), r.Namespace(), err, out)
			}
		}
	}
	if left, _ := filepath.Glob("/var/tmp/*frr*"); len(left) > 0 {
		t.Errorf("left where the machine has its files: %v", left)
	}
	for _, dir := range []string{"/etc/frr", "/run/frr", "/run/bird"} {
		entries, err := os.ReadDir(dir)
		if err != nil || !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == a }) {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
		var fs syscall.Statfs_t
		must(t, syscall.Statfs(filepath.Join(dir, a), &fs))
		if fs.Type != 0x01021994 { // tmpfs, see statfs(2)
			t.Errorf("%s is not in memory", dir)
		}
	}
}
