package script

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/lab/witness"
)

// testRun is a scenario without a lab: what needs none can be run.
func testRun(t *testing.T, text string) *run {
	t.Helper()
	s, err := Parse("t.txtar", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &run{script: s, out: io.Discard, vars: map[string]string{}, begun: time.Now(), mark: time.Now(),
		history: &witness.History{}, heard: &witness.Heard{}, probes: map[string]*probing{}}
}

func TestClaimsGoOnAndErrorsEnd(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // of the failures
	}{
		{"mark\nclash-free", nil},
		{"shares a b\nnever-without-address a\nset X 1", []string{"t.txtar:1: shares a b: a holds []", "t.txtar:2: never-without-address a: default/a did not exist"}},
		{"! shares a b\n! clash-free", []string{"t.txtar:2: ! clash-free: succeeded, and was to fail"}},
		{"sleep x\nshares a b", []string{"t.txtar:1: sleep x"}},
		{"set X $Y\nshares a b", []string{"t.txtar:1: set X $Y: no variable Y"}},
		{"lost 0\nshares a b", []string{"t.txtar:1: lost 0: nothing was probed"}},
	} {
		r := testRun(t, c.text)
		got := r.lines(t.Context())
		if len(got) != len(c.want) {
			t.Errorf("%q: failures %q, want %q", c.text, got, c.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], c.want[i]) {
				t.Errorf("%q: failure %q, want %q", c.text, got[i], c.want[i])
			}
		}
	}
}

func TestAScenarioEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if got := testRun(t, "sleep 1h\nsleep 1h").lines(ctx); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// probed adds an ended probe of one target that lost so much.
func (r *run) probed(name, service, target string, lost ...probe.Silence) {
	t, err := probe.ParseTarget(target)
	if err != nil {
		panic(err)
	}
	res := probe.Result{Target: t, Sent: 1000, Silences: lost, Backends: map[string]int{}}
	for _, s := range lost {
		res.Lost += s.Requests
	}
	res.Answered = res.Sent - res.Lost
	r.probes[name] = &probing{stopped: true, from: r.begun, to: r.begun.Add(time.Minute),
		targets: map[probe.Target]string{t: service}, report: probe.Report{Results: []probe.Result{res}}}
	r.order = append(r.order, name)
}

func TestTrafficClaims(t *testing.T) {
	hole := func(after, length time.Duration, requests int) func(*run) probe.Silence {
		return func(r *run) probe.Silence {
			return probe.Silence{Start: r.begun.Add(after), Length: length, Requests: requests}
		}
	}
	for _, c := range []struct {
		claim string
		hole  func(*run) probe.Silence
		want  string
	}{
		{"lost 0", nil, ""},
		{"lost 0 a", hole(time.Second, 5*time.Millisecond, 5), "lost 5 of 1000:"},
		{"lost 0 b", hole(time.Second, 5*time.Millisecond, 5), "b was not probed"},
		{"lost max 5", hole(time.Second, 5*time.Millisecond, 5), ""},
		{"lost max 4", hole(time.Second, 5*time.Millisecond, 5), "lost 5"},
		{"lost as-control c", hole(time.Second, 7*time.Millisecond, 7), ""},
		{"lost as-control c a", hole(time.Second, 8*time.Millisecond, 8), "lost 8 on a target, the control 7"},
		{"lost as-control c more=1 a", hole(time.Second, 8*time.Millisecond, 8), ""},
		{"lost unclaimed a", hole(11*time.Second, time.Second, 1000), ""},
		{"lost unclaimed a", hole(11*time.Second, 5*time.Second, 1000), "lost while a Service had the port"},
		{"lost unclaimed a", hole(time.Second, time.Second, 1000), "lost while a Service had the port"},
		{"silence max 1s", hole(time.Second, time.Second, 1000), ""},
		{"silence max 999ms", hole(time.Second, time.Second, 1000), "silent for 1s"},
		{"spread a over=1", nil, "answered by 0 pods"},
	} {
		r := testRun(t, c.claim)
		addr := netip.MustParseAddr("192.0.2.1")
		state := func(after time.Duration, addrs ...netip.Addr) {
			r.history.Add(witness.Service{At: r.begun.Add(after), Name: "default/a", Addresses: addrs, Ports: []witness.Port{{Protocol: "TCP", Number: 80}}})
		}
		state(-time.Hour, addr)
		state(10 * time.Second) // nobody's port from here
		state(12*time.Second, addr)
		var lost []probe.Silence
		if c.hole != nil {
			lost = append(lost, c.hole(r))
		}
		r.probed("one", "a", "tcp:192.0.2.1:80", lost...)
		r.probed("two", "c", "tcp:192.0.2.2:80", probe.Silence{Start: r.begun, Requests: 7})
		if strings.HasPrefix(c.claim, "lost 0") || strings.HasPrefix(c.claim, "lost max") || strings.HasPrefix(c.claim, "silence") {
			delete(r.probes, "two")
			r.order = r.order[:1]
		}
		failures := r.lines(t.Context())
		if c.want == "" && len(failures) > 0 || c.want != "" && (len(failures) != 1 || !strings.Contains(failures[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.claim, failures, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	r := testRun(t, "mark")
	r.history.Add(witness.Service{At: r.begun, Name: "default/a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd00::1")},
		Ports: []witness.Port{{Protocol: "TCP", Number: 80}, {Protocol: "UDP", Number: 53}}})
	for _, c := range []struct {
		args string
		want int
	}{{"a", 4}, {"a:tcp/80", 2}, {"a udp:192.0.2.9:1", 5}, {"b", -1}, {"a:tcp/81", -1}, {"tcp:x", -1}} {
		got, err := r.targets(strings.Fields(c.args))
		if c.want < 0 && err == nil || c.want >= 0 && (err != nil || len(got) != c.want) {
			t.Errorf("%s: %v, %v, want %d targets", c.args, got, err, c.want)
		}
	}
}

// Only a handshake that a move cut through is excused: not what was silent, nor more
// than can meet a move, nor what was refused at another time.
func TestOnlyHandshakesThatAMoveCutAreExcused(t *testing.T) {
	move, reroute := time.UnixMilli(1000), time.UnixMilli(5000)
	for name, c := range map[string]struct {
		s    probe.Silence
		want int
	}{
		"in the handshake":      {probe.Silence{Start: move.Add(-time.Millisecond), Requests: 1, Refused: 1}, 1},
		"silent":                {probe.Silence{Start: move, Requests: 1}, 0},
		"stalled":               {probe.Silence{Start: move, Requests: 1, Stalled: 1}, 0},
		"too many":              {probe.Silence{Start: move, Requests: 3, Refused: 3}, 0},
		"at another time":       {probe.Silence{Start: move.Add(time.Second), Requests: 1, Refused: 1}, 0},
		"refused at a reroute":  {probe.Silence{Start: reroute, Requests: 1, Refused: 1}, 1},
		"stalled at a reroute":  {probe.Silence{Start: reroute, Requests: 2, Refused: 1, Stalled: 1}, 2},
		"silent at a reroute":   {probe.Silence{Start: reroute, Requests: 1}, 0},
		"too many at a reroute": {probe.Silence{Start: reroute, Requests: 3, Stalled: 3}, 0},
		"stalled, after that":   {probe.Silence{Start: reroute.Add(time.Second), Requests: 1, Stalled: 1}, 0},
	} {
		if got := cut([]time.Time{move}, []time.Time{reroute}, []probe.Silence{c.s}); got != c.want {
			t.Errorf("%s: %d excused", name, got)
		}
	}
}
