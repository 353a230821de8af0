package controller

import (
	"slices"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// A feed is what one reader of the belief has yet to take. Each reader has its
// own, so that none waits for another, and takes what happened at its own pace.
type feed struct {
	belief *belief
	views  bool          // the reader wants Services with what is published on them
	news   chan struct{} // holds one item while there is something to take

	// Under the belief's lock.
	fresh   bool // nothing was taken yet: the first to be taken is everything
	pending bool // there is something to take
	changes changes
}

// changes are what happened since they were last taken.
type changes struct {
	facts    []allocator.Change
	at       map[any]int       // where in facts the latest change of an object is
	services map[name]*service // seen anew; nil: gone. For readers that want them
	configs  bool              // a pool, an advertisement or an object about BGP, or what these are judged by, was seen anew
	nodes    bool              // what matters of a Node is another
	keys     bool              // the Secret was seen anew
	peering  bool              // what package peering decides from is another

	// resolved is what came of it, where that is another; unusable are Secrets that
	// peers name and that hold no password. The loop that resolves is not told.
	resolved *peering.Plan
	unusable []string
}

func emptyChanges() changes {
	return changes{at: map[any]int{}, services: map[name]*service{}}
}

func (c *changes) add(key any, fact allocator.Change) {
	if i, ok := c.at[key]; ok {
		c.facts[i] = fact // the latest of an object is all that matters
		return
	}
	c.at[key] = len(c.facts)
	c.facts = append(c.facts, fact)
}

// subscribe returns a feed that begins with everything.
func (b *belief) subscribe(views bool) *feed {
	f := &feed{belief: b, views: views, news: make(chan struct{}, 1), fresh: true, pending: true}
	b.mu.Lock()
	b.feeds = append(slices.Clip(b.feeds), f)
	b.mu.Unlock()
	b.wake()
	return f
}

// close ends the feed: nothing is kept for its reader any more.
func (f *feed) close() {
	f.belief.mu.Lock()
	defer f.belief.mu.Unlock()
	f.belief.feeds = slices.DeleteFunc(slices.Clone(f.belief.feeds), func(g *feed) bool { return g == f })
}

// note has every reader learn what changed. It is called under the lock.
func (b *belief) note(what func(*changes)) {
	for _, f := range b.feeds {
		f.note(what)
	}
}

func (f *feed) note(what func(*changes)) {
	if !f.fresh {
		what(&f.changes)
		f.pending = true
	}
}

// noteService is note for readers that want to know what is published, too.
func (b *belief) noteService(n name, s *service) {
	for _, f := range b.feeds {
		if f.views {
			f.note(func(c *changes) { c.services[n] = s })
		}
	}
}

// wake tells the readers for whom there is something to take. It is not called
// under the lock.
func (b *belief) wake() {
	b.mu.Lock()
	feeds := b.feeds
	b.mu.Unlock()
	for _, f := range feeds {
		f.wake()
	}
}

func (f *feed) wake() {
	f.belief.mu.Lock()
	pending := f.pending
	f.belief.mu.Unlock()
	if !pending {
		return
	}
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// take returns what changed since it was last called. The first time it returns all
// facts besides; then changes names all Services, and has no single facts.
func (f *feed) take() (changes, *allocator.Facts) {
	b := f.belief
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := f.changes
	f.changes, f.pending = emptyChanges(), false
	if !f.fresh {
		return taken, nil
	}
	f.fresh = false
	taken = emptyChanges()
	taken.configs, taken.nodes, taken.keys, taken.peering = true, true, true, true
	taken.resolved, taken.unusable = b.resolved, b.unusable
	if f.views {
		for n, s := range b.services.items {
			taken.services[n] = s.fact
		}
	}
	return taken, b.facts()
}

// newer tells whether objects with a status may be newer than what was taken last.
func (f *feed) newer() bool { return f.changes.configs || f.changes.peering }
