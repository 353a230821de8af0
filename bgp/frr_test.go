package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/deploy/router"
)

// over4 and over6 make a row's peer: plain, and changed.
func over4(change ...func(*Peer)) func(cable) Peer {
	return func(c cable) Peer { return changed(plain(c, c.their4), change) }
}

func over6(change ...func(*Peer)) func(cable) Peer {
	return func(c cable) Peer { return changed(plain(c, c.their6), change) }
}

func changed(p Peer, change []func(*Peer)) Peer {
	for _, f := range change {
		f(&p)
	}
	return p
}

// forwards4, 6 and both: the router forwards to the addresses of the cable.
func forwards4(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	t.Helper()
	waitRoute(t, r, c.prefix4, c.our4)
}

func forwards6(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	t.Helper()
	waitRoute(t, r, c.prefix6, c.our6)
}

func forwardsBoth(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	t.Helper()
	forwards4(t, r, n, c, p)
	forwards6(t, r, n, c, p)
}

// refused: the session never comes up, for a reason that contains text.
func refused(text string) func(*testing.T, *router.Router, *node, cable, Peer) {
	return func(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
		waitReason(t, n, p.Name, text)
		if s := n.status(p.Name); s.Ups > 0 {
			t.Errorf("status %+v", s)
		}
	}
}

func waitReason(t testing.TB, n *node, name, text string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("a reason with %q", text), func() error {
		if s := n.status(name); !strings.Contains(s.LastError, text) {
			return fmt.Errorf("it is %s: %s; last error: %s", s.State, s.Reason, s.LastError)
		}
		return nil
	})
}

// A path is what FRR says of one.
type path struct {
	ASPath            struct{ String string }
	LocPrf            uint32
	Community         struct{ String string }
	LargeCommunity    struct{ String string }
	ExtendedCommunity struct{ String string }
}

// waitPath waits until FRR has one path of a prefix that is as wanted.
func waitPath(t *testing.T, r *router.Router, prefix netip.Prefix, ok func(path) bool) {
	t.Helper()
	waitFor(t, "the path of "+prefix.String(), func() error {
		var answer struct{ Paths []path }
		if err := r.JSON("show bgp ipv4 unicast "+prefix.String()+" json", &answer); err != nil {
			return err
		}
		if len(answer.Paths) != 1 || !ok(answer.Paths[0]) {
			return fmt.Errorf("paths %+v", answer.Paths)
		}
		return nil
	})
}

var fastBFD = &bfd.Profile{Transmit: 100 * time.Millisecond, Receive: 100 * time.Millisecond, Multiplier: 3}

func waitBFD(t *testing.T, n *node, name string, want bfd.State) {
	t.Helper()
	waitFor(t, fmt.Sprintf("BFD to be %s", want), func() error {
		s := n.status(name).BFD
		if s == nil {
			return errors.New("there is none")
		}
		if s.State != want {
			return fmt.Errorf("it is %s: %s; %s", s.State, s.Reason, s.Trouble)
		}
		return nil
	})
}

// waitPace waits until a session and its BFD, of the default intervals, have come to rest.
func waitPace(t *testing.T, n *node, p Peer) {
	t.Helper()
	waitFor(t, "BFD at its pace", func() error {
		if s := n.status(p.Name); s.State != Established || s.BFD.State != bfd.Up || s.BFD.TransmitEvery != bfd.DefaultInterval {
			return fmt.Errorf("%s, BFD is %+v", s.State, s.BFD)
		}
		return nil
	})
}

// waitWeights waits until the router spreads a prefix over two next hops like this.
func waitWeights(t *testing.T, r *router.Router, prefix netip.Prefix, first, second int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s with weights %d:%d", prefix, first, second), func() error {
		hops, err := r.NextHops(prefix)
		if err != nil {
			return err
		}
		if len(hops) != 2 || hops[0].Weight*second != hops[1].Weight*first {
			return fmt.Errorf("it has %v", hops)
		}
		return nil
	})
}

