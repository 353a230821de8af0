package controller

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"holdfast.dev/holdfast/controller/lease"
)

const (
	writers      = 16               // writes under way at once
	writeLimit   = 10 * time.Second // the longest that one write may take
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 30 * time.Second
)

// A target is the object that a write changes.
type target struct {
	kind string
	name name
}

// A task is one write: the whole difference between what is published on one
// object and what shall be, on condition that the object is as it was believed.
type task struct {
	to      target
	version string // of the object that the write is made for
	body    string // what is to be written; equal bodies are the same write
	lazy    time.Duration
	takes   []netip.Addr // addresses that the write newly gives to a Service
	send    func(context.Context) (runtime.Object, error)
	sent    func(runtime.Object) // the write succeeded, with this answer
}

// A publisher writes tasks while a term lasts: several at once, one at a time for
// each object, and a bad one never stops another. A conflict ends a task: the
// watch will show what came between, and the loop decides anew.
type publisher struct {
	term  *lease.Term
	log   *slog.Logger
	stats *counters
	work  sync.WaitGroup
	// conflicted is told that a write was refused because the object is not as it was
	// believed, as of the version. May be nil.
	conflicted func(kind string, n name, version string)

	mu      sync.Mutex
	more    *sync.Cond
	lanes   map[target]*lane
	queue   []target
	stopped bool
}

// A lane is what is to be written to one object.
type lane struct {
	want     *task
	busy     bool // a write is under way
	queued   bool
	timer    *time.Timer // when it goes to the queue by itself
	failures int
	doubts   []doubt
}

// A doubt is a write that was sent and whose outcome is not known: it may take
// effect until the API has given it up.
type doubt struct {
	*task
	until time.Time
}

func newPublisher(term *lease.Term, log *slog.Logger, stats *counters) *publisher {
	p := &publisher{term: term, log: log, stats: stats, lanes: map[target]*lane{}}
	p.more = sync.NewCond(&p.mu)
	for range writers {
		p.work.Go(p.writer)
	}
	return p
}

// put makes t the write for its object, in place of any that has not been sent.
func (p *publisher) put(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[t.to]
	if l == nil {
		l = &lane{}
		p.lanes[t.to] = l
	}
	if l.want != nil && l.want.version == t.version && l.want.body == t.body {
		return
	}
	anew := l.want == nil || l.want.version != t.version
	backingOff := l.timer != nil && l.failures > 0
	stays := l.timer != nil && (backingOff && !anew || !backingOff && t.lazy > 0)
	if anew {
		l.failures = 0
	}
	l.want = t
	if !l.busy && !l.queued && !stays {
		p.schedule(t.to, l)
	}
}

// drop: nothing is to be written to the object.
func (p *publisher) drop(to target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[to]; l != nil {
		l.want = nil
		p.tidy(to, l)
	}
}

// doubtful returns the writes whose outcome is not known.
func (p *publisher) doubtful(now time.Time) (out []doubt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for to, l := range p.lanes {
		if len(l.doubts) == 0 {
			continue
		}
		l.forgive(now)
		out = append(out, l.doubts...)
		p.tidy(to, l)
	}
	return out
}

// stop lets the writes under way end, sends no others, and tells whether the
// outcome of all is known.
func (p *publisher) stop() (settled bool) {
	p.mu.Lock()
	p.stopped = true
	p.more.Broadcast()
	p.mu.Unlock()
	p.work.Wait()
	return len(p.doubtful(time.Now())) == 0
}

// schedule sends what is wanted as soon as it is due.
func (p *publisher) schedule(to target, l *lane) {
	if l.want.lazy > 0 {
		p.later(to, l, l.want.lazy)
	} else {
		p.enqueue(to, l)
	}
}

func (p *publisher) enqueue(to target, l *lane) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.queued = true
	p.queue = append(p.queue, to)
	p.more.Signal()
}

func (p *publisher) later(to target, l *lane, d time.Duration) {
	if l.timer != nil {
		l.timer.Stop()
	}
	var mine *time.Timer
	mine = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if l.timer != mine {
			return
		}
		l.timer = nil
		if l.want != nil && !l.busy && !l.queued {
			p.enqueue(to, l)
		}
		p.tidy(to, l)
	})
	l.timer = mine
}

// tidy forgets a lane in which nothing happens any more.
func (p *publisher) tidy(to target, l *lane) {
	if l.want == nil && !l.busy && !l.queued && len(l.doubts) == 0 {
		if l.timer != nil {
			l.timer.Stop()
			l.timer = nil
		}
		delete(p.lanes, to)
	}
}

func (p *publisher) writer() {
	for {
		to, l, t := p.next()
		if l == nil {
			return
		}
		p.write(to, l, t)
	}
}

// next waits for a task, and notes that it is being sent.
func (p *publisher) next() (target, *lane, *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.queue) == 0 && !p.stopped {
			p.more.Wait()
		}
		if p.stopped {
			return target{}, nil, nil
		}
		to := p.queue[0]
		p.queue = p.queue[1:]
		l := p.lanes[to]
		if l == nil {
			continue
		}
		l.queued = false
		if l.want == nil {
			p.tidy(to, l)
			continue
		}
		l.busy = true
		l.doubts = append(l.doubts, doubt{l.want, time.Now().Add(2 * writeLimit)})
		return to, l, l.want
	}
}

// errFenced: the write was not sent, since this copy may not write any more.
var errFenced = errors.New("this copy leads no more")

func (p *publisher) write(to target, l *lane, t *task) {
	answer, err := runtime.Object(nil), errFenced
	if p.term.Held() {
		ctx, cancel := p.term.Context(writeLimit)
		answer, err = t.send(ctx)
		cancel()
		p.stats.wrote(to.kind, err)
	}
	if err == nil {
		t.sent(answer)
	}
	if p.conflicted != nil && (apierrors.IsConflict(err) || apierrors.IsNotFound(err)) {
		p.conflicted(to.kind, to.name, t.version)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.busy = false
	p.settle(l, t, err)
	switch {
	case err == nil, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		l.failures = 0
		if l.want == t {
			l.want = nil
		}
	case errors.Is(err, errFenced):
		l.want = nil
	default:
		if l.failures == 0 {
			p.log.Warn("a write was not accepted, and is tried again", "kind", to.kind, "object", to.name.String(), "err", err)
		}
		if l.want == t {
			l.failures++
			pause := min(firstBackoff<<min(l.failures-1, 20), lastBackoff)
			p.later(to, l, pause/2+rand.N(pause/2+1))
			return
		}
	}
	if l.want != nil {
		p.schedule(to, l)
	}
	p.tidy(to, l)
}

// settle removes the doubt about a write that was answered. A success proves that
// no earlier write for the same version can take effect any more.
func (p *publisher) settle(l *lane, t *task, err error) {
	if err == nil {
		l.doubts = nil
		return
	}
	if !errors.Is(err, errFenced) && !refused(err) {
		return
	}
	for i := len(l.doubts) - 1; i >= 0; i-- {
		if l.doubts[i].task == t { // the latest sending of it
			l.doubts = append(l.doubts[:i], l.doubts[i+1:]...)
			return
		}
	}
}

// refused tells whether the error is the API's word that nothing was written.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500
}

// forgive drops doubts that are too old to matter: the API gives up on a request
// when the time limit that the request carries is over.
func (l *lane) forgive(now time.Time) {
	kept := l.doubts[:0]
	for _, d := range l.doubts {
		if now.Before(d.until) {
			kept = append(kept, d)
		}
	}
	l.doubts = kept
}
