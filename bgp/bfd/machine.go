package bfd

import "time"

// machine is one session, pure: what it does follows from what it is told and when,
// and all it does is to return a step. Its inputs are receive, tick, reprofile,
// retire and revive; due tells when tick is wanted next. Times may come in any
// order; they are compared, never read.
type machine struct {
	profile Profile // complete
	state   State
	since   time.Time
	reason  string
	diag    Diagnostic
	discr   uint32
	remote  remote
	heard   time.Time // when the newest packet came; zero: the peer is not heard

	timers
	farewell farewell
	ups      uint64
	downs    uint64
}

// remote is what the peer's newest packet said.
type remote struct {
	discr      uint32 // 0: the peer is not heard
	state      State
	diag       Diagnostic
	demand     bool
	desiredTx  time.Duration
	requiredRx time.Duration
	multiplier int
}

// unheard is what is assumed of a peer that is not heard (RFC 5880 §6.8.1).
var unheard = remote{state: Down, requiredRx: time.Microsecond}

// step is what is to be done after an input, and what has changed.
type step struct {
	send   bool
	packet packet

	moved    bool
	from, to State
	reason   string
	peer     remote        // before it was forgotten
	silence  time.Duration // since the newest packet came; 0: none had
}

// fsm is the table of RFC 5880 §6.8.6: the state that follows from ours (row) and
// from that in a packet (column: AdminDown, Down, Init, Up).
var fsm = [4][4]State{
	AdminDown: {AdminDown, AdminDown, AdminDown, AdminDown},
	Down:      {Down, Init, Up, Down},
	Init:      {Down, Init, Up, Up},
	Up:        {Down, Down, Up, Up},
}

// newMachine is a session that has heard nothing. discr is not 0 and no other
// session's; seed makes its jitter.
func newMachine(p Profile, discr uint32, seed uint64, now time.Time) machine {
	m := machine{profile: p, state: Down, since: now, reason: "added", discr: discr, remote: unheard, timers: timers{random: seed}}
	m.desiredTx, m.requiredRx = m.wanted()
	m.usedTx, m.usedRx = m.desiredTx, m.requiredRx
	m.pace()
	return m
}

// receive takes a packet that was for this session and that parse has passed. It
// came at a moment that may lie before now.
func (m *machine) receive(p packet, came, now time.Time) step {
	known := m.remote.discr
	m.remote = remote{discr: p.my, state: p.state, diag: p.diag, demand: p.demand,
		desiredTx: p.desiredTx, requiredRx: p.requiredRx, multiplier: int(p.multiplier)}
	if came.After(m.heard) {
		m.heard = came
	}
	if p.final {
		m.answered()
	}
	if m.state == AdminDown { // RFC 5880 §6.8.6: nothing else of the packet counts
		m.farewell.noticed = m.farewell.sent > 0 && p.state <= Down
		return step{}
	}
	var s step
	if next := fsm[m.state][p.state]; next != m.state {
		diag, reason := why(m.state, next, p, known)
		s = m.move(next, diag, reason, now)
	}
	switch {
	case p.poll:
		s.send, s.packet = true, m.packet(true)
		m.sent(now)
	case s.moved:
		m.transmit(&s, now)
	default:
		m.pace()
	}
	return s
}

// why gives the diagnostic and the reason of a change that a packet brought. known
// is the peer's discriminator before it.
func why(from, to State, p packet, known uint32) (Diagnostic, string) {
	switch {
	case to == Up:
		return NoDiagnostic, "peer hears us"
	case to == Init:
		return NoDiagnostic, "peer is heard"
	case p.state == AdminDown:
		return NeighborSignaledSessionDown, "peer is administratively down"
	case known != 0 && p.my != known:
		return NeighborSignaledSessionDown, "peer has restarted: " + p.diag.String()
	}
	return NeighborSignaledSessionDown, "peer went down: " + p.diag.String()
}

// tick does what is due: it forgets a peer that has been silent for the detection
// time, and sends. read is the moment up to which all packets that have come are known
// (invariant 1), no later than now.
func (m *machine) tick(now, read time.Time) step {
	var s step
	if m.overdue(read) {
		peer, silence := m.remote, now.Sub(m.heard)
		m.remote, m.heard = unheard, time.Time{}
		if m.state == Init || m.state == Up {
			s = m.move(Down, ControlDetectionTimeExpired, "detection time expired", now)
			s.peer, s.silence = peer, silence
			m.transmit(&s, now)
			return s
		}
		m.answered() // nobody is there to answer a Poll
		m.pace()
	}
	if !m.next.IsZero() && !now.Before(m.next) {
		m.transmit(&s, now)
	}
	return s
}

// overdue tells that the peer has been silent for the detection time.
func (m *machine) overdue(read time.Time) bool {
	return !m.heard.IsZero() && !read.Before(m.heard.Add(m.detect()))
}

// due is when tick is wanted; zero: not until there is another input.
func (m *machine) due() time.Time {
	due := m.next
	if !m.heard.IsZero() && m.state != AdminDown {
		if at := m.heard.Add(m.detect()); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

// move changes the state, and what follows from it.
func (m *machine) move(to State, diag Diagnostic, reason string, now time.Time) step {
	s := step{moved: true, from: m.state, to: to, reason: reason, peer: m.remote}
	if !m.heard.IsZero() {
		s.silence = max(now.Sub(m.heard), 0)
	}
	switch {
	case to == Up:
		m.ups++
	case m.state == Up:
		m.downs++
	}
	m.state, m.diag, m.since, m.reason = to, diag, now, reason
	m.negotiate()
	return s
}

// reprofile puts another profile in force.
func (m *machine) reprofile(p Profile, now time.Time) step {
	var s step
	if p == m.profile {
		return s
	}
	m.profile = p
	m.negotiate()
	m.pace()
	if m.every != 0 { // RFC 5880 §6.8.7: not before the interval ends, unless the contents change
		m.transmit(&s, now)
	}
	return s
}

// transmit puts a packet into a step, unless the session is passive and has heard
// nothing (RFC 5880 §6.8.7).
func (m *machine) transmit(s *step, now time.Time) {
	if m.profile.Passive && m.remote.discr == 0 {
		m.pace()
		return
	}
	s.send, s.packet = true, m.packet(false)
	m.sent(now)
}

// packet is what the session has to say.
func (m *machine) packet(final bool) packet {
	p := packet{diag: m.diag, state: m.state, final: final, poll: m.polling && !final,
		multiplier: uint8(m.profile.Multiplier), my: m.discr, your: m.remote.discr,
		desiredTx: m.desiredTx, requiredRx: m.requiredRx}
	m.asked = m.asked || p.poll
	return p
}
