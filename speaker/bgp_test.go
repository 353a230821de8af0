package speaker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/layer2"
)

// A scribe writes down what routers would be told.
type scribe struct {
	mu     sync.Mutex
	peers  []bgp.Peer
	last   []string // "prefix router", with " going" where it is asked to leave
	status []bgp.PeerStatus
	closed string
}

func (s *scribe) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (s *scribe) Set(prefixes []bgp.Prefix, peers []bgp.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.peers = []string{}, slices.Clone(peers)
	for _, p := range prefixes {
		for _, peer := range peers {
			if len(p.Peers) > 0 && !slices.Contains(p.Peers, peer.Name) {
				continue
			}
			text := fmt.Sprint(p.Prefix, " ", peer.Name)
			if slices.Contains(p.Communities, gracefulShutdown) {
				text += " going"
			}
			s.last = append(s.last, text)
		}
	}
	slices.Sort(s.last)
}

func (s *scribe) Close(_ context.Context, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = reason
}

func (s *scribe) Status() []bgp.PeerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.status)
}

func (s *scribe) says(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.last, want) {
		t.Errorf("%s, routers are told %q; want %q", when, s.last, want)
	}
}

// noWire is a Wire on which nothing happens.
type noWire struct{}

func (noWire) Run(ctx context.Context) error       { <-ctx.Done(); return nil }
func (noWire) Set([]layer2.Entry)                  {}
func (noWire) Announce(...netip.Addr)              {}
func (noWire) Probe(...layer2.Entry)               {}
func (noWire) Stations() []net.HardwareAddr        { return nil }
func (noWire) Usable() map[string]layer2.Usability { return nil }
func (noWire) Status() []layer2.Status             { return nil }
func (noWire) Stats() layer2.Stats                 { return layer2.Stats{} }

// routing runs the part of a Speaker that speaks BGP, in a bubble with a clock of
// its own, on a node that alone advertises one address.
func routing(t *testing.T, test func(t *testing.T, s *Speaker, told *scribe)) {
	synctest.Test(t, func(t *testing.T) {
		told := &scribe{}
		s := New(Config{
			Node: "a", Times: Times{Drain: testDrain},
			BGP:  func(bgp.Config) Advertiser { return told },
			Wire: func(layer2.Config) Wire { return noWire{} },
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { s.loop(ctx); close(s.done) })
		s.SetSessions(sessions("t0", "t1"))
		seat := seatOf(routed[0], nil, true, nil, map[string][]string{"ad1": {"a"}})
		seat.Services = []allocator.ServiceName{{Namespace: "shop", Name: "web"}}
		s.Set(allocator.Placement{Seats: []allocator.Seat{seat}})
		synctest.Wait()
		test(t, s, told)
		cancel()
		done.Wait()
	})
}

func sessions(names ...string) (all []peering.Session) {
	for _, n := range names {
		all = append(all, peering.Session{Name: n, IPv4: true})
	}
	return all
}

// Invariant 9, for a router that is to have no session any more.
func TestAlwaysAsksALostRouterToLeaveFirst(t *testing.T) {
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		told.says(t, "at first", "192.0.2.1/32 t0", "192.0.2.1/32 t1")
		s.SetSessions(sessions("t1"))
		told.says(t, "when t0 is to have no session", "192.0.2.1/32 t0 going", "192.0.2.1/32 t1")
		time.Sleep(testDrain / 2)
		s.SetSessions(sessions("t1"))
		told.says(t, "when that is said again", "192.0.2.1/32 t0 going", "192.0.2.1/32 t1")
		time.Sleep(testDrain / 2)
		told.says(t, "when the time is over", "192.0.2.1/32 t1")
		s.SetSessions(sessions("t0", "t1"))
		s.SetSessions(sessions("t0"))
		s.SetSessions(sessions("t0", "t1"))
		told.says(t, "when one has come back in time", "192.0.2.1/32 t0", "192.0.2.1/32 t1")
		time.Sleep(2 * testDrain)
		told.says(t, "after that", "192.0.2.1/32 t0", "192.0.2.1/32 t1")
	})
}

// A BGPPeer that is renamed is another peer with the same router, which takes no second
// session: the new one comes when the old one has left and said goodbye, at once after
// that, and without ever being there beside it.
func TestRenamedPeerWaitsForTheOldOne(t *testing.T) {
	router := func(name, addr string) peering.Session {
		return peering.Session{Name: name, Address: netip.MustParseAddr(addr), IPv4: true}
	}
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		s.SetSessions([]peering.Session{router("old", "10.0.0.1"), router("t1", "10.0.0.2")})
		synctest.Wait()
		time.Sleep(2 * testDrain) // those of the beginning are gone
		told.says(t, "at first", "192.0.2.1/32 old", "192.0.2.1/32 t1")
		renamed := []peering.Session{router("new", "10.0.0.1"), router("t1", "10.0.0.2"), router("t2", "10.0.0.3")}
		s.SetSessions(renamed)
		told.says(t, "when it is renamed", "192.0.2.1/32 old going", "192.0.2.1/32 t1", "192.0.2.1/32 t2")
		time.Sleep(testDrain / 2)
		s.SetSessions(renamed)
		told.says(t, "when that is said again", "192.0.2.1/32 old going", "192.0.2.1/32 t1", "192.0.2.1/32 t2")
		time.Sleep(testDrain / 2)
		told.says(t, "when its time is over", "192.0.2.1/32 t1", "192.0.2.1/32 t2")
		s.SetSessions(renamed)
		told.says(t, "when that is said again while it says goodbye", "192.0.2.1/32 t1", "192.0.2.1/32 t2")
		time.Sleep(goodbye)
		told.says(t, "after that", "192.0.2.1/32 new", "192.0.2.1/32 t1", "192.0.2.1/32 t2")

		s.SetSessions([]peering.Session{router("old", "10.0.0.1"), router("t1", "10.0.0.2"), router("t2", "10.0.0.3")})
		s.SetSessions(renamed)
		told.says(t, "when it is renamed back and forth", "192.0.2.1/32 new", "192.0.2.1/32 t1", "192.0.2.1/32 t2")
		time.Sleep(2 * testDrain)
		told.says(t, "and for good", "192.0.2.1/32 new", "192.0.2.1/32 t1", "192.0.2.1/32 t2")
	})
	// Without a route nothing is lost: it takes the goodbye only.
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		s.Set(allocator.Placement{Gone: []netip.Addr{routed[0]}})
		s.SetSessions([]peering.Session{router("old", "10.0.0.1")})
		synctest.Wait()
		time.Sleep(2 * testDrain)
		s.SetSessions([]peering.Session{router("new", "10.0.0.1")})
		synctest.Wait()
		if len(told.peers) != 0 {
			t.Errorf("beside the old one, or at once: %+v", told.peers)
		}
		time.Sleep(goodbye)
		synctest.Wait()
		if len(told.peers) != 1 || told.peers[0].Name != "new" {
			t.Errorf("after the goodbye: %+v", told.peers)
		}
	})
}

