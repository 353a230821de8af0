package controller

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"holdfast.dev/holdfast/allocator"
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

// A tenure is the loop's work for one term: it plans, and gives the publisher
// what differs from what is published.
type tenure struct {
	c         *Controller
	term      *lease.Term
	publisher *publisher
	clock     *termClock
	begun     bool

	decisions map[name]*allocator.Decision // the latest on each Service
	waiting   map[allocator.Code]int       // Services that hold nothing, by reason
	heldBack  map[name]bool                // decisions that wait for the outcome of another write
	refused   map[name]string              // what Check said last

	configsDiffer bool      // pools and advertisements must be looked at
	configsLooked time.Time // when they last were
	objects       map[target]bool
}

func newTenure(c *Controller, term *lease.Term) *tenure {
	t := &tenure{
		c: c, term: term, publisher: newPublisher(term, c.Log, c.stats), clock: newTermClock(c.clock),
		decisions: map[name]*allocator.Decision{}, waiting: map[allocator.Code]int{},
		heldBack: map[name]bool{}, refused: map[name]string{}, objects: map[target]bool{},
	}
	t.publisher.conflicted = c.conflicted
	return t
}

// now is the time as which plans are made and conditions dated.
func (t *tenure) now() time.Time { return t.clock.Now() }

// step plans and publishes. It returns when to step again though nothing changes.
func (t *tenure) step(l *round, changes changes, placement allocator.Placement) (wake time.Time) {
	began, now := time.Now(), t.now()
	planned := allocator.Plan(l.snapshot, now)
	wake = planned.Wake
	concerned := l.concerned(changes, placement, planned.Decisions)
	if !t.begun {
		for n := range l.views {
			concerned[n] = true
		}
	}
	t.decide(planned.Decisions, changes)
	for n := range t.heldBack {
		concerned[n] = true
	}
	clear(t.heldBack)
	t.c.stats.count(func(s *Stats) {
		s.Plan.add(time.Since(began))
		s.Waiting = maps.Clone(t.waiting)
	})

	doubts := t.doubts(l, began)
	for i := range planned.Decisions { // holders first
		if n := planned.Decisions[i].Service; concerned[n] {
			t.publish(l, n, doubts, now)
			delete(concerned, n)
		}
	}
	for n := range concerned {
		t.publish(l, n, doubts, now)
	}
	if !t.begun || changes.keys {
		t.makeKey()
	}
	if at := t.configs(l, changes, len(planned.Decisions) > 0, now); sooner(at, wake) {
		wake = at
	}
	if len(t.heldBack) > 0 && sooner(now.Add(heldBackPause), wake) {
		wake = now.Add(heldBackPause)
	}
	t.begun = true
	return wake
}

func sooner(a, b time.Time) bool { return !a.IsZero() && (b.IsZero() || a.Before(b)) }

// decide takes note of decisions.
func (t *tenure) decide(decisions []allocator.Decision, changes changes) {
	for n, s := range changes.services {
		if !s.ours() {
			t.note(n, nil)
			delete(t.refused, n)
		}
	}
	for i := range decisions {
		t.note(decisions[i].Service, &decisions[i])
	}
}

