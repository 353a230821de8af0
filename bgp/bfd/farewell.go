package bfd

import "time"

// farewell is how a session that is no longer wanted tells its peer so. AdminDown
// goes out at once, and again at the pace that the session had (which the peer has
// declared to bear), until the peer's packets show that it has noticed or, by then,
// has had its own detection time.
type farewell struct {
	every   time.Duration
	sent    int // packets
	until   time.Time
	noticed bool
}

// farewells is the least number of packets that say goodbye.
const farewells = 3

// retire takes the session down because it is not wanted.
func (m *machine) retire(reason string, now time.Time) step {
	if m.state == AdminDown {
		return step{}
	}
	known := m.remote.discr != 0
	every := max(min(m.usedTx, m.profile.Transmit), m.remote.requiredRx)
	s := m.move(AdminDown, AdministrativelyDown, reason, now)
	if known {
		m.farewell = farewell{every: every, sent: 1, until: now.Add(time.Duration(m.profile.Multiplier) * every)}
		m.transmit(&s, now)
	}
	m.pace()
	return s
}

// leave is tick for a session that is retired.
func (m *machine) leave(now time.Time) (s step) {
	if !m.said(now) && !now.Before(m.next) {
		m.farewell.sent++
		m.transmit(&s, now)
	}
	return s
}

// said tells that a session is retired and has nothing more to say.
func (m *machine) said(now time.Time) bool {
	f := &m.farewell
	return m.state == AdminDown && (f.sent == 0 || f.sent >= farewells && (f.noticed || !now.Before(f.until)))
}

// revive makes a retired session wanted again.
func (m *machine) revive(p Profile, now time.Time) step {
	m.profile, m.farewell = p, farewell{}
	s := m.move(Down, NoDiagnostic, "added", now)
	m.transmit(&s, now)
	return s
}