// Routers are told how long to wait for the next daemon.
func TestRestartTimeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := &scribe{}
		s := New(Config{
			Node: "a", RestartTime: 5 * time.Minute,
			BGP:  func(bgp.Config) Advertiser { return told },
			Wire: func(layer2.Config) Wire { return noWire{} },
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { s.loop(ctx) })
		s.SetSessions(sessions("t0"))
		s.Set(allocator.Placement{})
		synctest.Wait()
		cancel()
		done.Wait()
		if len(told.peers) != 1 || told.peers[0].RestartTime != 5*time.Minute {
			t.Errorf("peers: %+v", told.peers)
		}
	})
}

// Before a restart only those routers are asked to leave that would drop the routes;
// before an end, all.
func TestAlwaysRelievesRoutersBeforeTheEnd(t *testing.T) {
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		told.status = []bgp.PeerStatus{{Name: "t0", State: bgp.Established, GracefulRestart: true}, {Name: "t1", State: bgp.Established}}
		began := time.Now()
		s.Pause(t.Context())
		told.says(t, "before a restart", "192.0.2.1/32 t0", "192.0.2.1/32 t1 going")
		if took := time.Since(began); took != testDrain || told.closed != "" {
			t.Errorf("a restart was prepared within %s, closed because %q; want %s, and no end", took, told.closed, testDrain)
		}
		s.Withdraw(t.Context(), "removed")
		told.says(t, "before the end", "192.0.2.1/32 t0 going", "192.0.2.1/32 t1 going")
		if told.closed != "removed" {
			t.Errorf("closed because %q", told.closed)
		}
	})
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		told.status = []bgp.PeerStatus{{Name: "t0", State: bgp.Established, GracefulRestart: true}, {Name: "t1", State: bgp.Active}}
		began := time.Now()
		s.Pause(t.Context())
		told.says(t, "where all keep the routes", "192.0.2.1/32 t0", "192.0.2.1/32 t1")
		if took := time.Since(began); took != 0 {
			t.Errorf("waited for %s with nothing to wait for", took)
		}
	})
}

// A copy is ready when its routers know what it advertises, or when they had time.
func TestRoutedWaitsForRoutersButNotForEver(t *testing.T) {
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		told.status = []bgp.PeerStatus{{Name: "t0", Ups: 1}, {Name: "t1", Reason: "no route to host"}, {Name: "t2", Frozen: true}}
		if err := s.Routed(); err == nil || err.Error() != "no session with BGP peer t1 yet: no route to host" {
			t.Errorf("with a router to come: %v", err)
		}
		time.Sleep(connecting + time.Second)
		if err := s.Routed(); err != nil {
			t.Errorf("with a router that does not come: %v", err)
		}
	})
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		told.status = []bgp.PeerStatus{{Name: "t0", Ups: 1}}
		if err := s.Routed(); err != nil {
			t.Errorf("with all that there are: %v", err)
		}
	})
}

// A Service that joins an address is told of, and that the routers know it already.
func TestAlwaysSaysWhoJoined(t *testing.T) {
	j := newRoutesJudge(nil)
	web, dns := allocator.ServiceName{Namespace: "shop", Name: "web"}, allocator.ServiceName{Namespace: "shop", Name: "dns"}
	seat := seatOf(routed[0], nil, true, nil, map[string][]string{"ad1": {"a"}})
	seat.Services = []allocator.ServiceName{web}
	j.place(true, seat)
	j.decide()
	j.r.notes, j.r.changed = nil, false
	seat.Services = []allocator.ServiceName{web, dns}
	j.place(false, seat)
	j.decide()
	if n := j.r.notes; len(n) != 1 || n[0].kind != Advertised || !slices.Equal(n[0].services, []allocator.ServiceName{dns}) || !j.r.changed {
		t.Errorf("noted %+v, changed: %v", n, j.r.changed)
	}
	j.r.notes, j.r.changed = nil, false
	seat.Services = []allocator.ServiceName{web}
	j.place(false, seat)
	j.decide()
	if len(j.r.notes) > 0 || !j.r.changed {
		t.Errorf("when one leaves: noted %+v, changed: %v", j.r.notes, j.r.changed)
	}
}
