package controller

import (
	"fmt"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// shelving is what a shelf does; a wrong one is checked by the same test.
type shelving interface {
	delivered(n name, version string, fact *int)
	answered(n name, version string, fact *int)
	listed(version string, list map[name]item[int]) (back bool)
	get(n name) (version string, there bool)
}

type rightShelf struct{ *shelf[int] }

func (s rightShelf) get(n name) (string, bool) { i, ok := s.items[n]; return i.version, ok }

// lastWins believes whatever came last, as an informer's store does.
type lastWins struct{ items map[name]string }

func (s lastWins) delivered(n name, version string, fact *int) {
	if s.items[n] = version; fact == nil {
		delete(s.items, n)
	}
}
func (s lastWins) answered(n name, version string, fact *int) { s.delivered(n, version, fact) }
func (s lastWins) listed(_ string, list map[name]item[int]) bool {
	clear(s.items)
	for n, i := range list {
		s.items[n] = i.version
	}
	return false
}
func (s lastWins) get(n name) (string, bool) { v, ok := s.items[n]; return v, ok }

// A fact of history: what happened to an object at a version.
type happening struct {
	n    name
	gone bool
	ours bool // our own write: we get an answer
}

// history is a kind's past, and how far the watch has shown it.
type history struct {
	past    []happening // the version of past[i] is i+2
	watched int
	answers []int
	newest  map[name]int // what the belief has once shown of each object: it must not show older
}

func (h *history) at(version int) map[name]int {
	state := map[name]int{}
	for i := range h.past[:version-1] {
		if e := h.past[i]; e.gone {
			delete(state, e.n)
		} else {
			state[e.n] = i + 2
		}
	}
	return state
}

func (h *history) list(s shelving, version int) {
	list := map[name]item[int]{}
	for n, v := range h.at(version) {
		list[n] = item[int]{strconv.Itoa(v), v}
	}
	s.listed(strconv.Itoa(version), list)
}

func (h *history) step(t *rapid.T, s shelving) {
	now := len(h.past) + 1
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1, 2, 3: // something happens
		e := happening{n: name{Name: fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "object"))}}
		_, there := h.at(now)[e.n]
		e.gone = there && rapid.IntRange(0, 3).Draw(t, "gone") == 0
		e.ours = there && !e.gone && rapid.Bool().Draw(t, "ours")
		h.past = append(h.past, e)
		if e.ours {
			h.answers = append(h.answers, now+1)
		}
	case 4, 5, 6: // the watch shows the next
		if h.watched < now {
			h.watched++
			e := h.past[h.watched-2]
			if e.gone {
				s.delivered(e.n, strconv.Itoa(h.watched), nil)
			} else {
				s.delivered(e.n, strconv.Itoa(h.watched), &h.watched)
			}
		}
	case 7: // an answer arrives, be it late
		if len(h.answers) > 0 {
			v := h.answers[0]
			h.answers = h.answers[1:]
			s.answered(h.past[v-2].n, strconv.Itoa(v), &v)
		}
	case 8: // the watch broke: a relist, from a copy of the API that may lag
		h.watched = rapid.IntRange(max(1, h.watched-2), now).Draw(t, "as of")
		h.list(s, h.watched)
	case 9: // a consistent read
		h.list(s, now)
	}
}

// shown checks that nothing is shown that is older than what was shown before.
func (h *history) shown(s shelving) error {
	for n, was := range h.newest {
		text, there := s.get(n)
		v, _ := strconv.Atoi(text)
		if !there {
			// Gone: by the first end since, at the earliest.
			v = 0
			for i := len(h.past) - 1; i >= max(0, was-2); i-- {
				if h.past[i].n == n && h.past[i].gone {
					v = i + 2
				}
			}
		}
		if v < was {
			return fmt.Errorf("object %s went back from version %d to %d", n.Name, was, v)
		}
		h.newest[n] = v
	}
	for i := range 3 {
		n := name{Name: fmt.Sprint(i)}
		if text, there := s.get(n); there {
			h.newest[n], _ = strconv.Atoi(text)
		}
	}
	return nil
}

