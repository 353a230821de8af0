package controller

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A rollback tells the kinds of each other's proofs that the API's storage has
// gone back to an older state (etcd was restored from a backup): what one kind
// has shown is so for all, and is said once. While nothing is proven it costs
// nothing.
type rollback struct {
	log *slog.Logger

	mu      sync.Mutex
	guards  []*guard
	waiting map[*guard]bool // they have not begun anew since the proof
	since   time.Time       // when it was proven
	broken  chan struct{}   // closed by the next proof
}

func newRollback(log *slog.Logger) *rollback {
	return &rollback{log: log, waiting: map[*guard]bool{}, broken: make(chan struct{})}
}

// proven returns a channel that is closed by the next proof.
func (r *rollback) proven() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

// each calls do for every proof, until the context is done.
func (r *rollback) each(ctx context.Context, do func()) {
	for next := r.proven(); ; {
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
		next = r.proven()
		do()
	}
}

// prove notes that an object or list of a kind was believed as of a version, and
// that the API has an older one in its place. What was believed of every kind is
// to be read anew.
func (r *rollback) prove(kind, believed, found string) {
	r.mu.Lock()
	if len(r.waiting) > 0 {
		r.mu.Unlock()
		return // known, and being seen to
	}
	for _, g := range r.guards {
		if g.believes() {
			r.waiting[g] = true
		}
	}
	r.since = time.Now()
	close(r.broken)
	r.broken = make(chan struct{})
	r.log.Warn("the API's storage has gone back to an older state (was etcd restored from a backup?): what was believed is forgotten, and everything is read anew",
		"kind", kind, "believed", believed, "found", found)
	var all []*guard
	for g := range r.waiting {
		all = append(all, g)
	}
	r.mu.Unlock()
	for _, g := range all {
		g.restart(true)
	}
}

// done notes that a kind has begun anew, or need not.
func (r *rollback) done(g *guard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.waiting[g] {
		return
	}
	delete(r.waiting, g)
	if len(r.waiting) == 0 {
		r.log.Info("everything was read anew", "took", time.Since(r.since).Round(time.Millisecond))
	}
}

const (
	// unexplained is how long the watch may take to show what a conflict was about.
	unexplained = 2 * time.Second
	// rereadPause is how soon a kind is read again for another conflict.
	rereadPause = 10 * time.Second
)

// conflicted takes note that a write was refused because the object is not as it
// was believed, as of version. The watch will show soon what came between; if it
// does not, it is behind or deaf, and the kind is read anew by a quorum. Whether
// versions have gone back is seen then.
func (c *Controller) conflicted(kind string, n name, version string) {
	for _, g := range c.guards {
		if g.kind == kind {
			g.conflicted(n, version)
		}
	}
}

func (g *guard) conflicted(n name, version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.doubted {
		return // one at a time is enough: all of the kind is read
	}
	g.doubted = true
	time.AfterFunc(unexplained, func() {
		if !g.store.holds(n, version) {
			g.trust()
			return
		}
		g.restart(false)
		time.AfterFunc(rereadPause, g.trust)
	})
}

func (g *guard) trust() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doubted = false
}
