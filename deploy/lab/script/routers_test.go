package script

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/lab/cluster"
	"holdfast.dev/holdfast/deploy/world"
)

// netLab is a lab of which there is no more than the networks of a fabric and of routers,
// in the world of the test.
type netLab struct {
	Lab
	routers  []string
	sessions map[netip.Addr]bool
	said     []string
	config   string
}

func (l *netLab) Nodes() []string                { return []string{"node1", "node2"} }
func (l *netLab) Routers() []string              { return l.routers }
func (l *netLab) NetworkFile(name string) string { return "/run/netns/" + name }
func (l *netLab) FarVia(names ...string) error   { return l.say("far", names...) }

func (l *netLab) RouterKill(name string) error  { return l.say("kill", name) }
func (l *netLab) RouterStop(name string) error  { return l.say("stop", name) }
func (l *netLab) RouterStart(name string) error { return l.say("start", name) }

func (l *netLab) RouterConfigure(name, text string) error  { return l.say("configure", name, text) }
func (l *netLab) RouterConfig(name string) (string, error) { return l.config, nil }

func (l *netLab) say(what string, args ...string) error {
	l.said = append(l.said, what+" "+strings.Join(args, " "))
	return nil
}

func (l *netLab) Addresses(node string) ([]netip.Addr, error) {
	n, ok := strings.CutPrefix(node, "node")
	if !ok {
		return nil, errors.New("no node")
	}
	return []netip.Addr{netip.MustParseAddr("10.0.0.1" + n), netip.MustParseAddr("fd00::1" + n), netip.MustParseAddr("fe80::1" + n)}, nil
}

func (l *netLab) RouterStatus(name string) (*cluster.RouterStatus, error) {
	return &cluster.RouterStatus{Name: name, BGP: l.sessions, BFD: l.sessions}, nil
}

// routedRun is a scenario with a router, whose interface eth0 is v-node1 in fab.
func routedRun(t *testing.T, text string) (*run, *netLab) {
	t.Helper()
	world.Require(t)
	l := &netLab{routers: []string{"frr", "bird"}, config: "bfd graceful;"}
	for _, ns := range []string{"fab", "frr", "bird"} {
		must(t, world.AddNamespace(ns))
		t.Cleanup(func() { must(t, world.IP("", "netns del "+ns)) })
	}
	must(t, world.AddCable("fab", "v-node1", "frr", "eth0"))
	must(t, world.AddCable("fab", "v-node2", "bird", "eth0"))
	for i, ns := range l.routers {
		must(t, world.IP(ns, fmt.Sprintf("addr add 10.0.0.%d/24 dev eth0", i+1), fmt.Sprintf("addr add fd00::%d/64 dev eth0 nodad", i+1)))
	}
	r := testRun(t, text)
	r.lab = l
	return r, l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRoutesAreThoseOfTheKernel(t *testing.T) {
	for _, c := range []struct{ claim, want string }{
		{"routes frr 192.0.2.1 nodes=node2,node1", ""},
		{"routes frr 192.0.2.1/32 2001:db8::1 nodes=node1,node2", ""},
		{"routes frr 192.0.2.2 nodes=node2", ""},
		{"routes frr 2001:db8::2 nodes=node1", ""}, // by its link-local address
		{"routes frr,bird 192.0.2.9 nodes=none", ""},
		{"wait routes frr 192.0.2.1 nodes=node1,node2", ""},
		{"routes frr 192.0.2.1 nodes=node1 within=50ms", "frr has next hops node1, node2 for 192.0.2.1/32, want node1"},
		{"routes frr 192.0.2.2 nodes=node1,node2 within=50ms", "want node1, node2"},
		{"routes frr 192.0.2.3 nodes=node1 within=50ms", "frr has next hops 10.0.0.99"},
		{"routes frr 192.0.2.1 nodes=none within=50ms", "want none"},
		{"routes frr,bird 192.0.2.1 nodes=node1,node2 within=50ms", "bird has next hops none"},
		{"routes frr 192.0.2.1 within=50ms", "nodes=: want"},
		{"routes cisco 192.0.2.1 nodes=node1 within=50ms", "it has frr, bird"},
		{"routes frr nodes=node1 within=50ms", "want routers, and"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			r, _ := routedRun(t, c.claim)
			must(t, world.IP("frr",
				"route add 192.0.2.1 nexthop via 10.0.0.11 nexthop via 10.0.0.12",
				"route add 2001:db8::1 nexthop via fd00::11 nexthop via fd00::12",
				"route add 192.0.2.2 via 10.0.0.12",
				"route add 192.0.2.3 via 10.0.0.99",
				"route add 2001:db8::2 via fe80::11 dev eth0"))
			expect(t, r.lines(t.Context()), c.want)
		})
	}
}

