package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"holdfast.dev/holdfast/allocator"
)

// This file gives the publisher what differs between what is published on Services
// and what was decided, and tells what came of it.

// publishAll publishes the Services that are concerned, holders first.
func (t *tenure) publishAll(concerned map[name]bool, planned []allocator.Decision, now time.Time) {
	t.recall(concerned)
	doubts := t.doubts(now)
	for i := range planned { // holders first
		if n := planned[i].Service; concerned[n] {
			t.publish(n, doubts, now)
			delete(concerned, n)
		}
	}
	for n := range concerned {
		t.publish(n, doubts, now)
	}
}

// recall takes back the writes that have not been sent and give away what is another's
// by now: whose turn comes first might get the address while such a write still can be
// sent, and is in nobody's doubt.
func (t *tenure) recall(concerned map[name]bool) {
	for n := range concerned {
		var holds []netip.Addr
		if d := t.decisions[n]; d != nil {
			holds = d.Holds
		}
		t.publisher.recall(target{"services", n}, holds)
	}
}

// publish hands the publisher what is to be written to one Service, if anything.
func (t *tenure) publish(n name, doubts map[netip.Addr][]name, now time.Time) {
	delete(t.heldBack, n)
	to, view := target{"services", n}, t.views[n]
	switch {
	case view == nil:
		t.announcing.forget(n)
		t.publisher.drop(to)
	case view.fact == nil:
		t.announcing.forget(n)
		t.write(farewellPatch(view), to, view, nil, nil, farewells, 0)
	case view.fact.Foreign || t.decisions[n] == nil:
		t.announcing.forget(n)
		t.publisher.drop(to)
	default:
		t.publishDecision(view, t.decisions[n], doubts, now)
	}
}

func (t *tenure) publishDecision(view *service, d *allocator.Decision, doubts map[netip.Addr][]name, now time.Time) {
	to := target{"services", view.name}
	remarks := t.snapshot.Remarks(view.name)
	said := t.rivals.said(d)
	announced, remarks := t.announcing.judge(view, remarks, t.snapshot, now)
	p, conditionsOnly, err := servicePatch(view, said, announced, now)
	if err != nil {
		t.c.Log.Error("a write could not be put together", "service", to.name.String(), "err", cut(err.Error(), sentenceLimit))
		return
	}
	if p.empty() {
		delete(t.rivals.expected, view.name)
	}
	if p.empty() || t.rivals.paused(view.name, now) {
		t.publisher.drop(to)
		return
	}
	for _, a := range takes(d.Holds, view.fact.Holds) {
		for _, other := range doubts[a] {
			if other != view.name && (t.decisions[other] == nil || !slices.Contains(t.decisions[other].Holds, a)) {
				t.holdBack(view.name, now)
				t.publisher.drop(to)
				return
			}
		}
	}
	if err := allocator.Check(t.snapshot, *d, now); err != nil {
		t.refuse(view, d, err)
		t.publisher.drop(to)
		return
	}
	delete(t.refused, view.name)
	urgency, lazy := importance(view, said, &p, conditionsOnly)
	t.rivals.expected[view.name] = shownBy(said, announced)
	t.write(p, to, view, said, remarks, urgency, lazy)
}

// holdBack notes that a decision is to be looked at again soon.
func (t *tenure) holdBack(n name, now time.Time) {
	if len(t.heldBack) == 0 {
		t.lookAgain = now.Add(heldBackPause)
	}
	t.heldBack[n] = true
}

// importance says how soon a decision is to be written.
func importance(view *service, d *allocator.Decision, p *patch, conditionsOnly bool) (urgency, time.Duration) {
	switch {
	case len(p.Status) == 0:
		return reports, 0
	case !conditionsOnly:
		return addresses, 0
	}
	if held := conditionOf(view.conditions, conditionHeld); held != nil && held.Message == heldCondition(d).Message {
		return conditions, conditionPause
	}
	return conditions, 0
}

// takes returns the addresses that a decision newly gives to its Service.
func takes(holds, before []netip.Addr) (out []netip.Addr) {
	for _, a := range holds {
		if !slices.Contains(before, a) {
			out = append(out, a)
		}
	}
	return out
}

