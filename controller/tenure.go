package controller

import (
	"maps"
	"slices"
	"sync"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller/lease"
)

const (
	// conditionPause: what changes nothing but what a condition says about the
	// announcement may wait this long, so that what flaps is not written each time.
	conditionPause = 500 * time.Millisecond
	// statusPause: the status of pools and advertisements is looked at no more
	// often than this.
	statusPause = time.Second
	// heldBackPause: how soon a decision is looked at again that waits for the
	// outcome of an older write.
	heldBackPause = 200 * time.Millisecond
)

// A tenure is a leader's work for one term: it plans, and gives the publisher
// what differs from what is published. It works in a goroutine of its own on a
// snapshot of its own, made from all facts when the term begins, so that plans of an
// earlier term are forgotten.
type tenure struct {
	c         *Controller
	term      fence
	publisher *publisher
	clock     *termClock
	ledSince  time.Time // since when somebody has led without a pause
	feed      *feed
	plan      func(*allocator.Snapshot, time.Time) allocator.Planned // allocator.Plan

	snapshot *allocator.Snapshot
	peering  *peering.Plan     // what the snapshot's BGPAdvertisements come from
	views    map[name]*service // the Services as the snapshot has them, with what is published beside

	decisions map[name]*allocator.Decision // the latest on each Service
	waiting   map[allocator.Code]int       // Services that hold nothing, by reason
	heldBack  map[name]bool                // decisions that wait for the outcome of another write
	lookAgain time.Time                    // when these are looked at again
	refused   map[name]string              // what Check said last

	rivals     rivals     // who else writes addresses
	announcing announcing // what the copies say

	configsDiffer bool      // pools and advertisements must be looked at
	usesDiffer    bool      // how full pools are must be counted
	configsLooked time.Time // when either last was
	objects       map[target]bool

	mu    sync.Mutex
	wrote []wrote // the addresses that were written since the last step
}

func newTenure(c *Controller, term *lease.Term) *tenure {
	t := &tenure{
		c: c, term: term, publisher: newPublisher(term, c.Log, c.stats).share(c.gate),
		clock: newTermClock(c.clock), ledSince: term.LedSince(),
		feed: c.belief.subscribe(true), plan: c.plan,
		views: map[name]*service{}, decisions: map[name]*allocator.Decision{}, waiting: map[allocator.Code]int{},
		heldBack: map[name]bool{}, refused: map[name]string{}, objects: map[target]bool{}, rivals: newRivals(),
	}
	t.announcing = newAnnouncing(func(s *service, what saying) {
		c.events.say(event{of: s.name, uid: s.uid, what: what, fence: term})
	})
	t.publisher.conflicted = c.conflicted
	return t
}

// now is the time as which plans are made and conditions dated.
func (t *tenure) now() time.Time { return t.clock.Now() }

// run plans and publishes until the term is over.
func (t *tenure) run(over <-chan struct{}) {
	defer t.feed.close()
	defer t.c.strangers.look(nil)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-over:
			return
		case <-t.feed.news:
		case <-t.announcing.news():
		case <-timer.C:
		}
		timer.Stop()
		if !t.term.Held() { // what there is to take is left where it is
			timer.Reset(fencedPause)
			continue
		}
		if wake := t.step(); !wake.IsZero() {
			timer.Reset(max(wake.Sub(t.now()), time.Millisecond))
		}
	}
}