// expect is one failure that has the text, or none.
func expect(t *testing.T, failures []string, want string) {
	t.Helper()
	if want == "" && len(failures) > 0 || want != "" && (len(failures) != 1 || !strings.Contains(failures[0], want)) {
		t.Errorf("%q, want %q", failures, want)
	}
}

func TestSessionsOfRouters(t *testing.T) {
	l := &netLab{routers: []string{"frr"}, sessions: map[netip.Addr]bool{netip.MustParseAddr("10.0.0.11"): false, netip.MustParseAddr("fd00::11"): true}}
	for _, verb := range []string{"bgp", "bfd"} {
		for claim, want := range map[string]string{
			" frr node1 up":                   "",
			" frr node2 down":                 "", // never heard of
			" frr node1,node2 up within=10ms": "frr with node2",
			" frr node1 down within=10ms":     "frr with node1",
			" frr node1 within=10ms":          "want routers, nodes, and up or down",
			" frr node1 maybe within=10ms":    "want routers, nodes, and up or down",
			" frr pc up within=10ms":          "no node",
			" bird node1 up within=10ms":      "it has frr",
			" frr node1 up within=soon":       "want a duration",
		} {
			r := testRun(t, verb+claim)
			r.lab = l
			expect(t, r.lines(t.Context()), want)
		}
	}
}

func TestRouterFaults(t *testing.T) {
	for _, c := range []struct{ line, said, want string }{
		{"router kill frr", "kill frr", ""},
		{"router stop bird", "stop bird", ""},
		{"router start frr", "start frr", ""},
		{"router only bird", "far bird", ""},
		{"router only frr bird", "far frr bird", ""},
		{"router configure frr 'router bgp 65000' 'maximum-paths 1, 2'", "configure frr router bgp 65000\nmaximum-paths 1, 2\n", ""},
		{"router configure bird bird.conf", "configure bird whole\n", ""},
		{"router replace bird graceful on", "configure bird bfd on;", ""},
		{"router replace bird nosuch on", "", "not in the configuration"},
		{"router replace frr graceful on", "", "is FRR"},
		{"router kill frr bird", "", "want kill"},
		{"router kill cisco", "", "no router of this lab"},
		{"router melt frr", "", "want kill"},
		{"router kill", "", "what to do, and a router"},
	} {
		r := testRun(t, c.line+"\n-- bird.conf --\nwhole\n")
		l := &netLab{routers: []string{"frr", "bird"}, config: "bfd graceful;"}
		r.lab = l
		expect(t, r.lines(t.Context()), c.want)
		if c.said != "" && !slices.Equal(l.said, []string{c.said}) || c.said == "" && l.said != nil {
			t.Errorf("%s: the lab was told %q, want %q", c.line, l.said, c.said)
		}
	}
}

// The stop-watch goes from the dark cable to the changed route, whatever else the routes
// of the router do meanwhile.
func TestUnrouted(t *testing.T) {
	r, _ := routedRun(t, "unrouted x frr 192.0.2.1 node1 by test-cut\nmeasured x")
	must(t, world.IP("frr", "route add 192.0.2.1 nexthop via 10.0.0.11 nexthop via 10.0.0.12"))
	var dark, gone [2]time.Time // before and after
	verbs["test-cut"] = verb{run: onLab(func() error {
		time.Sleep(400 * time.Millisecond) // the command begins before the cut
		dark[0] = time.Now()
		if err := world.IP("fab", "link set v-node1 down", "link set v-node1 up"); err != nil { // the route must outlive it
			return err
		}
		dark[1] = time.Now()
		if err := world.IP("frr", "route replace 192.0.2.1 nexthop via 10.0.0.11 nexthop via 10.0.0.12", "route add 192.0.2.7 via 10.0.0.12"); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
		gone[0] = time.Now()
		err := world.IP("frr", "route replace 192.0.2.1 via 10.0.0.12")
		gone[1] = time.Now()
		return err
	})}
	defer delete(verbs, "test-cut")
	expect(t, r.lines(t.Context()), "")
	got := r.samples["x"].times["frr, IPv4"]
	if len(got) != 1 || got[0] < gone[0].Sub(dark[1]) || got[0] > gone[1].Sub(dark[0])+200*time.Millisecond {
		t.Errorf("routed for %v, want between %s and %s", got, gone[0].Sub(dark[1]), gone[1].Sub(dark[0]))
	}
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "x, frr, IPv4: routed for p50") || strings.Contains(r.notes[0], "lost") {
		t.Errorf("notes %q", r.notes)
	}
}

