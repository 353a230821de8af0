package layer2

import (
	"errors"
	"net/netip"
	"time"
)

// rounds are the times of the announcements of a burst, from its start. The
// first three are for a frame that gets lost; the later ones for neighbours
// and switches that were busy, or that learned something older meanwhile.
var rounds = [...]time.Duration{
	0, 20 * time.Millisecond, 40 * time.Millisecond,
	time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
}

const (
	batch = 256                  // announcements at once
	pause = 2 * time.Millisecond // then a breath, and room in the transmit queues
	busy  = 20 * time.Millisecond
)

// errBusy means that a queue is full.
var errBusy = errors.New("transmit queue is full")

// burst is the series of announcements of one address on one port. It is dead
// when its seat has another one.
type burst struct {
	port  *port
	seat  *seat
	addr  netip.Addr
	start time.Time
}

// queue holds the bursts that wait for each round. All bursts have the same
// rounds, so each list is in the order of time.
type queue [len(rounds)][]*burst

// start begins a burst at the next call of announce, if there is a carrier.
func (r *runner) start(p *port, addr netip.Addr, s *seat) {
	if !p.link.running {
		return // update starts it
	}
	s.burst = &burst{port: p, seat: s, addr: addr, start: time.Now()}
	r.queue[0] = append(r.queue[0], s.burst)
}

// announce sends what is due, newcomers first, up to a batch, and returns how
// long to wait until the next one.
func (r *runner) announce(now time.Time) (wait time.Duration, any bool) {
	first, full, err := r.sendDue(now)
	for _, b := range first {
		r.a.tell(b)
	}
	switch {
	case err != nil:
		return busy, true
	case full:
		return pause, true
	}
	return r.queue.next(now)
}

// sendDue sends up to a batch, and returns the bursts that brought an address
// onto the wire for the first time.
func (r *runner) sendDue(now time.Time) (first []*burst, full bool, err error) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	sent := 0
	for round := range r.queue {
		for b := r.queue.first(round, now); b != nil; b = r.queue.first(round, now) {
			// The set may be newer than the seats.
			if h := r.a.held.Load().lookup(b.addr, b.port.face.Load()); h == nil || h.life != b.seat.life {
				r.queue.drop(round)
				continue
			}
			if sent++; sent > batch {
				return first, true, nil
			}
			err := r.send(b)
			if errors.Is(err, errBusy) {
				return first, false, err
			}
			r.queue.drop(round)
			if err == nil && !b.seat.sent {
				b.seat.sent = true
				if b.seat.life.since.CompareAndSwap(0, time.Now().UnixNano()) {
					first = append(first, b)
				}
			}
			if round+1 < len(rounds) {
				r.queue[round+1] = append(r.queue[round+1], b)
			}
		}
	}
	return first, false, nil
}

// first returns the first burst whose round is due.
func (q *queue) first(round int, now time.Time) *burst {
	for len(q[round]) > 0 {
		b := q[round][0]
		if b.seat.burst != b {
			q.drop(round)
			continue
		}
		if b.start.Add(rounds[round]).After(now) {
			return nil
		}
		return b
	}
	return nil
}

// drop removes the first burst of a round.
func (q *queue) drop(round int) {
	q[round][0] = nil
	if q[round] = q[round][1:]; len(q[round]) == 0 {
		q[round] = nil
	}
}

// next is how long to wait until the first round that is due.
func (q *queue) next(now time.Time) (wait time.Duration, any bool) {
	for round := range q {
		if len(q[round]) == 0 {
			continue
		}
		d := max(0, q[round][0].start.Add(rounds[round]).Sub(now))
		if !any || d < wait {
			wait, any = d, true
		}
	}
	return wait, any
}

// send sends the frames of one announcement.
func (r *runner) send(b *burst) error {
	own := b.port.link.mac
	var frames [2][]byte
	if b.addr.Is4() {
		for i, p := range arpAnnouncements(b.addr, own) {
			frames[i] = appendARP(r.frames[i][:0], broadcast, p)
		}
	} else {
		frames[0] = appendNDP(r.frames[0][:0], allNodes, own, advertisement(b.addr, allNodesIP, own))
	}
	for _, f := range frames {
		if f == nil {
			continue
		}
		if err := b.port.wire.Send(f); err != nil {
			r.a.count.sendErrors.Add(1)
			r.a.log.Debug("announcing", "address", b.addr, "interface", b.port.link.name, "err", err)
			return err
		}
		r.a.count.gratuitous.add(b.addr.Is6())
	}
	return nil
}

// tell says that an address is on the wire.
func (a *Announcer) tell(b *burst) {
	iface := b.port.face.Load().name
	a.log.Debug("announced", "address", b.addr, "interface", iface)
	if a.announced != nil {
		a.announced(b.addr, iface)
	}
}