// waitHop waits until FRR has chosen an IPv6 next hop for an IPv4 prefix.
func waitHop(t *testing.T, r *router.Router, prefix netip.Prefix, want netip.Addr) {
	t.Helper()
	waitFor(t, fmt.Sprintf("FRR to use %s for %s", want, prefix), func() error {
		var answer map[string][]struct {
			Nexthops []struct {
				IP  netip.Addr
				FIB bool
			}
		}
		if err := r.JSON("show ip route "+prefix.String()+" json", &answer); err != nil {
			return err
		}
		for _, route := range answer[prefix.String()] {
			if len(route.Nexthops) == 1 && route.Nexthops[0].IP == want && route.Nexthops[0].FIB {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", answer)
	})
}

// watch looks at the router's next hops of prefixes until the returned function
// is called, which tells of one that had none meanwhile. Ended: it has seen one.
func watch(r *router.Router, prefixes ...netip.Prefix) (stop func() (gone error), ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	watched, end := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(end)
		for ctx.Err() == nil {
			for _, prefix := range prefixes {
				if hops, err := r.NextHops(prefix); err != nil || len(hops) == 0 {
					watched <- fmt.Errorf("%s was forwarded to %v, %v", prefix, hops, err)
					return
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		watched <- nil
	}()
	return func() error { cancel(); return <-watched }, end
}

// restart ends a node as a killed process does, and starts it again. It tells
// which route was gone meanwhile.
func restart(t *testing.T, r *router.Router, n *node, c cable, p Peer) (gone error) {
	us := n.status(p.Name).Local.Addr()
	watched, ended := watch(r, c.prefix4, c.prefix6)
	n.end()
	waitFor(t, "the router to see that nobody is there", func() error {
		if up, err := r.BGP(); err != nil || up[us] {
			return fmt.Errorf("its session with %s is up; %v", us, err)
		}
		return nil
	})
	if !p.GracefulRestart {
		waitFor(t, "a route to go", func() error {
			select {
			case <-ended:
				return nil
			default:
				return errors.New("all are there")
			}
		})
	}
	next := run(t, Config{Restarting: true})
	next.Set(c.prefixes(), []Peer{p})
	next.waitState(p.Name, Established)
	waitFor(t, "the router to have heard everything", func() error {
		if s := next.status(p.Name); s.Sent.Updates < 4 { // two prefixes, two ends of RIB
			return fmt.Errorf("sent %+v", s.Sent)
		}
		return nil
	})
	forwardsBoth(t, r, next, c, p)
	if p.BFD != nil {
		waitBFD(t, next, p.Name, bfd.Up)
	}
	waitSettled(t, r, next, c, p)
	return watched()
}

// renewed changes a node's peer and waits for the session that follows. It tells
// which route was gone meanwhile.
func renewed(t *testing.T, r *router.Router, n *node, c cable, p Peer) (gone error) {
	watched, _ := watch(r, c.prefix4, c.prefix6)
	n.Set(c.prefixes(), []Peer{p})
	waitFor(t, "another session", func() error {
		if s := n.status(p.Name); s.State != Established || s.Ups != 2 || s.Sent.Updates < 8 { // two prefixes, two ends of RIB, twice
			return fmt.Errorf("%s: %s", s.State, s.Reason)
		}
		return nil
	})
	forwardsBoth(t, r, n, c, p)
	waitSettled(t, r, n, c, p)
	if why := n.fell(); !slices.Equal(why, []string{"its configuration has changed"}) {
		t.Errorf("the session ended: %q", why)
	}
	return watched()
}

// waitSettled waits until the router has dropped what it kept of a session before. What it
// does after that is done after that: a route that comes then.
func waitSettled(t *testing.T, r *router.Router, n *node, c cable, p Peer) {
	t.Helper()
	us := n.status(p.Name).Local.Addr()
	waitFor(t, "the router to have settled", func() error {
		if ok, err := r.Settled(us); err != nil || !ok {
			return fmt.Errorf("with %s: %t, %v", us, ok, err)
		}
		return nil
	})
	last := netip.MustParsePrefix(fmt.Sprintf("2001:db8:fffe:%d::/64", c.n))
	n.Set(append(c.prefixes(), Prefix{Prefix: last}), []Peer{p})
	waitRoute(t, r, last, c.our6)
	n.Set(c.prefixes(), []Peer{p})
	waitRoute(t, r, last)
}

// restarted tells whether FRR has been told of a restart when the session came up.
func restarted(t *testing.T, r *router.Router, c cable) bool {
	t.Helper()
	var answer map[string]struct{ RBit bool }
	must(t, r.JSON(c.fill("show bgp ipv4 neighbors {our4} graceful-restart json"), &answer))
	return answer[c.our4.String()].RBit
}
