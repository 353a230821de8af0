package allocator_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

// allocation draws the histories in which addresses matter: Services thrice as
// often as pools.
func allocation() *rapid.Generator[history] {
	return drawHistory(40, drawEdit, drawEdit, drawEdit, drawPoolEdit)
}

// everything draws histories in which anything happens.
func everything() *rapid.Generator[history] {
	return drawHistory(30, drawEdit, drawEdit, drawPoolEdit, drawPlaceEdit, drawPlaceEdit)
}

// fail reports what a world came to.
func fail(t *rapid.T, w *world, err error) {
	t.Helper()
	t.Fatalf("%v\nsettings %+v\n%s", err, w.settings, w.published())
}

// Invariants 10 and 16.
func TestAlwaysTheSameAsFromNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := everything().Draw(t, "history")
		seed := rapid.Uint64().Draw(t, "seed")
		if w, err := h.run(rightPlanner, func(w *world) error { return w.sameAsFromNothing(seed) }); err != nil {
			fail(t, w, err)
		}
	})
}

// justified judges every step that the leader wants to take.
func justified(w *world) error {
	j := w.judge()
	for _, d := range w.pending() {
		if err := j.step(d); err != nil {
			return err
		}
	}
	return nil
}

// Invariants 1, 2, 3, 5, 8 and 9.
func TestNeverLeavesAnAddressWithoutAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := allocation().Draw(t, "history").run(rightPlanner, justified); err != nil {
			fail(t, w, err)
		}
	})
}

// Invariant 10, and what is said of it: who has to do with it, and what is in use.
func TestAlwaysSaysWhatIsSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := allocation().Draw(t, "history").run(rightPlanner, told); err != nil {
			fail(t, w, err)
		}
	})
}

// agreed asks Check about every step that the leader wants to take.
func agreed(w *world) error {
	for _, d := range w.pending() {
		if err := Check(w.snapshot, d, w.now); err != nil {
			return fmt.Errorf("Check refuses a step: %w", err)
		}
	}
	return nil
}

// Invariant 13.
func TestAlwaysPassesCheck(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := allocation().Draw(t, "history").run(rightPlanner, agreed); err != nil {
			fail(t, w, err)
		}
	})
}

// apartAlways follows a history and judges every single write.
func apartAlways(h history, p planner) (w *world, err error) {
	return h.run(p, func(w *world) error {
		w.written = func(before Service) { err = cmp.Or(err, w.judge().written(before)) }
		if err != nil || len(w.pending()) > 0 {
			return err
		}
		return w.judge().clashes()
	})
}

// Invariant 1.
func TestNeverTwoInClashWhateverTheOrderOfWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := apartAlways(allocation().Draw(t, "history"), rightPlanner); err != nil {
			fail(t, w, err)
		}
	})
}

// Invariants 3 and 4.
func TestNeverMovesBeforeTheSettleTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := patience{}
		w, err := allocation().Draw(t, "history").run(rightPlanner, func(w *world) error { return seen.watch(w.judge()) })
		if err != nil {
			fail(t, w, err)
		}
	})
}

// comesToRest follows a history to its end and beyond, and judges the fixpoint.
func comesToRest(h history, p planner) (*world, error) {
	w, err := h.run(p, func(*world) error { return nil })
	if err != nil {
		return w, err
	}
	w.note("to rest")
	if err := w.rest(func() error { return nil }); err != nil {
		return w, err
	}
	return w, w.judge().atRest()
}

// Invariants 7, 11 and 12.
func TestAlwaysComesToRestWithAllThatFitServed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := comesToRest(allocation().Draw(t, "history"), rightPlanner); err != nil {
			fail(t, w, err)
		}
	})
}

// Invariant 6: whoever's ports are edited, nobody else leaves, also when a new
// leader finds the edit done.
func TestNeverTheOneThatWasThereLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, err := comesToRest(allocation().Draw(t, "history"), rightPlanner)
		if err != nil {
			fail(t, w, err)
		}
		name := pick(t, "service", serviceNames...)
		v, ok := w.services[name]
		if !ok {
			return
		}
		v.Ports = rapid.SliceOfNDistinct(rapid.SampledFrom(allPorts), 1, 4, rapid.ID[Port]).Draw(t, "ports")
		w.note("edit %s: %v", name, v.Ports)
		w.change(PutService{v})
		if rapid.Bool().Draw(t, "new leader") {
			w.newLeader()
		}
		w.plan()
		for _, d := range w.pending() {
			for _, a := range w.services[d.Service].Holds {
				if d.Service != name && !slices.Contains(d.Holds, a) {
					fail(t, w, fmt.Errorf("%s would leave %s", d.Service, a))
				}
			}
		}
	})
}