func (t *tenure) note(n name, d *allocator.Decision) {
	if code, waits := waitingFor(t.decisions[n]); waits {
		if t.waiting[code]--; t.waiting[code] == 0 {
			delete(t.waiting, code)
		}
	}
	if code, waits := waitingFor(d); waits {
		t.waiting[code]++
	}
	if d == nil {
		delete(t.decisions, n)
		return
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

// publish hands the publisher what is to be written to one Service, if anything.
func (t *tenure) publish(l *round, n name, doubts map[netip.Addr][]name, now time.Time) {
	to, view := target{"services", n}, l.views[n]
	switch {
	case view == nil:
		t.publisher.drop(to)
	case view.fact == nil:
		t.write(farewellPatch(view), to, view, nil, nil, 0)
	case view.fact.Foreign || t.decisions[n] == nil:
		t.publisher.drop(to)
	default:
		t.publishDecision(l, view, t.decisions[n], doubts, now)
	}
}

func (t *tenure) publishDecision(l *round, view *service, d *allocator.Decision, doubts map[netip.Addr][]name, now time.Time) {
	to := target{"services", view.name}
	remarks := l.snapshot.Remarks(view.name)
	p, conditionsOnly := servicePatch(view, d, remarks, now)
	if p.empty() {
		t.publisher.drop(to)
		return
	}
	for _, a := range takes(d.Holds, view.fact.Holds) {
		for _, other := range doubts[a] {
			if other != view.name && (t.decisions[other] == nil || !slices.Contains(t.decisions[other].Holds, a)) {
				t.heldBack[view.name] = true
				t.publisher.drop(to)
				return
			}
		}
	}
	if err := allocator.Check(l.snapshot, *d, now); err != nil {
		t.refuse(l, view, d, err)
		t.publisher.drop(to)
		return
	}
	delete(t.refused, view.name)
	lazy := time.Duration(0)
	if held := conditionOf(view.conditions, conditionHeld); conditionsOnly && held != nil && held.Message == heldCondition(d).Message {
		lazy = conditionPause
	}
	t.write(p, to, view, d, remarks, lazy)
}

// write hands one patch of a Service to the publisher.
func (t *tenure) write(p patch, to target, view *service, d *allocator.Decision, remarks []allocator.Reason, lazy time.Duration) {
	if p.empty() {
		t.publisher.drop(to)
		return
	}
	w, err := p.write(t.c.clients.core, to, lazy)
	if err != nil {
		t.c.Log.Error("a write could not be put together", "service", to.name.String(), "err", err)
		return
	}
	if d != nil {
		w.takes = takes(d.Holds, view.fact.Holds)
	}
	w.sent = func(answer runtime.Object) {
		t.c.store("services").answered(answer)
		if d != nil {
			t.tell(view, d, remarks)
		}
	}
	t.publisher.put(w)
}

// tell says what a write did: by Events, a line of the log, and counters.
func (t *tenure) tell(before *service, d *allocator.Decision, remarks []allocator.Reason) {
	for _, what := range sayings(before, d, remarks) {
		t.c.events.say(event{of: before.name, uid: before.uid, what: what, fence: t.term})
		if what.warning {
			t.c.Log.Warn("a Service needs attention", "service", before.name.String(), "reason", what.reason, "message", what.text)
		}
	}
	if slices.Equal(before.fact.Holds, d.Holds) {
		return
	}
	t.c.Log.Info("addresses changed", "service", before.name.String(), "before", before.fact.Holds, "now", d.Holds, "why", sentences(d.Steps))
	t.c.stats.count(func(s *Stats) {
		for _, r := range d.Steps {
			code := r.Code
			if r.Why != "" {
				code += "/" + r.Why
			}
			s.Moves[code]++
		}
	})
}

// refuse notes a decision that must not be written: it would break a promise, so
// something is wrong with this program.
func (t *tenure) refuse(l *round, view *service, d *allocator.Decision, err error) {
	if t.refused[view.name] == err.Error() {
		return
	}
	t.refused[view.name] = err.Error()
	t.c.stats.count(func(s *Stats) { s.Refused++ })
	group := map[string]any{}
	for _, a := range slices.Concat(view.fact.Holds, d.Holds) {
		for _, n := range l.snapshot.Holders(a) {
			if s := l.views[n]; s != nil && s.fact != nil {
				group[n.String()] = *s.fact
			}
		}
	}
	t.c.Log.Error("a decision was refused and not written: a defect of holdfast, please report this line", "service", view.name.String(), "err", err,
		"before", *view.fact, "after", *d, "group", group)
}

// doubts returns the addresses that a write whose outcome is not known may yet
// give to a Service, with that Service.
func (t *tenure) doubts(l *round, now time.Time) map[netip.Addr][]name {
	var out map[netip.Addr][]name
	for _, d := range t.publisher.doubtful(now) {
		view := l.views[d.to.name]
		if len(d.takes) == 0 || view == nil || view.version != d.version {
			continue // it cannot take effect: the object has moved on
		}
		if out == nil {
			out = map[netip.Addr][]name{}
		}
		for _, a := range d.takes {
			out[a] = append(out[a], d.to.name)
		}
	}
	return out
}
