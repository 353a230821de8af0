package allocator_test

import (
	"maps"
	"slices"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// still is a picture of a world: what happens later does not show in it. Nobody leads
// there.
func (w *world) still() *world {
	f := *w
	f.services, f.pools, f.ads, f.routes = maps.Clone(w.services), maps.Clone(w.pools), maps.Clone(w.ads), maps.Clone(w.routes)
	f.nodes, f.endpoints, f.namespaces, f.inUse = maps.Clone(w.nodes), maps.Clone(w.endpoints), maps.Clone(w.namespaces), maps.Clone(w.inUse)
	f.latest, f.seats = maps.Clone(w.latest), maps.Clone(w.seats)
	f.snapshot, f.written, f.reel = nil, nil, nil
	return &f
}

// fork copies a world: what happens to one of the two does not happen to the other.
// A snapshot cannot be copied; the fork's is made from what the leader's was made
// from, and goes through the same.
func (w *world) fork() *world {
	f := w.still()
	f.since, f.log = slices.Clone(w.since), slices.Clone(w.log)
	f.snapshot = NewSnapshot(w.born)
	for _, e := range w.since {
		if e.changes != nil {
			f.snapshot = f.snapshot.With(e.changes...)
			continue
		}
		Plan(f.snapshot, e.at)
		Place(f.snapshot)
	}
	return f
}

// A reel is pictures of a world, one after each plan and each write.
type reel struct{ frames []frame }

type frame struct {
	*world
	planned bool // just now, so that its seats are of what is published
}

// film begins a reel of a world.
func (w *world) film() *reel {
	r := &reel{}
	r.frames = append(r.frames, frame{w.still(), false})
	w.reel = r
	w.written = func(Service) { r.frames = append(r.frames, frame{w.still(), false}) }
	return r
}

// at are the frames of a moment, and the last one before it.
func (r *reel) at(t time.Time) []frame {
	i := 0
	for i < len(r.frames) && r.frames[i].now.Before(t) {
		i++
	}
	k := i
	for k < len(r.frames) && r.frames[k].now.Equal(t) {
		k++
	}
	return r.frames[max(i-1, 0):k]
}

// until are the frames up to a moment, the last ones first.
func (r *reel) until(t time.Time) []frame {
	k := 0
	for k < len(r.frames) && !r.frames[k].now.After(t) {
		k++
	}
	back := slices.Clone(r.frames[:k])
	slices.Reverse(back)
	return back
}
