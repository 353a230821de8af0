package lease

import (
	"context"
	"sync"
	"time"
)

// A Term is one copy's time as leader.
type Term struct {
	ctx     context.Context
	cancel  context.CancelFunc
	since   time.Time
	stepped chan struct{} // holds one item when the wall clock alone has passed the fence

	mu    sync.Mutex
	until time.Time // by the monotonic clock
	wall  time.Time // the same moment, by the wall clock as it was set then
	alarm *time.Timer
}

func newTerm(ctx context.Context, until, since time.Time) *Term {
	t := &Term{until: until, wall: until.Round(0), since: since, stepped: make(chan struct{}, 1)}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.alarm = time.AfterFunc(time.Until(until), t.expire)
	return t
}

// Fence returns the moment after which the holder of the term may write nothing.
// A renewal moves it.
func (t *Term) Fence() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.until
}

// LedSince returns since when somebody has led without a pause longer than two
// lease durations, this copy or others before it, by the clock that all copies share.
func (t *Term) LedSince() time.Time { return t.since }

// Held tells whether the fence is still ahead, and the term not ended.
//
// It may be false for a while and true again, in one case: when the wall clock has
// been put forward past the fence and the monotonic clock has not, so that the
// machine may have slept. The lease is then renewed at once. If that succeeds the
// term goes on, and what was not written for it must be wanted again; if another
// copy has taken the lease meanwhile, the term ends. A wall clock that is put back, or
// forward by less than what is left to the fence, changes nothing.
func (t *Term) Held() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.ctx.Err() != nil || !now.Before(t.until) {
		return false
	}
	if now.Round(0).Before(t.wall) {
		return true
	}
	select {
	case t.stepped <- struct{}{}:
	default:
	}
	return false
}

// before compares by the monotonic clock and by the wall clock.
func before(now, fence time.Time) bool {
	return now.Before(fence) && now.Round(0).Before(fence.Round(0))
}

// Done is closed when the term has ended.
func (t *Term) Done() <-chan struct{} { return t.ctx.Done() }

// Context returns a context for one write, which must take no longer than
// limit: its deadline is the limit or the fence, whichever is first. It outlives
// the end of the term, up to the fence, so that a copy that is asked to stop can
// still learn what became of what it sent.
func (t *Term) Context(limit time.Duration) (context.Context, context.CancelFunc) {
	fence := t.Fence()
	if d := time.Now().Add(limit); d.Before(fence) {
		fence = d
	}
	return context.WithDeadline(context.WithoutCancel(t.ctx), fence)
}

// extend moves the fence, unless the term has ended while the renewal was on its
// way: then another copy may soon be told that nobody leads.
func (t *Term) extend(until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return
	}
	t.until, t.wall = until, until.Round(0)
	t.alarm.Reset(time.Until(until))
}

// expire ends the term if its fence has really been passed.
func (t *Term) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest := time.Until(t.until); rest > 0 {
		t.alarm.Reset(rest)
		return
	}
	t.cancel()
}

func (t *Term) end() {
	t.alarm.Stop()
	t.cancel()
}
