package bfd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// fast is quick enough for tests, and slow enough for a machine that is short of CPU.
var fast = Profile{Transmit: 100 * time.Millisecond, Receive: 100 * time.Millisecond, Multiplier: 10}

// silence is the detection time between two of them.
const silence = time.Second

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

var pairs atomic.Int32

// pair are two namespaces with a cable between their interfaces eth0: addresses
// 10.0.0.1 and .2, fd00::1 and ::2, fe80::1 and ::2.
type pair struct{ a, b string }

func newPair(t testing.TB) pair {
	world.Require(t)
	n := pairs.Add(1)
	p := pair{fmt.Sprintf("a%d", n), fmt.Sprintf("b%d", n)}
	for _, ns := range []string{p.a, p.b} {
		must(t, world.AddNamespace(ns))
		t.Cleanup(func() { must(t, world.IP("", "netns del "+ns)) })
	}
	must(t, world.AddCable(p.a, "eth0", p.b, "eth0"))
	for i, ns := range []string{p.a, p.b} {
		must(t, world.IP(ns, "link set eth0 addrgenmode none", fmt.Sprintf("addr add 10.0.0.%d/24 dev eth0", i+1),
			fmt.Sprintf("addr add fd00::%d/64 dev eth0 nodad", i+1), fmt.Sprintf("addr add fe80::%d/64 dev eth0 nodad", i+1)))
	}
	return p
}

// speaker is a Detector that runs in a namespace, and what it told.
type speaker struct {
	*Detector
	stop func()

	mu   sync.Mutex
	told []Change
}

func speak(t testing.TB, ns string, c Config, sessions ...Session) *speaker {
	s := &speaker{}
	c.Log = slog.New(slog.NewTextHandler(logWriter{t, ns}, nil))
	c.Changed = func(c Change) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, c)
	}
	s.Detector = New(c)
	s.Set(sessions)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- world.Within(ns, func() error { return s.Run(ctx) }) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		must(t, <-done)
	})
	t.Cleanup(s.stop)
	return s
}

type logWriter struct {
	t  testing.TB
	ns string
}

func (w logWriter) Write(line []byte) (int, error) {
	w.t.Logf("%s: %s", w.ns, strings.TrimSpace(string(line)))
	return len(line), nil
}

// changes are those that were told so far.
func (s *speaker) changes() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// only is the status of the one session.
func (s *speaker) only(t testing.TB) Status {
	t.Helper()
	all := s.Status()
	if len(all) != 1 {
		t.Fatalf("there are %d sessions", len(all))
	}
	return all[0]
}

// reach waits until the one session is in a state.
func (s *speaker) reach(t testing.TB, want State) Status {
	t.Helper()
	eventually(t, fmt.Sprintf("state %v", want), func() bool { return s.only(t).State == want })
	return s.only(t)
}

// told1 waits for a change to a state after the first n changes, and returns it.
func (s *speaker) next(t testing.TB, n int, to State) (c Change) {
	t.Helper()
	eventually(t, fmt.Sprintf("a change to %v", to), func() bool {
		all := s.changes()
		i := slices.IndexFunc(all[min(n, len(all)):], func(c Change) bool { return c.To == to })
		if i >= 0 {
			c = all[n+i]
		}
		return i >= 0
	})
	return c
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func with(peer string, p Profile) Session {
	return Session{Peer: netip.MustParseAddr(peer), Profile: p}
}

// wires are the ways in which two neighbours can speak.
var wires = []struct {
	name string
	a, b Session // of a with b, and of b with a
}{
	{"IPv4", with("10.0.0.2", fast), with("10.0.0.1", fast)},
	{"IPv6", with("fd00::2", fast), with("fd00::1", fast)},
	{"link-local", with("fe80::2%eth0", fast), with("fe80::1%eth0", fast)},
	{"multihop", Session{Peer: netip.MustParseAddr("10.0.0.2"), Multihop: true, Profile: fast},
		Session{Peer: netip.MustParseAddr("10.0.0.1"), Multihop: true, Profile: fast}},
	{"multihop IPv6", Session{Peer: netip.MustParseAddr("fd00::2"), Local: netip.MustParseAddr("fd00::1"), Multihop: true, Profile: fast},
		Session{Peer: netip.MustParseAddr("fd00::1"), Multihop: true, Profile: fast}},
	{"on an interface, from an address", Session{Peer: netip.MustParseAddr("10.0.0.2"), Local: netip.MustParseAddr("10.0.0.1"),
		Interface: "eth0", Profile: fast}, with("10.0.0.1", fast)},
}

func TestNeighboursComeUpAndNoticeSilence(t *testing.T) {
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			a, b := speak(t, p.a, Config{}, w.a), speak(t, p.b, Config{}, w.b)
			b.reach(t, Up)
			st := a.reach(t, Up)
			eventually(t, "the fast interval", func() bool {
				st = a.only(t)
				return st.TransmitEvery == fast.Transmit && st.DetectAfter == silence && st.RemoteState == Up
			})
			n := len(a.changes())
			b.stop()
			c := a.next(t, n, Down)
			if c.Reason != "detection time expired" || !c.Failed() || c.Local != ControlDetectionTimeExpired || c.SinceHeard < silence {
				t.Errorf("%+v", c)
			}
			if st := a.only(t); st.RemoteDiscr != 0 {
				t.Errorf("the peer's discriminator is %d", st.RemoteDiscr)
			}
		})
	}
}
