package bfd

import "time"

// timers are the intervals of a machine and its Poll Sequence (RFC 5880 §6.5, §6.8.2,
// §6.8.3, §6.8.7).
type timers struct {
	desiredTx, requiredRx time.Duration // advertised
	usedTx, usedRx        time.Duration // in force: differ while a Poll is not answered

	polling bool // packets carry the P bit until one with the F bit comes
	asked   bool // one with the P bit has been sent
	again   bool // the timers changed after that: once more

	every  time.Duration // between periodic packets, before jitter; 0: none are sent
	last   time.Time     // when the newest packet was sent
	next   time.Time     // when the next periodic one is due; zero: none is
	random uint64
}

// wanted are the timers of the profile in the present state.
func (m *machine) wanted() (tx, rx time.Duration) {
	tx, rx = m.profile.Transmit, m.profile.Receive
	if m.state != Up {
		tx = max(tx, slow)
	}
	return tx, rx
}

// negotiate advertises the timers that are wanted, by a Poll Sequence if they are
// others than before. On a session that is up, a longer transmit interval and a
// shorter detection time wait for the answer.
func (m *machine) negotiate() {
	tx, rx := m.wanted()
	changed := tx != m.desiredTx || rx != m.requiredRx
	m.desiredTx, m.requiredRx = tx, rx
	if m.state != Up || tx < m.usedTx {
		m.usedTx = tx
	}
	if m.state != Up || rx > m.usedRx {
		m.usedRx = rx
	}
	switch {
	case m.remote.discr == 0 || m.state == AdminDown: // nobody is there to answer
		m.polling, m.asked, m.again = false, false, false
	case !changed:
	case m.polling:
		m.again = m.asked
	default:
		m.polling = true
	}
}

// answered ends a Poll Sequence, or begins the next.
func (m *machine) answered() {
	switch {
	case m.remote.discr == 0:
	case !m.polling || !m.asked:
		return // the answer to a question that was not asked
	case m.again:
		m.again, m.asked = false, false
		return
	}
	m.polling, m.asked, m.again = false, false, false
	m.usedTx, m.usedRx = m.desiredTx, m.requiredRx
	m.pace()
}

// detect is the detection time (RFC 5880 §6.8.4); of no use while the peer is not heard.
func (m *machine) detect() time.Duration {
	return time.Duration(m.remote.multiplier) * max(m.usedRx, m.remote.desiredTx)
}

// interval is the time between periodic packets before jitter, or 0 if none may be
// sent (RFC 5880 §6.8.7).
func (m *machine) interval() time.Duration {
	switch {
	case m.state == AdminDown:
		return m.farewell.every
	case m.profile.Passive && m.remote.discr == 0:
		return 0
	case m.remote.requiredRx == 0:
		return 0
	case m.remote.demand && m.state == Up && m.remote.state == Up && !m.polling:
		return 0
	}
	return max(m.usedTx, m.remote.requiredRx)
}

// pace sets when the next periodic packet is due if the interval is another than
// before: no later than that interval after the last one (RFC 5880 §6.8.3).
func (m *machine) pace() {
	every := m.interval()
	if every == m.every {
		return
	}
	m.every = every
	m.schedule()
}

// sent notes that a packet goes out now.
func (m *machine) sent(now time.Time) {
	m.last = now
	m.every = m.interval()
	m.schedule()
}

func (m *machine) schedule() {
	m.next = time.Time{}
	if m.every != 0 {
		m.next = m.last.Add(m.jitter(m.every))
	}
}

// jitter is 75 to 100 % of the interval, and at most 90 % where the peer declares us
// down after a single interval (RFC 5880 §6.8.7).
func (m *machine) jitter(every time.Duration) time.Duration {
	m.random += 0x9e3779b97f4a7c15 // splitmix64
	z := m.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	spread := every / 4
	if m.profile.Multiplier == 1 {
		spread = every * 15 / 100
	}
	return every*3/4 + time.Duration(z%uint64(spread+1))
}
