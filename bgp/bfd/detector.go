package bfd

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Detector runs a set of sessions. Its methods may be called from any goroutine.
type Detector struct {
	config Config
	orders atomic.Pointer[order] // the newest first

	mu      sync.Mutex // never taken by the loop while it runs
	wanted  []Session
	wake    int           // eventfd; of use while running
	running chan struct{} // closed when the loop has ended; nil if none was started
	closed  bool          // Shutdown was called
	last    report        // of the loop that has ended
}

// An order is what the loop is asked to do, on its own goroutine.
type order struct {
	do     func(*loop)
	before *order
}

// report is what the loop tells of itself.
type report struct {
	sessions []Status
	dropped  [drops]uint64
}

// New makes a Detector without sessions.
func New(c Config) *Detector {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Port == 0 {
		c.Port = Port
	}
	if c.MultihopPort == 0 {
		c.MultihopPort = MultihopPort
	}
	return &Detector{config: c}
}

// Run speaks BFD until the context ends, and then falls silent without a word to
// the peers (invariant 6). It works in the network namespace of the calling thread. An
// error means that it could not start.
func (d *Detector) Run(ctx context.Context) error {
	l, end, err := d.start()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { d.order(func(l *loop) { l.stopped = true }) })
	l.run()
	stop()
	end()
	l.hush() // who is told may ask for Status: not before the end
	return nil
}

// start makes a loop; end takes it down.
func (d *Detector) start() (l *loop, end func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running != nil && !ended(d.running) {
		return nil, nil, errors.New("starting BFD: it runs already")
	}
	if l, err = newLoop(d.config); err != nil {
		return nil, nil, err
	}
	d.orders.Store(nil)
	d.wake, d.running = l.wake, make(chan struct{})
	l.take = func() *order { return d.orders.Swap(nil) }
	if !d.closed {
		l.set(d.wanted)
	}
	return l, func() {
		last := l.report() // before the sockets close
		d.mu.Lock()
		defer d.mu.Unlock()
		d.last = last
		close(d.running)
		l.close()
	}, nil
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// order hands an order to the loop, and returns a channel that is closed when the
// loop has ended. It is nil if there is no loop.
func (d *Detector) order(do func(*loop)) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.orderLocked(do)
}

func (d *Detector) orderLocked(do func(*loop)) <-chan struct{} {
	if d.running == nil || ended(d.running) {
		return nil
	}
	for o := (&order{do: do}); ; {
		o.before = d.orders.Load()
		if d.orders.CompareAndSwap(o.before, o) {
			break
		}
	}
	_, _ = unix.Write(d.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // if it is full, the loop is being woken already
	return d.running
}

// Set replaces the whole set of sessions. A session that stays is left alone; if its
// Profile is another it stays up and a Poll Sequence tells the peer (invariant 5). One
// that is no longer wanted says AdminDown for a moment. One that Session.Check
// refuses is not made, and one of that key that runs stays as it is: the log and
// Status tell. Of several with the same key the first counts. Set does not wait.
func (d *Detector) Set(sessions []Session) {
	wanted := slices.Clone(sessions)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.wanted = wanted
	d.orderLocked(func(l *loop) { l.set(wanted) })
}

// Shutdown tells every peer that its session is administratively down, for as long as
// they need to notice or until the context ends. After it there are no sessions, and
// Set does nothing. It is only for when that is meant (invariant 6).
func (d *Detector) Shutdown(ctx context.Context) {
	done := make(chan struct{})
	d.mu.Lock()
	d.closed, d.wanted = true, nil
	gone := d.orderLocked(func(l *loop) {
		l.set(nil)
		l.whenQuiet(func() { close(done) })
	})
	d.mu.Unlock()
	if gone == nil {
		return
	}
	select {
	case <-done:
	case <-gone:
	case <-ctx.Done():
	}
}

// Status is the state of all sessions, those that are refused too, sorted by peer.
func (d *Detector) Status() []Status { return d.report().sessions }

// Stats counts what belongs to no session.
func (d *Detector) Stats() Stats {
	r := d.report()
	return Stats{Dropped: counted(&r.dropped)}
}

func (d *Detector) report() report {
	got := make(chan report, 1)
	if gone := d.order(func(l *loop) { got <- l.report() }); gone != nil {
		select {
		case r := <-got:
			return r
		case <-gone:
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.last
	r.sessions = nil
	for _, s := range d.wanted {
		r.sessions = append(r.sessions, Status{Session: s.complete(), State: Down, RemoteState: Down,
			Reason: "not running", Trouble: "BFD does not run"})
	}
	return r
}
