package bfd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"
)

// theirs are the sessions that we have with a router: every wire at once.
func theirs(p Profile) []Session {
	peer := netip.MustParseAddr
	p.MinimumTTL = 64 // BIRD sends with the kernel's default where RFC 5881 §5 does not forbid it
	return []Session{
		{Peer: peer("10.0.0.2"), Profile: p},
		{Peer: peer("fd00::2"), Local: peer("fd00::1"), Profile: p},
		{Peer: peer("fe80::2%eth0"), Profile: p},
		{Peer: peer("10.0.0.2"), Local: peer("10.0.0.1"), Multihop: true, Profile: p},
		{Peer: peer("fd00::2"), Local: peer("fd00::1"), Multihop: true, Profile: p},
	}
}

const frrPeers = `
bfd
 peer 10.0.0.1 interface eth0
  transmit-interval 100
  receive-interval 100
  detect-multiplier 10
 exit
 peer fd00::1 local-address fd00::2 interface eth0
  transmit-interval 100
  receive-interval 100
  detect-multiplier 10
 exit
 peer fe80::1 local-address fe80::2 interface eth0
  transmit-interval 100
  receive-interval 100
  detect-multiplier 10
 exit
 peer 10.0.0.1 multihop local-address 10.0.0.2
  transmit-interval 100
  receive-interval 100
  detect-multiplier 10
 exit
 peer fd00::1 multihop local-address fd00::2
  transmit-interval 100
  receive-interval 100
  detect-multiplier 10
 exit
exit
`

const birdPeers = `
router id 10.0.0.2;
protocol device { }
protocol bfd bfd1 {
	interface "eth0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 10; };
	multihop { min rx interval 100 ms; min tx interval 100 ms; multiplier 10; };
	neighbor 10.0.0.1 dev "eth0";
	neighbor fd00::1 dev "eth0";
	neighbor fe80::1 dev "eth0";
	neighbor 10.0.0.1 local 10.0.0.2 multihop;
	neighbor fd00::1 local fd00::2 multihop;
}
`

// neighbor is a real router at the other end of a pair.
type neighbor struct {
	*router.Router
	// up is how many of the sessions the router has up; fast how many of those have
	// our transmit interval, in milliseconds.
	up   func(t testing.TB) int
	fast func(t testing.TB, ms int) int
	down func() error // AdminDown; nil: the router never says so (BIRD falls silent)
}

func startFRR(t testing.TB, ns string) neighbor {
	r, err := router.StartFRR(t.Context(), ns, "frr-"+ns, frrPeers, "bfdd")
	must(t, err)
	t.Cleanup(func() { must(t, r.Kill()) })
	type peer struct {
		Status   string `json:"status"`
		Transmit int    `json:"remote-transmit-interval"`
	}
	count := func(t testing.TB, is func(peer) bool) (n int) {
		var peers []peer
		must(t, r.JSON("show bfd peers json", &peers))
		for _, p := range peers {
			if is(p) {
				n++
			}
		}
		return n
	}
	var lines []string
	for line := range strings.Lines(frrPeers) {
		if lines = append(lines, line); strings.HasPrefix(line, " peer") {
			lines = append(lines, "shutdown\n")
		}
	}
	return neighbor{Router: r,
		up:   func(t testing.TB) int { return count(t, func(p peer) bool { return p.Status == "up" }) },
		fast: func(t testing.TB, ms int) int { return count(t, func(p peer) bool { return p.Transmit == ms }) },
		down: func() error { return r.Configure(strings.Join(lines, "")) },
	}
}

func startBIRD(t testing.TB, ns string) neighbor {
	r, err := router.StartBIRD(t.Context(), ns, "bird-"+ns, birdPeers)
	must(t, err)
	t.Cleanup(func() { must(t, r.Kill()) })
	show := func(t testing.TB) []byte {
		out, err := r.Show("show bfd sessions")
		must(t, err)
		return out
	}
	return neighbor{Router: r,
		up: func(t testing.TB) int { return bytes.Count(show(t), []byte(" Up ")) },
		fast: func(t testing.TB, ms int) int { // BIRD shows what follows from both sides' wishes: its own interval
			interval := fmt.Sprintf(` Up .* 0\.100 +%d\.%03d`, ms*10/1000, ms*10%1000)
			return len(regexp.MustCompile(interval).FindAll(show(t), -1))
		},
	}
}