// write hands one patch of a Service to the publisher.
func (t *tenure) write(p patch, to target, view *service, d *allocator.Decision, remarks []allocator.Reason, urgency urgency, lazy time.Duration) {
	if p.empty() {
		t.publisher.drop(to)
		return
	}
	w, err := p.write(t.c.clients.core, to, lazy)
	if err != nil {
		t.c.Log.Error("a write could not be put together", "service", to.name.String(), "err", cut(err.Error(), sentenceLimit))
		return
	}
	w.urgency = urgency
	if d != nil {
		w.takes = takes(d.Holds, view.fact.Holds)
	}
	w.sent = func(answer runtime.Object) {
		if d != nil {
			t.remember(view.name, answer)
		}
		t.c.store("services").answered(answer)
		if d != nil {
			t.tell(view, d, remarks)
		}
	}
	t.publisher.put(w)
}

// remember notes, for the next step, what a write of ours made of a Service.
func (t *tenure) remember(n name, answer runtime.Object) {
	in, ok := answer.(*corev1.Service)
	if !ok {
		return
	}
	s := serviceOf(in, t.c.belief.class)
	if !s.ours() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrote = append(t.wrote, wrote{n, s.version, shownOn(s)})
}

// tell says what a write did: by Events, a line of the log, and counters.
func (t *tenure) tell(before *service, d *allocator.Decision, remarks []allocator.Reason) {
	for _, what := range sayings(before, d, remarks) {
		t.c.events.say(event{of: before.name, uid: before.uid, what: what, fence: t.term})
		if what.warning {
			t.c.Log.Warn("a Service needs attention", "service", before.name.String(), "reason", what.reason, "message", cut(what.text, sentenceLimit))
		}
	}
	if slices.Equal(before.fact.Holds, d.Holds) {
		return
	}
	t.c.Log.Info("addresses changed", "service", before.name.String(), "before", listed(before.fact.Holds), "now", listed(d.Holds), "why", sentences(d.Steps))
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

// listed writes addresses, of which somebody else may have written many, into the log.
func listed(addrs []netip.Addr) string { return cut(fmt.Sprint(addrs), sentenceLimit) }

// refuse notes a decision that must not be written: it would break a promise, so
// something is wrong with this program.
func (t *tenure) refuse(view *service, d *allocator.Decision, err error) {
	text := cut(err.Error(), sentenceLimit)
	if t.refused[view.name] == text {
		return
	}
	t.refused[view.name] = text
	t.c.stats.count(func(s *Stats) { s.Refused++ })
	t.c.Log.Error("a decision was refused and not written: a defect of holdfast, please report this line", "service", view.name.String(), "err", text,
		"before", logged(*view.fact), "after", logged(*d), "group", t.group(view, d))
}

// group writes down, for the log, who else sits on the addresses of a Service.
func (t *tenure) group(view *service, d *allocator.Decision) string {
	var text strings.Builder
	told, more := map[name]bool{view.name: true}, 0
	for _, a := range slices.Concat(view.fact.Holds, d.Holds) {
		for _, n := range t.snapshot.Holders(a) {
			s := t.views[n]
			if told[n] || s == nil || s.fact == nil {
				continue
			}
			if told[n] = true; text.Len() >= lineLimit {
				more++
				continue
			}
			fmt.Fprintf(&text, "%s: %s; ", n, cut(logged(*s.fact), sentenceLimit))
		}
	}
	if more > 0 {
		fmt.Fprintf(&text, "and %d more", more)
	}
	return text.String()
}

// logged writes a value for the log, as far as there is room.
func logged(v any) string { return cut(fmt.Sprintf("%+v", v), lineLimit) }

// doubts returns the addresses that a write whose outcome is not known may yet
// give to a Service, with that Service.
func (t *tenure) doubts(now time.Time) map[netip.Addr][]name {
	var out map[netip.Addr][]name
	for _, d := range t.publisher.doubtful(now) {
		view := t.views[d.to.name]
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