// step takes in what changed, plans and publishes. It returns when to step again
// though nothing changes; zero: never.
func (t *tenure) step() (wake time.Time) {
	changes, facts := t.feed.take()
	now := t.now()
	t.see(changes, now)
	if facts != nil {
		facts.Settings = t.c.Settings
		facts.Settings.LedSince = t.ledSince
		t.snapshot = allocator.NewSnapshot(*facts)
	} else if len(changes.facts) > 0 {
		t.snapshot = t.snapshot.With(changes.facts...)
	}
	placement := allocator.Place(t.snapshot) // what is said of Services follows from it, too
	began := time.Now()
	planned := t.plan(t.snapshot, now)
	took := time.Since(began)
	differs := t.decide(planned.Decisions, changes)
	t.c.stats.count(func(s *Stats) {
		s.Plan.add(took)
		if differs {
			s.Waiting = maps.Clone(t.waiting)
		}
	})
	concerned := t.concerned(changes, placement, planned.Decisions)
	t.again(concerned, now)
	t.publishAll(concerned, planned.Decisions, now)
	if changes.keys {
		t.makeKey()
	}
	wake = sooner(planned.Wake, t.configs(changes, now))
	if planned.InFlight > 0 { // its times must be new when it is published
		wake = sooner(wake, now.Add(time.Second))
	}
	if len(t.heldBack) > 0 {
		wake = sooner(wake, t.lookAgain)
	}
	return sooner(sooner(wake, t.rivals.wake()), t.announcing.next)
}

// sooner returns the earlier of two times; the zero one is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// see takes note of what was seen anew.
func (t *tenure) see(changes changes, now time.Time) {
	if changes.resolved != nil {
		t.peering = changes.resolved
		t.c.strangers.look(changes.unusable)
	}
	t.mu.Lock()
	writes := t.wrote
	t.wrote = nil
	t.mu.Unlock()
	for _, w := range writes {
		t.rivals.wrote[w.service] = w
	}
	for n, s := range changes.services {
		t.usesDiffer = t.usesDiffer || !t.views[n].sits(s)
		t.rivals.saw(n, t.views[n], s, now)
		if s == nil {
			delete(t.views, n)
		} else {
			t.views[n] = s
		}
	}
}

// concerned are the Services about which something may have to be published.
func (t *tenure) concerned(changes changes, placement allocator.Placement, planned []allocator.Decision) map[name]bool {
	out := make(map[name]bool, len(changes.services)+len(planned))
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

// again adds the Services that are to be looked at again by now.
func (t *tenure) again(concerned map[name]bool, now time.Time) {
	if len(t.heldBack) > 0 && !now.Before(t.lookAgain) {
		for n := range t.heldBack {
			concerned[n] = true
		}
		t.lookAgain = now.Add(heldBackPause)
	}
	t.rivals.due(now, func(n name) { concerned[n] = true })
	t.announcing.again(concerned, now)
}

// sits tells whether two views of a Service have it sit on the same addresses.
func (s *service) sits(o *service) bool {
	if s == nil || o == nil || s.fact == nil || o.fact == nil {
		return (s == nil || s.fact == nil) == (o == nil || o.fact == nil)
	}
	return slices.Equal(s.fact.Holds, o.fact.Holds) &&
		slices.EqualFunc(s.fact.Record.Kept, o.fact.Record.Kept, func(a, b allocator.Timer) bool { return a.Addr == b.Addr })
}

// decide takes note of decisions. It tells whether who waits for what may be another.
func (t *tenure) decide(decisions []allocator.Decision, changes changes) (differs bool) {
	for n, s := range changes.services {
		if !s.ours() {
			t.note(n, nil)
			delete(t.refused, n)
		}
	}
	for i := range decisions {
		t.note(decisions[i].Service, &decisions[i])
	}
	return len(decisions)+len(changes.services) > 0
}

func (t *tenure) note(n name, d *allocator.Decision) {
	old := t.decisions[n]
	if code, waits := waitingFor(old); waits {
		if t.waiting[code]--; t.waiting[code] == 0 {
			delete(t.waiting, code)
		}
	}
	if code, waits := waitingFor(d); waits {
		t.waiting[code]++
	}
	if d == nil {
		delete(t.decisions, n)
		t.usesDiffer = t.usesDiffer || old != nil
		return
	}
	if old == nil || !slices.Equal(old.Holds, d.Holds) || len(old.Record.Kept) != len(d.Record.Kept) {
		t.usesDiffer = true
	}
	kept := *d // the slice that it came in is not kept alive
	t.decisions[n] = &kept
}

func waitingFor(d *allocator.Decision) (allocator.Code, bool) {
	if d == nil || len(d.Holds) > 0 || len(d.Reasons) == 0 {
		return "", false
	}
	return d.Reasons[0].Code, true
}