var routers = []struct {
	name  string
	start func(t testing.TB, ns string) neighbor
}{{"FRR", startFRR}, {"BIRD", startBIRD}}

// with a router, five sessions: its story from the first packet to the last.
func TestRouters(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			router.Require(t)
			p := newPair(t)
			n := r.start(t, p.b)
			passive := fast
			passive.Passive = true
			s := speak(t, p.a, Config{}, theirs(passive)...)
			all := len(theirs(fast))
			s.allUp(t, all)
			eventually(t, "up at the router", func() bool { return n.up(t) == all })

			t.Log("another profile, by Poll")
			slower := Profile{Transmit: 400 * time.Millisecond, Receive: 100 * time.Millisecond, Multiplier: 10}
			s.Set(theirs(slower))
			eventually(t, "the router knows the new interval", func() bool { return n.fast(t, 400) == all })
			eventually(t, "the new interval is in use", func() bool { return s.every(slower.Transmit, silence) })

			t.Log("silence")
			s.Set(theirs(fast))
			eventually(t, "the old interval is in use", func() bool { return s.every(fast.Transmit, silence) })
			s.stays(t, all)
			before := len(s.changes())
			must(t, n.Kill())
			s.fall(t, before, all, func(c Change) bool {
				return c.Failed() && c.Local == ControlDetectionTimeExpired && c.Reason == "detection time expired"
			})

			t.Log("the router comes back")
			must(t, n.Start(t.Context()))
			s.allUp(t, all)
			if n.down == nil {
				return
			}
			t.Log("its operator takes the sessions down")
			before = len(s.changes())
			must(t, n.down())
			s.fall(t, before, all, func(c Change) bool {
				return !c.Failed() && c.PeerState == AdminDown && c.Reason == "peer is administratively down"
			})
		})
	}
}

// A farewell is noticed, and then there is silence.
func TestRoutersNoticeShutdown(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			router.Require(t)
			p := newPair(t)
			n := r.start(t, p.b)
			s := speak(t, p.a, Config{}, theirs(fast)...)
			all := len(theirs(fast))
			s.allUp(t, all)
			eventually(t, "up at the router", func() bool { return n.up(t) == all })
			s.Set(theirs(fast)[1:])
			eventually(t, "one is gone at the router", func() bool { return n.up(t) == all-1 })
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s.Shutdown(ctx)
			if n.up(t) != 0 || ctx.Err() != nil {
				t.Errorf("%d sessions are up at the router", n.up(t))
			}
			if r.name == "FRR" {
				var peers []struct{ Diagnostic string }
				must(t, n.JSON("show bfd peers json", &peers))
				for _, p := range peers {
					if !strings.Contains(p.Diagnostic, "neighbor signaled") {
						t.Errorf("the router says: %s", p.Diagnostic)
					}
				}
			}
			s.Set(theirs(fast))
			if len(s.Status()) != 0 {
				t.Error("sessions after Shutdown")
			}
		})
	}
}

func (s *speaker) allUp(t testing.TB, n int) {
	t.Helper()
	eventually(t, "all sessions are up", func() bool {
		up := 0
		for _, st := range s.Status() {
			if st.State == Up {
				up++
			}
		}
		return up == n
	})
}

// every tells whether all sessions have these timers.
func (s *speaker) every(transmit, detect time.Duration) bool {
	for _, st := range s.Status() {
		if st.State != Up || st.TransmitEvery != transmit || st.DetectAfter != detect {
			return false
		}
	}
	return true
}

// stays holds that n sessions came up once and never went down.
func (s *speaker) stays(t testing.TB, n int) {
	t.Helper()
	for _, st := range s.Status() {
		if st.Ups != 1 || st.Downs != 0 {
			t.Errorf("%v came up %d times and went down %d times", st.Peer, st.Ups, st.Downs)
		}
	}
}

// fall waits until n sessions have gone down after the first changes, each as is wanted.
func (s *speaker) fall(t testing.TB, before, n int, wanted func(Change) bool) {
	t.Helper()
	fallen := func() (all []Change) {
		for _, c := range s.changes()[before:] {
			if c.From == Up && c.To == Down {
				all = append(all, c)
			}
		}
		return all
	}
	eventually(t, "all sessions are down", func() bool { return len(fallen()) >= n })
	for _, c := range fallen() {
		if !wanted(c) {
			t.Errorf("%+v", c)
		}
	}
}