func onLab(do func() error) func(*run, context.Context, []string) error {
	return func(*run, context.Context, []string) error { return do() }
}

func TestUnroutedRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"unrouted x frr 192.0.2.1 node1 within=100ms by mark": "frr still has the route",
		"unrouted x bird 192.0.2.1 node1 by mark":             "bird has no such route",
		"unrouted x frr 192.0.2.1 node2 by mark":              "frr has no such route",
		"unrouted x frr 192.0.2.1 node1 by":                   "want by, and a command",
		"unrouted x frr 192.0.2.1 node1":                      "want by, and a command",
		"unrouted x frr 192.0.2.1 by mark":                    "want a name, routers, an address and a node",
		"unrouted x frr 192.0.2.1 node1 by melt":              "no such verb",
	} {
		t.Run(line, func(t *testing.T) {
			r, _ := routedRun(t, line)
			must(t, world.IP("frr", "route add 192.0.2.1 via 10.0.0.11"))
			expect(t, r.lines(t.Context()), want)
		})
	}
}

func TestEvents(t *testing.T) {
	e, err := parseEvent("[2026-01-31T12:00:00.123456] Deleted 192.0.2.1 via 10.0.0.11 dev eth0 ")
	if err != nil || e.at != time.Date(2026, 1, 31, 12, 0, 0, 123456000, time.UTC) || !strings.HasPrefix(e.text, "Deleted 192.0.2.1") {
		t.Errorf("%v, %v", e, err)
	}
	for _, bad := range []string{"", "x", "[x] y", "192.0.2.1 via 10.0.0.1"} {
		if e, err := parseEvent(bad); err == nil {
			t.Errorf("%q is %v", bad, e)
		}
	}
	for line, want := range map[string]bool{
		"7: v-node1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP":     false,
		"7: v-node1@if2: <BROADCAST,MULTICAST> mtu 1500 state DOWN":               true,
		"Deleted 7: v-node1@if2: <BROADCAST,MULTICAST,UP> mtu 1500":               true,
		"8: v-node11@if2: <BROADCAST,MULTICAST> mtu 1500 state DOWN":              false,
		"8: v-node2@if2: <BROADCAST,MULTICAST> mtu 1500 state DOWN":               false,
		"7: v-node1@if2: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 state DOWN": false,
	} {
		if dark(line, "v-node1") != want {
			t.Errorf("%s: dark is %v", line, !want)
		}
	}
}

func TestSharesOfNextHops(t *testing.T) {
	for _, c := range []struct {
		wanted string
		got    shares
		are    bool
	}{
		{"node1,node2", shares{"node1": 1, "node2": 255}, true},
		{"node1,node2", shares{"node1": 1}, false},
		{"node1", shares{"node1": 1, "node2": 1}, false},
		{"none", shares{}, true},
		{"none", shares{"node1": 1}, false},
		{"node1*3,node2*1", shares{"node1": 3, "node2": 1}, true},
		{"node1*3,node2*1", shares{"node1": 75, "node2": 25}, true},
		{"node1*3,node2*1", shares{"node1": 191, "node2": 63}, true},
		{"node1*3,node2*1", shares{"node1": 1, "node2": 1}, false},
		{"node1*3,node2*1", shares{"node1": 2, "node2": 1}, false},
		{"node1*3,node2*1", shares{"node1": 25, "node2": 75}, false},
		{"node1*3,node2*1", shares{"node1": 1}, false},
	} {
		wanted, err := sharesOf(c.wanted)
		must(t, err)
		if got := wanted.are(c.got); got != c.are {
			t.Errorf("%s with next hops %v: %v, want %v", c.wanted, c.got, got, c.are)
		}
	}
	for _, text := range []string{"", "node1*0", "node1*x"} {
		if got, err := sharesOf(text); err == nil {
			t.Errorf("nodes=%s is read as %v", text, got)
		}
	}
}
