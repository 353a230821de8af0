package controller

import (
	"context"
	"net/netip"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// loop turns what is believed into snapshots, and has them placed and, while this
// copy leads, planned and published. It waits for the API once, until every kind
// has been listed, and never again.
func (c *Controller) loop(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.belief.ready:
	}
	l := &round{c: c, views: map[name]*service{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var ended <-chan struct{}
		if l.tenure != nil {
			ended = l.tenure.term.Done()
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
			l.tenure = nil
			c.strangers.look(nil)
			continue
		case t := <-c.tenures:
			l.tenure = t
		case <-c.belief.news:
		case <-timer.C:
		}
		timer.Stop()
		if wake := l.step(); !wake.IsZero() {
			timer.Reset(max(wake.Sub(l.tenure.now()), time.Millisecond))
		}
	}
}

// round is what the loop keeps from one step to the next.
type round struct {
	c        *Controller
	snapshot *allocator.Snapshot
	peering  *peering.Plan     // what the snapshot's BGPAdvertisements come from
	sessions []peering.Session // the last ones told
	unusable []string          // Secrets that peers name and that hold no password
	views    map[name]*service // the Services as the snapshot has them, with what is published beside
	tenure   *tenure           // while this copy leads
	ours     int               // how many of the views are ours
}

// step takes in what changed, places, and plans. It returns when to step again
// though nothing changes; zero: never.
func (l *round) step() (wake time.Time) {
	fresh := l.tenure != nil && !l.tenure.begun
	changes, facts := l.c.belief.take(fresh || l.snapshot == nil)
	l.see(changes.services)
	first := l.snapshot == nil
	l.peer(&changes)
	placement := l.place(changes, facts)
	if first || changes.nodes || len(placement.Seats)+len(placement.Gone) > 0 {
		l.c.Placed(placement, l.snapshot.Peers())
	}
	if first || changes.keys {
		l.c.learnKey()
	}
	if l.tenure == nil || !l.tenure.term.Held() {
		return time.Time{}
	}
	if fresh {
		l.c.strangers.look(l.unusable)
	}
	if fresh && !first {
		// Plans of an earlier term are forgotten with the snapshot that knew them.
		// The facts are the same, so the seats are, too.
		l.snapshot = allocator.NewSnapshot(l.with(facts))
		allocator.Place(l.snapshot)
	}
	return l.tenure.step(l, changes, placement)
}

func (l *round) with(facts *allocator.Facts) allocator.Facts {
	facts.Settings, facts.BGP = l.c.Settings, l.peering.Advertisements
	return *facts
}

func (l *round) see(services map[name]*service) {
	for n, s := range services {
		if l.views[n].ours() {
			l.ours--
		}
		if s.ours() {
			l.ours++
		}
		if s == nil {
			delete(l.views, n)
		} else {
			l.views[n] = s
		}
	}
}

// place makes the next snapshot and places it.
func (l *round) place(changes changes, facts *allocator.Facts) allocator.Placement {
	began := time.Now()
	if l.snapshot == nil {
		l.snapshot = allocator.NewSnapshot(l.with(facts))
	} else if len(changes.facts) > 0 {
		l.snapshot = l.snapshot.With(changes.facts...)
	}
	placement := allocator.Place(l.snapshot)
	l.c.stats.count(func(s *Stats) {
		s.Services = l.ours
		s.Place.add(time.Since(began))
	})
	return placement
}

// concerned are the Services about which something may have to be published.
func (l *round) concerned(changes changes, placement allocator.Placement, planned []allocator.Decision) map[name]bool {
	out := map[name]bool{}
	for n := range changes.services {
		out[n] = true
	}
	for i := range placement.Seats {
		for _, n := range placement.Seats[i].Services {
			out[n] = true
		}
	}
	for i := range planned {
		out[planned[i].Service] = true
	}
	return out
}

// takes returns the addresses that a decision newly gives to its Service.
func takes(holds, before []netip.Addr) (out []netip.Addr) {
	had := make(map[netip.Addr]bool, len(before))
	for _, a := range before {
		had[a] = true
	}
	for _, a := range holds {
		if !had[a] {
			out = append(out, a)
		}
	}
	return out
}
