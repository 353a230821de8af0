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

// refresh is the time between two announcements of an address that stays where it
// is: less than the 5 minutes for which switches remember by default where a
// station is, should its owner be silent otherwise.
const refresh = 4 * time.Minute

const (
	batch = 256                  // announcements at once
	pause = 2 * time.Millisecond // then a breath, and room in the transmit queues
	busy  = 20 * time.Millisecond
)

// errBusy means that a queue is full.
var errBusy = errors.New("transmit queue is full")

// burst is the series of announcements of one address on one port, or of probes
// for it. It is dead when its port is closed, and when its seat has another one.
type burst struct {
	port  *port
	seat  *seat  // nil: these are probes
	probe *probe // nil: these are announcements
	addr  netip.Addr
	start time.Time
}

// probes is how many rounds of a burst ask for an address.
const probes = 3

func (b *burst) rounds() int {
	if b.probe != nil {
		return probes
	}
	return len(rounds)
}

func (b *burst) dead() bool { return b.port.closed || b.seat != nil && b.seat.burst != b }

// wanted says whether the burst is what the set asks for, which may be newer than
// the seats.
func (b *burst) wanted(t *table) bool {
	if b.probe != nil {
		return t.probed[b.addr] == b.probe
	}
	h := t.lookup(b.addr, b.port.face.Load())
	return h != nil && h.life == b.seat.life
}

// queue holds the bursts that wait for each round, and last those that wait to be
// refreshed. All bursts have the same rounds, so each list is in the order of time.
type queue [len(rounds) + 1][]*burst

// after is when a round is due, from the start of a burst or its last refresh.
func after(round int) time.Duration {
	if round < len(rounds) {
		return rounds[round]
	}
	return refresh
}

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
			if !b.wanted(r.a.held.Load()) {
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
			if err == nil && b.seat != nil && !b.seat.sent {
				b.seat.sent = true
				if b.seat.life.since.CompareAndSwap(0, time.Now().UnixNano()) {
					first = append(first, b)
				}
			}
			r.queue.again(b, round, now)
		}
	}
	return first, false, nil
}

// first returns the first burst whose round is due.
func (q *queue) first(round int, now time.Time) *burst {
	for len(q[round]) > 0 {
		b := q[round][0]
		if b.dead() {
			q.drop(round)
			continue
		}
		if b.start.Add(after(round)).After(now) {
			return nil
		}
		return b
	}
	return nil
}

// again puts a burst where it waits for what follows a round.
func (q *queue) again(b *burst, round int, now time.Time) {
	next := round + 1
	if next >= b.rounds() {
		if b.probe != nil {
			return
		}
		next, b.start = len(rounds), now
	}
	q[next] = append(q[next], b)
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
		d := max(0, q[round][0].start.Add(after(round)).Sub(now))
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
	count := &r.a.count.gratuitous
	if b.probe != nil {
		frames[0] = question(r.frames[0][:0], b.addr, own)
		count = &r.a.count.probes
	} else if b.addr.Is4() {
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
		count.add(b.addr.Is6())
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
