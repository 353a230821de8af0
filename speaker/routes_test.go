package speaker

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/bgp"
)

// Invariants 2, 3 and 9.
func TestAlwaysAdvertisesWhatItServesAndNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := newRoutesJudge(nil).history(t); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAlwaysSeesWrongRoutes(t *testing.T) {
	for name, wrong := range map[string]func(r *routes){
		"widens at once": func(r *routes) {
			for _, p := range r.paths {
				p.others, p.leavers = false, nil
			}
		},
		"takes the place of a node that still serves": func(r *routes) {
			for _, p := range r.paths {
				p.leavers = nil
			}
		},
		"waits for proof for ever": func(r *routes) {
			for _, p := range r.paths {
				p.trusted = p.trusted.Add(time.Hour)
			}
		},
		"withdraws without asking routers to leave": func(r *routes) {
			for _, p := range r.paths {
				p.drains = nil
			}
		},
		"goes on where it does not serve": func(r *routes) {
			for addr, p := range r.paths {
				if len(p.mine) == 0 {
					delete(r.dirty, addr)
				}
			}
		},
		"withdraws an aggregate with its first member": func(r *routes) {
			for _, p := range r.paths {
				for _, c := range r.table.of[p.Addr] {
					if w := r.table.rows[c.prefix]; r.dirty[p.Addr] && len(p.mine) == 0 && len(w.ads[0].members) > 1 {
						w.ads[0].members = w.ads[0].members[:1]
						w.ads[0].members[0] = c
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			histories := rapid.Custom(func(t *rapid.T) error { return newRoutesJudge(wrong).history(t) })
			for seed := range 500 {
				if err := func() (err error) {
					defer func() {
						if r := recover(); r != nil {
							err = fmt.Errorf("%v", r)
						}
					}()
					return histories.Example(seed)
				}(); err != nil {
					t.Logf("seen in history %d: %v", seed, err)
					return
				}
			}
			t.Error("not seen")
		})
	}
}

// Invariant 10: nothing is told before the data path of everything serves, or it is
// known that it does not.
func TestNeverOpensSessionsBeforeItKnowsWhatToSay(t *testing.T) {
	j := newRoutesJudge(nil)
	j.decide()
	if !j.r.ready.IsZero() {
		t.Fatal("ready before the first placement")
	}
	both := map[string][]string{"ad1": {"a", "b"}}
	j.place(true, seatOf(routed[0], nil, true, nil, both), seatOf(routed[1], []string{"a", "b"}, false, []uint16{30001}, both))
	j.decide()
	if !j.r.ready.IsZero() {
		t.Fatal("ready though another node may serve, and this one is not known to")
	}
	j.r.healthy(j.now, healthPort{30001, false})
	j.now = j.now.Add(testDwell)
	j.decide()
	if j.r.ready.IsZero() || len(j.table()) != 2*len(routers) {
		t.Fatalf("ready %v with %q, though all is known to serve", j.r.ready, j.table())
	}

	j = newRoutesJudge(nil) // nobody else is there: nothing to wait for
	j.place(true, seatOf(routed[0], nil, true, nil, map[string][]string{"ad1": {"a"}}))
	j.decide()
	if j.r.ready.IsZero() || len(j.table()) != len(routers) {
		t.Fatalf("ready %v with %q, alone", j.r.ready, j.table())
	}
}

// Invariant 9, where no health check port ever answers: by nodes that all wait for
// proof, an address would vanish from the routers with a restart of all daemons, at
// the latest when they are told that this was all (End-of-RIB).
func TestNeverWaitsForProofForEver(t *testing.T) {
	const patience = testDwell + time.Second
	seat := seatOf(routed[1], []string{"a", "b"}, false, []uint16{30001}, map[string][]string{"ad1": {"a", "b"}})
	seat.Services = []allocator.ServiceName{{Namespace: "shop", Name: "web"}}
	start := func(booted bool) *routesJudge {
		j := newRoutesJudge(nil)
		j.r.booted = booted
		j.place(true, seat)
		j.decide()
		return j
	}
	// told waits, and says whether the routers are told then, and that it is not proven.
	told := func(j *routesJudge, wait time.Duration) bool {
		j.now = j.now.Add(wait)
		next := j.r.decide(j.now)
		is := len(j.table()) > 0
		said := slices.ContainsFunc(j.r.notes, func(n note) bool { return n.kind == Unproven && slices.Equal(n.services, seat.Services) })
		if said != is {
			t.Errorf("told: %v, and says that it is not proven: %v", is, said)
		}
		if !is && next.IsZero() {
			t.Error("waits, and for nothing")
		}
		return is
	}

	j := start(false) // a restart
	if told(j, patience-1) || !j.r.ready.IsZero() {
		t.Error("did not wait for proof after a restart")
	}
	if !told(j, 1) || j.r.ready.IsZero() {
		t.Error("sessions come up after a restart, and routers that kept the route are not told it again")
	}

	j = start(true) // a boot
	if told(j, patience) || j.r.ready.IsZero() {
		t.Error("what is proven waits, after a boot, for what is not, or the other way round")
	}
	if told(j, longestProof-patience-1) || !told(j, 1) {
		t.Error("after a boot, proof is not waited for, or for ever")
	}

	j = start(false) // pods come later
	j.place(false, seatOf(routed[1], []string{"b"}, false, []uint16{30001}, map[string][]string{"ad1": {"b"}}))
	j.decide()
	j.now = j.now.Add(time.Minute)
	j.decide()
	j.place(false, seat)
	if told(j, longestProof-1) || !told(j, 1) {
		t.Error("where pods have come, proof is not waited for, or for ever")
	}
}

func TestUptimeIsRead(t *testing.T) {
	for text, want := range map[string]time.Duration{"179.98 321.10\n": 179980 * time.Millisecond, "4711.00 0.00": 4711 * time.Second} {
		if got, ok := uptime(text); !ok || got != want {
			t.Errorf("%q: %s, %v", text, got, ok)
		}
	}
	if _, ok := uptime("soon"); ok {
		t.Error("what is no number is taken for one")
	}
}

// Of a prefix that two advertisements make, a peer for which one of them stays is
// not asked to leave because the other one goes.
func TestNeverAsksToLeaveWhatStays(t *testing.T) {
	j := newRoutesJudge(nil)
	stay := seatOf(routed[0], nil, true, nil, map[string][]string{"ad1": {"a"}, "ad3": {"a"}})
	stay.Routes[0].Peers = []string{"t0"}
	j.place(true, stay)
	j.decide()
	gone := stay
	gone.Routes = stay.Routes[:1]
	j.place(false, gone)
	j.decide()
	got := j.r.table.prefixes(routers, nil)
	slices.SortFunc(got, func(a, b bgp.Prefix) int { return cmp.Compare(a.LocalPref, b.LocalPref) })
	if len(got) != 2 || !slices.Equal(got[0].Peers, []string{"t0"}) || len(got[0].Communities) > 0 ||
		!slices.Equal(got[1].Peers, []string{"t1"}) || !slices.Equal(got[1].Communities, []uint32{gracefulShutdown}) {
		t.Errorf("told: %+v", got)
	}
}

// What is about to be withdrawn is still advertised: a node says so to the end.
func TestAdvertisedToTheEnd(t *testing.T) {
	j := newRoutesJudge(nil)
	web := []allocator.ServiceName{{Namespace: "shop", Name: "web"}}
	seat := seatOf(routed[0], nil, true, nil, map[string][]string{"ad1": {"a"}})
	seat.Services = web
	gone := seatOf(routed[0], nil, true, nil, nil)
	gone.Services = web
	j.place(true, seat)
	j.decide()
	j.place(false, gone)
	j.decide()
	peers := []bgp.Peer{{Name: "t0", IPv4: true}, {Name: "t1", IPv4: true}}
	if got := j.r.news(peers, false); !slices.Equal(got[web[0]].On, []string{"t0", "t1"}) {
		t.Errorf("while routers are asked to leave, says %v", got)
	}
	j.now = j.now.Add(testDrain)
	j.decide()
	if got := j.r.news(peers, false); len(got) != 1 || len(got[web[0]].Addrs) > 0 {
		t.Errorf("after that, says %v", got)
	}
}

// Who asks is told of what has changed only, and adds it up to what there is.
func TestAlwaysSaysWhoIsTold(t *testing.T) {
	routing(t, func(t *testing.T, s *Speaker, _ *scribe) {
		web, dns := allocator.ServiceName{Namespace: "shop", Name: "web"}, allocator.ServiceName{Namespace: "shop", Name: "dns"}
		heard := map[allocator.ServiceName][]string{}
		says := func(when string, want map[allocator.ServiceName][]string) {
			t.Helper()
			synctest.Wait()
			for n, r := range s.Advertised(false) {
				if heard[n] = r.On; len(r.Addrs) == 0 {
					delete(heard, n)
				}
			}
			whole := map[allocator.ServiceName][]string{}
			for n, r := range s.Advertised(true) {
				whole[n] = r.On
			}
			if !maps.EqualFunc(heard, want, slices.Equal) || !maps.EqualFunc(whole, want, slices.Equal) {
				t.Errorf("%s, says %v, in all %v; want %v", when, heard, whole, want)
			}
			if news := s.Advertised(false); len(news) > 0 {
				t.Errorf("%s, says again: %v", when, news)
			}
		}
		both := []string{"t0", "t1"}
		says("at first", map[allocator.ServiceName][]string{web: both})
		says("when nothing has changed", map[allocator.ServiceName][]string{web: both})
		seat := seatOf(routed[1], nil, true, nil, map[string][]string{"ad1": {"a"}})
		seat.Services = []allocator.ServiceName{dns}
		seat.Routes[0].Peers = []string{"t1"}
		s.Set(allocator.Placement{Seats: []allocator.Seat{seat}})
		says("with one for t1 only", map[allocator.ServiceName][]string{web: both, dns: {"t1"}})

		peers := sessions("t0", "t1", "t2")
		peers[0].IPv4, peers[0].IPv6 = false, true
		peers[1] = peering.Session{Name: "t1", Frozen: true}
		peers[2] = peering.Session{Name: "t2", Frozen: true}
		s.SetSessions(peers)
		says("with a peer of the other family, one that stays as it is, and one that never had a session",
			map[allocator.ServiceName][]string{web: {"t1"}, dns: {"t1"}})

		seat.Services = []allocator.ServiceName{web}
		s.Set(allocator.Placement{Seats: []allocator.Seat{seat}})
		says("when an address changes hands", map[allocator.ServiceName][]string{web: {"t1"}})
		s.Set(allocator.Placement{Gone: []netip.Addr{routed[0], routed[1]}})
		time.Sleep(2 * testDrain)
		says("in the end", nil)
	})
}

// Weights add up over the addresses of a prefix, and are in proportion.
func TestWeightsAreInProportion(t *testing.T) {
	j := newRoutesJudge(nil)
	for i, pods := range []int{3, 1} {
		s := seatOf(routed[i], []string{"a"}, true, nil, map[string][]string{"ad2": {"a"}})
		s.Routes[0].Weights = []int{pods}
		j.place(true, s)
	}
	j.decide()
	if got := j.r.table.prefixes(nil, nil); len(got) != 1 || got[0].Weight != 4*perEndpoint {
		t.Errorf("told: %+v", got)
	}
}

// One route of 10,000 changes: from the placement until package bgp has seen what
// differs, and who asks has been told which Services are advertised to whom.
func BenchmarkOneRouteOf10000(b *testing.B) {
	r := newRoutes("a", Times{})
	now := time.Unix(1_900_000_000, 0)
	speaks := bgp.New(bgp.Config{RouterID: netip.MustParseAddr("192.0.2.254")})
	peers := []bgp.Peer{
		{Name: "t0", Address: netip.MustParseAddr("192.0.2.250"), IPv4: true},
		{Name: "t1", Address: netip.MustParseAddr("192.0.2.251"), IPv4: true},
	}
	names := []string{"t0", "t1"}
	var all allocator.Placement
	addr := netip.MustParseAddr("10.0.0.0")
	seat := func(pref uint32) allocator.Seat {
		s := seatOf(addr, nil, true, nil, map[string][]string{"ad1": {"a"}})
		s.Routes[0].LocalPref = pref
		s.Services = []allocator.ServiceName{{Namespace: "shop", Name: addr.String()}}
		return s
	}
	for range 10_000 {
		addr = addr.Next()
		all.Seats = append(all.Seats, seat(0))
	}
	round := func(p allocator.Placement) (told, news int) {
		r.place(now, p)
		r.decide(now)
		table := r.table.prefixes(names, nil)
		speaks.Set(table, peers)
		return len(table), len(r.news(peers, false))
	}
	round(all)
	for i := 0; b.Loop(); i++ {
		if told, news := round(allocator.Placement{Seats: []allocator.Seat{seat(uint32(i + 1))}}); told != 10_000 || news != 1 {
			b.Fatal(told, news)
		}
	}
}
