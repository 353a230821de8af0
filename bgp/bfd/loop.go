package bfd

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	upkeep = 2 * time.Second  // between attempts to open what could not be opened
	again  = time.Millisecond // between two looks at sockets before a peer is called dead
	batch  = 256              // packets read from a socket before timers have their turn
	tales  = 1024             // that may wait to be told before the loop keeps them itself
)

// loop is all that a running Detector has. Only its own goroutine touches it, which is
// locked to a thread, and nothing in it waits for another goroutine (invariant 7).
type loop struct {
	config Config
	wake   int // eventfd
	take   func() *order

	sessions  map[Key]*session
	leaving   []*session
	refused   map[Key]Status
	byDiscr   map[uint32]*session // leaving ones too
	byPeer    map[netip.Addr][]*session
	listeners map[listenerKey]*listener
	ports     map[uint16]bool // that we send from
	timers    timerHeap

	polled   []unix.PollFd // wake, then the listeners in order
	order    []*listener
	inbox    *inbox
	upkeepAt time.Time
	emptied  time.Time // when all sockets were last found empty
	certain  time.Time // up to this moment all that has come has been read
	full     bool      // a socket held more than a batch
	stopped  bool
	class    class
	quiet    []func() // to be called when nobody is leaving
	dropped  [drops]uint64

	tell    chan func()
	backlog []func()
	told    chan struct{}
}

func newLoop(c Config) (*loop, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("starting BFD: eventfd: %w", err)
	}
	l := &loop{config: c, wake: wake, inbox: newInbox(),
		sessions: map[Key]*session{}, refused: map[Key]Status{}, byDiscr: map[uint32]*session{},
		byPeer: map[netip.Addr][]*session{}, listeners: map[listenerKey]*listener{}, ports: map[uint16]bool{},
		tell: make(chan func(), tales), told: make(chan struct{})}
	l.repoll()
	go func() {
		defer close(l.told)
		for tale := range l.tell {
			tale()
		}
	}()
	return l, nil
}

func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.class.locked = true
	l.hurry()
	defer l.calm()
	for !l.stopped {
		l.wait()
		now := time.Now()
		l.drain(now)
		l.obey()
		if !now.Before(l.upkeepAt) {
			l.maintain(now)
		}
		l.expire(now)
		l.flush()
	}
}

// close falls silent.
func (l *loop) close() {
	for _, s := range l.byDiscr {
		s.close()
	}
	for _, n := range l.listeners {
		n.close()
	}
	unix.Close(l.wake)
}

// hush waits until all that has happened is told.
func (l *loop) hush() {
	for _, tale := range l.backlog {
		l.tell <- tale
	}
	close(l.tell)
	<-l.told
}

// say has something done by another goroutine, in order, and does not wait.
func (l *loop) say(tale func()) {
	l.backlog = append(l.backlog, tale)
	l.flush()
}

func (l *loop) flush() {
	for len(l.backlog) > 0 {
		select {
		case l.tell <- l.backlog[0]:
			l.backlog = l.backlog[1:]
		default:
			return
		}
	}
	l.backlog = nil
}

// wait returns when a packet, an order or a timer is due.
func (l *loop) wait() {
	due := l.upkeepAt
	if len(l.timers) > 0 && l.timers[0].wake.Before(due) {
		due = l.timers[0].wake
	}
	if len(l.backlog) > 0 {
		due = time.Now().Add(again)
	}
	timeout := unix.Timespec{}
	if left := time.Until(due); left > 0 && !l.full {
		timeout = unix.NsecToTimespec(int64(left))
	}
	for i := range l.polled {
		l.polled[i].Revents = 0
	}
	_, _ = unix.Ppoll(l.polled, &timeout, nil) // interrupted: the sockets are looked at all the same
}

// drain reads all sockets, a batch of each. What is certain is what was found twice,
// a moment apart: the second look sees what the kernel was about to deliver at the first.
// Of a socket that holds more than a batch the newest packet read counts: they come in
// order.
func (l *loop) drain(now time.Time) {
	l.full = false
	var newest time.Time // of the fullest socket
	for i, n := range l.order {
		if l.polled[i+1].Revents == 0 && now.Sub(l.emptied) < again {
			continue
		}
		if last, more := l.read(n); more && (!l.full || last.Before(newest)) {
			l.full, newest = true, last
		}
	}
	switch {
	case l.full && newest.After(l.certain):
		l.certain = newest
	case l.full:
	case l.emptied.IsZero():
		l.emptied = now
	case now.Sub(l.emptied) >= again:
		l.certain, l.emptied = l.emptied, now
	}
}

// obey carries out the orders, the oldest first.
func (l *loop) obey() {
	var count [8]byte
	if l.polled[0].Revents != 0 {
		_, _ = unix.Read(l.wake, count[:])
	}
	var orders []func(*loop)
	for o := l.take(); o != nil; o = o.before {
		orders = append(orders, o.do)
	}
	for _, do := range slices.Backward(orders) {
		do(l)
	}
}

// expire does what the timers say.
func (l *loop) expire(now time.Time) {
	for len(l.timers) > 0 && !l.timers[0].wake.After(now) {
		s := l.timers[0]
		switch {
		case s.m.said(now):
			l.remove(s)
			continue
		case s.m.state == AdminDown:
			l.do(s, s.m.leave(now), now)
		default:
			l.do(s, s.m.tick(now, l.certain), now)
		}
		l.schedule(s, now)
	}
	if len(l.leaving) == 0 {
		for _, f := range l.quiet {
			f()
		}
		l.quiet = nil
	}
}

// whenQuiet calls f when no session is leaving.
func (l *loop) whenQuiet(f func()) { l.quiet = append(l.quiet, f) }

// do carries out what a machine has decided.
func (l *loop) do(s *session, st step, now time.Time) {
	if st.send {
		l.send(s, st.packet)
	}
	if !st.moved {
		return
	}
	c := Change{Session: s.want, From: st.from, To: st.to, Reason: st.reason, Local: s.m.diag,
		Remote: st.peer.diag, PeerState: st.peer.state, At: now, SinceHeard: st.silence}
	l.say(func() {
		l.config.Log.Info("BFD session changed", "peer", c.Session.Peer, "from", c.From.String(), "to", c.To.String(),
			"reason", c.Reason)
		if l.config.Changed != nil {
			l.config.Changed(c)
		}
	})
}

// schedule sets a session's timer. What is overdue, and was not done for want of
// certainty, is looked at again in a moment.
func (l *loop) schedule(s *session, now time.Time) {
	s.wake = s.m.due()
	if s.m.said(now) {
		s.wake = now
	} else if !s.wake.IsZero() && !s.wake.After(now) {
		s.wake = now.Add(again)
	}
	switch {
	case s.wake.IsZero():
		l.timers.remove(s)
	case s.at >= 0:
		heap.Fix(&l.timers, s.at)
	default:
		heap.Push(&l.timers, s)
	}
}

// discriminator is one that no session has, and that nobody can guess.
func (l *loop) discriminator() uint32 {
	for {
		d := rand.Uint32()
		if d != 0 && l.byDiscr[d] == nil {
			return d
		}
	}
}

// timerHeap has the session whose timer is due first at its root.
type timerHeap []*session

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *timerHeap) remove(s *session) {
	if s.at >= 0 {
		heap.Remove(h, s.at)
	}
}

func (h *timerHeap) Push(x any) {
	s := x.(*session)
	s.at = len(*h)
	*h = append(*h, s)
}

func (h *timerHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.at = -1
	return s
}
