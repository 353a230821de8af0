package allocator_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

// undone puts every user's word back to what it was, and leaves what is published.
func undone(w, was *world) {
	for n, v := range was.services {
		v.Holds, v.Record = w.services[n].Holds, w.services[n].Record
		w.change(PutService{v})
	}
	for n := range w.pools {
		if _, ok := was.pools[n]; !ok {
			w.change(DropPool{n})
		}
	}
	for _, p := range was.pools {
		w.change(PutPool{p})
	}
	for by := range w.inUse {
		if _, ok := was.inUse[by]; !ok {
			w.change(DropInUse{by})
		}
	}
	for _, u := range was.inUse {
		w.change(PutInUse{u})
	}
	if n, ok := was.nodes["x0"]; ok {
		w.change(PutNode{n})
	} else {
		w.change(DropNode{"x0"})
	}
	for _, n := range []string{"n0", "n1"} {
		if v, ok := was.namespaces[n]; ok {
			w.change(PutNamespace{v})
		} else {
			w.change(DropNamespace{n})
		}
	}
}

// patient tells whether an edit may be undone without a trace: it is neither a
// request, which is met at once, nor a family, nor a deletion, and no other pool
// has taken in an address that is held.
func patient(w, was *world) bool {
	for n, v := range was.services {
		now, ok := w.services[n]
		a, b := wishOf(v), wishOf(now)
		if !ok || v.UID != now.UID || !slices.Equal(v.Families, now.Families) || v.FamilyPolicy != now.FamilyPolicy ||
			!slices.EqualFunc(v.Record.Pools, now.Record.Pools, func(a, b PoolMark) bool { return a.Addr == b.Addr && a.Pool == b.Pool }) ||
			!maps.Equal(a.addrs, b.addrs) || a.pool != b.pool || a.bad != b.bad {
			return false
		}
	}
	return len(w.services) == len(was.services)
}

func (w *world) memory() *world {
	return &world{services: maps.Clone(w.services), pools: maps.Clone(w.pools), namespaces: maps.Clone(w.namespaces), inUse: maps.Clone(w.inUse), nodes: maps.Clone(w.nodes)}
}

// undoes brings a cluster to rest, makes edits, has the leader work on them, and
// undoes them before the settle time is over.
func undoes(t *rapid.T, h history, edits []step, p planner) (*world, error) {
	w, err := comesToRest(h, p)
	if err != nil {
		return w, err
	}
	for _, d := range w.latest { // nobody waits for something that an edit could give
		for _, r := range d.Reasons {
			if r.Code != Held {
				t.SkipNow()
			}
		}
	}
	was := w.memory()
	for _, e := range edits {
		w.note("%s", e.text)
		e.do(w)
		w.writeAll()
		w.now = w.now.Add(5 * time.Second)
		w.writeAll()
	}
	if !patient(w, was) {
		t.SkipNow()
	}
	w.note("all is undone")
	undone(w, was)
	if err := w.rest(func() error { return nil }); err != nil {
		return w, err
	}
	for n, v := range was.services {
		if got := w.services[n].Holds; !slices.Equal(got, v.Holds) {
			return w, fmt.Errorf("%s held %v, and %v after edits that were undone", n, v.Holds, got)
		}
	}
	return w, nil
}

func (w *world) writeAll() {
	w.plan()
	for _, d := range w.pending() {
		w.write(d)
	}
}

// Invariant 4.
func TestAlwaysAsBeforeWhenUndoneInSettleTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(12, drawEdit, drawEdit, drawPoolEdit).Draw(t, "history")
		h.settings.Settle = 30 * time.Second
		edits := []step{rapid.Custom(drawPatient).Draw(t, "edit")}
		if rapid.Bool().Draw(t, "two") {
			edits = append(edits, rapid.Custom(drawPatient).Draw(t, "edit"))
		}
		if w, err := undoes(t, h, edits, rightPlanner); err != nil {
			fail(t, w, err)
		}
	})
}

func drawPatient(t *rapid.T) step {
	if rapid.Bool().Draw(t, "pool") {
		return drawPoolEdit(t)
	}
	name := pick(t, "service", serviceNames...)
	text, set := drawSpec(t)
	return step{fmt.Sprint("edit ", name, ": ", text), func(w *world) {
		if v, ok := w.services[name]; ok {
			set(&v)
			w.change(PutService{v})
		}
	}}
}

// drawElsewhere draws a change of where a Service is served, not of who holds what.
func drawElsewhere(t *rapid.T) step {
	if rapid.Bool().Draw(t, "place") {
		return drawPlaceEdit(t)
	}
	name, selector := pick(t, "service", serviceNames...), pick(t, "selector", "app=a", "app=b", "")
	local := rapid.Bool().Draw(t, "local")
	return step{fmt.Sprint("flip ", name, " local ", local, " ", selector), func(w *world) {
		if v, ok := w.services[name]; ok {
			v.Local, v.Selector = local, selector
			w.change(PutService{v})
		}
	}}
}

// Invariant 2: policy, selectors, endpoints, nodes and advertisements cost nobody
// an address, and cause no write to a Service that holds what it asks for.
func TestNeverWritesForPolicyOrPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, err := comesToRest(drawHistory(12, drawEdit, drawEdit, drawPoolEdit).Draw(t, "history"), rightPlanner)
		if err != nil {
			fail(t, w, err)
		}
		for _, e := range rapid.SliceOfN(rapid.Custom(drawElsewhere), 1, 5).Draw(t, "edits") {
			w.note("%s", e.text)
			e.do(w)
			w.plan()
			for _, d := range w.pending() {
				if len(w.services[d.Service].Holds) > 0 {
					fail(t, w, fmt.Errorf("%s would be written: %+v", d.Service, d))
				}
			}
		}
	})
}
