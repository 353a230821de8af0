package probe

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// request is one request whose outcome is not counted yet.
type request struct {
	seq     uint64
	segment *segment
	sent    time.Duration
	latency time.Duration
	backend string
	outcome outcome
	fd      int // fresh flows only
}

// flows is how a lane's requests reach the target: each by itself, or all in one flow.
type flows interface {
	// send sends r. A returned error is a local one: r was never sent.
	send(r *request) error
	// ready reads what has arrived on the socket of r, or on that of all.
	ready(r *request)
	// giveUp reads once more for r and closes what belongs to r alone.
	giveUp(r *request)
	// close ends what outlives a request.
	close()
}

// lane is one target's requests, in the order of sending.
type lane struct {
	loop   *loop
	index  int
	target Target
	ticks  uint64     // requests that were due
	queue  []*request // from head on
	head   int
	free   []*request
	flows  flows
	whole  *tally
	names  map[string]string
	buffer [2048]byte
}

func newLane(l *loop, index int, t Target) *lane {
	lane := &lane{loop: l, index: index, target: t, whole: newTally(t, l.start, l.step), names: map[string]string{}}
	switch {
	case !l.cfg.Steady:
		lane.flows = newFresh(lane)
	case t.Protocol == UDP:
		lane.flows = &steadyUDP{lane: lane, fd: -1}
	default:
		lane.flows = &steadyTCP{lane: lane, fd: -1}
	}
	return lane
}

// request sends the request of this tick.
func (l *lane) request(now time.Duration) {
	var r *request
	if n := len(l.free); n > 0 {
		r, l.free = l.free[n-1], l.free[:n-1]
	} else {
		r = new(request)
	}
	*r = request{seq: l.ticks, segment: l.loop.running(), sent: now, fd: -1}
	if err := l.flows.send(r); err != nil {
		reason := reasonOf(err)
		l.whole.result.Errors[reason]++
		r.segment.tallies[l.index].result.Errors[reason]++
		l.free = append(l.free, r)
		return
	}
	r.segment.waiting++
	l.queue = append(l.queue, r)
}

// settle states the outcome of a request.
func (l *lane) settle(r *request, o outcome, backend string) {
	if r.outcome != pending {
		return
	}
	r.outcome, r.backend, r.latency = o, backend, l.loop.since()-r.sent
	l.drop(r)
}

func (l *lane) drop(r *request) {
	if r.fd >= 0 {
		l.loop.poll.drop(r.fd)
		r.fd = -1
	}
}

// expire settles what was sent before the given time, and counts from the oldest on.
func (l *lane) expire(before time.Duration) {
	for ; l.head < len(l.queue); l.head++ {
		r := l.queue[l.head]
		if r.outcome == pending {
			if r.sent > before {
				break
			}
			l.flows.giveUp(r)
			l.settle(r, silent, "")
		}
		l.count(r)
	}
	if l.head > len(l.queue)/2 {
		l.queue = append(l.queue[:0], l.queue[l.head:]...)
		l.head = 0
	}
}

func (l *lane) count(r *request) {
	l.whole.add(r.sent, r.outcome, r.latency, r.backend)
	r.segment.tallies[l.index].add(r.sent, r.outcome, r.latency, r.backend)
	r.segment.waiting--
	l.free = append(l.free, r)
}

// waiting returns the requests that are not counted yet, the oldest first.
func (l *lane) waiting() []*request { return l.queue[l.head:] }

// find returns the request with this number if its outcome is awaited.
func (l *lane) find(seq uint64) *request {
	q := l.waiting()
	i, ok := slices.BinarySearchFunc(q, seq, func(r *request, seq uint64) int { return cmp.Compare(r.seq, seq) })
	if !ok {
		return nil
	}
	return q[i]
}

// name keeps one string for each backend.
func (l *lane) name(b []byte) string {
	b = bytes.TrimSpace(b)
	if s, ok := l.names[string(b)]; ok {
		return s
	}
	s := string(b)
	l.names[s] = s
	return s
}

func (l *lane) close() { l.flows.close() }

// isAnswer says whether an error of sending is the network's answer to an earlier try,
// and not this host's inability to send.
func isAnswer(err error) bool {
	switch err {
	case unix.ECONNREFUSED, unix.ECONNRESET, unix.EPIPE, unix.EHOSTUNREACH:
		return true
	}
	return false
}

// isEmpty says whether an error of receiving means that nothing is there yet.
func isEmpty(err error) bool { return err == unix.EAGAIN || err == unix.EINTR }

func reasonOf(err error) string {
	if errno, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}
