package controller

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
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
	// invalidBackoff: what the API finds invalid it will find so again, until the object
	// is another.
	invalidBackoff = 5 * time.Minute
	fencedPause    = time.Second     // after which a write is tried again that may not be sent now
	saidPause      = time.Minute     // how often it is said that the API asks for pauses
	sweepPause     = 5 * time.Second // how often doubts are looked at that are nobody's concern
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
	urgency urgency
	lazy    time.Duration
	takes   []netip.Addr // addresses that the write newly gives to a Service
	send    func(context.Context) (runtime.Object, error)
	sent    func(runtime.Object) // the write succeeded, with this answer
}

// A fence says whether, and until when, writes may be sent. A term is one.
type fence interface {
	Held() bool
	Done() <-chan struct{}
	Context(limit time.Duration) (context.Context, context.CancelFunc)
}

var _ fence = (*lease.Term)(nil)

// A publisher writes tasks while a term lasts: several at once, one at a time for
// each object, what is urgent first, and a bad one never stops another. A conflict
// ends a task: the watch will show what came between, and who plans decides anew.
type publisher struct {
	term  fence
	log   *slog.Logger
	stats *counters
	work  sync.WaitGroup
	// conflicted is told that a write was refused because the object is not as it was
	// believed, as of the version. May be nil.
	conflicted func(kind string, n name, version string)

	mu       sync.Mutex
	more     *sync.Cond
	gate     *gate
	alarm    *time.Timer // when the gate opens
	lanes    map[target]*lane
	queue    queue
	busy     int              // writes under way
	patient  int              // of these, such as can wait
	said     time.Time        // when it was last said that the API asks for pauses
	doubting map[target]*lane // lanes with doubts
	giving   map[target]*lane // of these, such as may give an address
	swept    time.Time        // when all of doubting were last looked at
	stopped  bool
}

// A lane is what is to be written to one object.
type lane struct {
	want     *task
	busy     bool // a write is under way
	queued   bool
	urgency  urgency     // as what it is queued, under way, or waits for its time
	since    time.Time   // when it came to the queue
	timer    *time.Timer // when it goes to the queue by itself
	failures int
	doubts   []doubt
}

func newPublisher(term fence, log *slog.Logger, stats *counters) *publisher {
	p := &publisher{
		term: term, log: log, stats: stats, gate: newGate(),
		lanes: map[target]*lane{}, doubting: map[target]*lane{}, giving: map[target]*lane{},
	}
	p.more = sync.NewCond(&p.mu)
	for range writers {
		p.work.Go(p.writer)
	}
	return p
}

// share has the publisher pass through a gate that others pass through, too.
func (p *publisher) share(g *gate) *publisher {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = g
	return p
}

// put makes t the write for its object, in place of any that has not been sent. It waits
// for the backoff of one that failed for the same version, unless it is more urgent.
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
	stays := l.timer != nil && (backingOff && !anew && t.urgency >= l.urgency || !backingOff && t.lazy > 0)
	if anew {
		l.failures = 0
	}
	l.want = t
	switch {
	case l.busy:
	case l.queued:
		if t.urgency < l.urgency {
			p.enqueue(t.to, l)
		}
	case !stays:
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

// recall drops a write that has not been sent, if it gives the object an address that it
// shall not hold by now.
func (p *publisher) recall(to target, holds []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[to]
	if l == nil || l.want == nil {
		return
	}
	for _, a := range l.want.takes {
		if !slices.Contains(holds, a) {
			l.want = nil
			p.tidy(to, l)
			return
		}
	}
}

// stop lets the writes under way end, sends no others, and tells whether the
// outcome of all is known.
func (p *publisher) stop() (settled bool) {
	p.mu.Lock()
	p.stopped = true
	p.more.Broadcast()
	p.mu.Unlock()
	p.work.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgive(p.doubting, time.Now())
	return len(p.doubting) == 0
}

// schedule sends what is wanted as soon as it is due.
func (p *publisher) schedule(to target, l *lane) {
	l.urgency = l.want.urgency
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
	p.queue.add(to, l, time.Now())
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

// next waits for a task that may be sent, and notes that it is being sent.
func (p *publisher) next() (target, *lane, *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.stopped {
		to, l := p.pick()
		if l == nil {
			p.more.Wait()
			continue
		}
		if l.want == nil {
			p.tidy(to, l)
			continue
		}
		p.note(l, +1)
		l.doubts = append(l.doubts, doubt{l.want, time.Now().Add(2 * writeLimit)})
		p.doubt(to, l)
		return to, l, l.want
	}
	return target{}, nil, nil
}

// pick returns the next lane, unless the gate is closed or as much is under way as
// may be.
func (p *publisher) pick() (target, *lane) {
	in, width := p.gate.open()
	if in > 0 {
		if p.alarm == nil {
			p.alarm = time.AfterFunc(in, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.alarm = nil
				p.more.Broadcast()
			})
		}
		return target{}, nil
	}
	if p.busy >= width {
		return target{}, nil
	}
	return p.queue.take(p.patient < max(width-reserved, 1))
}

// note counts a write that begins, or has ended.
func (p *publisher) note(l *lane, by int) {
	l.busy = by > 0
	p.busy += by
	if l.urgency.patient() {
		p.patient += by
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
	p.note(l, -1)
	p.settle(l, t, err)
	p.doubt(to, l)
	paused := p.gate.heed(err)
	if p.busy < writers-1 {
		p.more.Broadcast() // there may be room now for more than this writer sends
	}
	switch {
	case paused: // nothing is wrong with it
		if time.Since(p.said) > saidPause {
			p.said = time.Now()
			p.log.Info("the API asks for a pause, and writes wait", "err", cut(err.Error(), sentenceLimit))
		}
	case err == nil, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		l.failures = 0
		if l.want == t {
			l.want = nil
		}
	case errors.Is(err, errFenced):
		p.outside(to, l)
		return
	default:
		if l.failures == 0 {
			p.log.Warn("a write was not accepted, and is tried again", "kind", to.kind, "object", to.name.String(), "err", cut(err.Error(), sentenceLimit))
		}
		if l.want == t {
			l.failures++
			last := lastBackoff
			if apierrors.IsInvalid(err) {
				last = invalidBackoff
			}
			pause := min(firstBackoff<<min(l.failures-1, 20), last)
			p.later(to, l, pause/2+rand.N(pause/2+1))
			return
		}
	}
	switch {
	case l.want == nil:
		p.tidy(to, l)
	case paused:
		p.queue.back(to, l)
	default:
		p.schedule(to, l)
	}
}

// outside keeps what may not be sent now: where the term has not ended, a clock was
// set or the renewal is late, and the fence may be ahead again soon.
func (p *publisher) outside(to target, l *lane) {
	select {
	case <-p.term.Done():
		l.want = nil
	default:
	}
	if l.want == nil {
		p.tidy(to, l)
		return
	}
	p.later(to, l, fencedPause)
}