// live runs a history and returns what is wrong with the belief in it.
func live(t *rapid.T, s shelving) error {
	h := &history{watched: 1, newest: map[name]int{}}
	h.list(s, 1)
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		h.step(t, s)
		if err := h.shown(s); err != nil {
			return err
		}
	}
	for h.watched < len(h.past)+1 { // the watch catches up
		h.watched++
		e := h.past[h.watched-2]
		if e.gone {
			s.delivered(e.n, strconv.Itoa(h.watched), nil)
		} else {
			s.delivered(e.n, strconv.Itoa(h.watched), &h.watched)
		}
	}
	return h.agrees(s)
}

// agrees checks that what is believed is what is so.
func (h *history) agrees(s shelving) error {
	for i := range 3 {
		n := name{Name: fmt.Sprint(i)}
		want, there := h.at(len(h.past) + 1)[n]
		got, believed := s.get(n)
		if there != believed || there && got != strconv.Itoa(want) {
			return fmt.Errorf("object %s: believed %q (%t), is %d (%t)", n.Name, got, believed, want, there)
		}
	}
	return nil
}

// Invariant 2.
func TestNeverBelievesAnOlderVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShelf(newBelief(options{}), "things", func(name, *int, *int) {})
		if err := live(t, rightShelf{s}); err != nil {
			t.Fatal(err)
		}
	})
}

// The test above sees: a store in which the last delivery wins goes back.
func TestNeverBelievesAnOlderVersionSeesAStoreThatDoes(t *testing.T) {
	caught := 0
	for seed := range 300 {
		err := rapid.Custom(func(t *rapid.T) string {
			if err := live(t, lastWins{map[name]string{}}); err != nil {
				return err.Error()
			}
			return ""
		}).Example(seed)
		if err != "" {
			caught++
		}
	}
	if caught == 0 {
		t.Fatal("a store in which the last delivery wins went unnoticed")
	}
}

// A relist that equals what is believed is no change at all.
func TestRelistIsADifference(t *testing.T) {
	changed := 0
	s := newShelf(newBelief(options{}), "things", func(name, *int, *int) { changed++ })
	list := map[name]item[int]{{Name: "a"}: {"2", 1}, {Name: "b"}: {"3", 1}}
	s.listed("3", list)
	changed = 0
	s.listed("9", list)
	if changed != 0 {
		t.Fatalf("%d changes from a list of what was known", changed)
	}
	delete(list, name{Name: "a"})
	s.listed("10", list)
	if changed != 1 {
		t.Fatalf("%d changes from a list in which one is missing", changed)
	}
}

// After the storage went back and all was listed anew the belief is what is so,
// whatever was delivered, answered or listed before.
func TestAlwaysBelievesWhatIsSoAfterABeginning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rightShelf{newShelf(newBelief(options{}), "things", func(name, *int, *int) {})}
		h := &history{watched: 1, newest: map[name]int{}}
		h.list(s, 1)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			h.step(t, s)
		}
		// Back to an older state, from which another history follows.
		kept := rapid.IntRange(0, len(h.past)).Draw(t, "kept")
		h.past = h.past[:kept:kept]
		h.answers, h.newest, h.watched = nil, map[name]int{}, 1
		for range rapid.IntRange(0, 20).Draw(t, "others' writes") {
			n := name{Name: fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "object"))}
			_, there := h.at(len(h.past) + 1)[n]
			h.past = append(h.past, happening{n: n, gone: there && rapid.Bool().Draw(t, "gone")})
		}
		now := len(h.past) + 1
		list := map[name]item[int]{}
		for n, v := range h.at(now) {
			list[n] = item[int]{strconv.Itoa(v), v}
		}
		s.begin(strconv.Itoa(now), list, func(a, b int) bool { return a == b })
		h.watched = now
		if err := h.agrees(s); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 40).Draw(t, "later steps") {
			h.step(t, s)
			if err := h.shown(s); err != nil {
				t.Fatal(err)
			}
		}
	})
}
