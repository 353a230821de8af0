package bgp

import (
	"fmt"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	// openWait is how long an OPEN may take, once connected. RFC 4271 §8.2.2
	// suggests 4 minutes; a router that is there answers within a second.
	openWait = 10 * time.Second
	// firstRetry is the wait after the first failure; it doubles up to Peer.Connect.
	firstRetry = time.Second
)

// A side says who opened a connection. There may be one of each until their
// OPENs tell which one stays (RFC 4271 §6.8).
type side uint8

const (
	dialled side = iota
	accepted
	sides
)

func (s side) other() side { return 1 - s }

// A machine is the state of one session: RFC 4271 §8 as a function of inputs,
// with time as data. Each input returns what is to be done, in that order.
// Nothing in it waits, and it does not know sockets.
type machine struct {
	ours     func(s side) open // our OPEN on a connection
	agree    func(ours, theirs open) (terms, *notification)
	connect  time.Duration // longest wait between attempts
	jitter   func() float64
	state    State
	why      string // of state
	dialing  bool
	links    [sides]link
	failures int       // in a row, since a session was established
	retryAt  time.Time // zero: no attempt is due
	waiting  bool      // until then for BFD: nothing is dialled, and no connection may be brought
	stopped  bool
}

// A link is one connection. Its state is Idle if there is none.
type link struct {
	state        State
	until        time.Time // when the hold timer expires; zero: never
	ours, theirs open
	terms        terms
}

// An order is one thing that a machine wants done.
type order struct {
	do     verb
	side   side
	open   open          // sayOpen
	terms  terms         // sayAlive, establish
	theirs open          // establish
	note   *notification // end: what to say before; nil: nothing
	family family        // refresh
	event  Event         // report
}

type verb uint8

const (
	dial       verb = iota // connect
	cancelDial             // stop connecting
	sayOpen                // send our OPEN
	sayAlive               // send a KEEPALIVE
	establish              // send everything
	refresh                // send a family again
	end                    // close a connection
	report                 // the state has changed
)

// start makes the first attempt, after a wait for BFD.
func (m *machine) start(now time.Time, wait time.Duration) []order {
	return m.begin(now, wait, "first attempt")
}

// hurry makes an attempt at once, or after a wait for BFD, if one is only waited
// for: the router has shown up.
func (m *machine) hurry(now time.Time, wait time.Duration, why string) []order {
	if m.stopped || m.dialing || m.retryAt.IsZero() {
		return nil
	}
	return m.begin(now, wait, why)
}

// begin dials, or waits for BFD: hurry may cut that short.
func (m *machine) begin(now time.Time, wait time.Duration, why string) (out []order) {
	m.retryAt, m.waiting = time.Time{}, wait > 0
	if m.waiting {
		m.retryAt, why = now.Add(wait), fmt.Sprintf("BFD speaks first: waiting until it is up, %s at most", wait.Round(time.Millisecond))
	} else {
		m.dialing = true
		out = []order{{do: dial}}
	}
	return m.settle(now, out, why)
}

// tick is told the time, and when each connection was last heard.
func (m *machine) tick(now time.Time, heard [sides]time.Time) []order {
	for s := range sides {
		l := &m.links[s]
		if l.until.IsZero() {
			continue
		}
		if hold := l.terms.Hold; l.state >= OpenConfirm && heard[s].Add(hold).After(l.until) {
			l.until = heard[s].Add(hold)
		}
		if now.Before(l.until) {
			continue
		}
		if l.state == OpenSent {
			n := &notification{code: packet.BGP_ERROR_HOLD_TIMER_EXPIRED}
			return m.drop(now, s, n, fmt.Sprintf("the router is connected, and sent no OPEN for %s", openWait))
		}
		n := &notification{code: packet.BGP_ERROR_HOLD_TIMER_EXPIRED}
		return m.drop(now, s, n, fmt.Sprintf("hold timer expired: nothing heard for %s", l.terms.Hold))
	}
	if !m.retryAt.IsZero() && !now.Before(m.retryAt) {
		if m.waiting {
			return m.begin(now, 0, "BFD has been waited for")
		}
		return m.begin(now, 0, "next attempt")
	}
	return nil
}

// next is when tick must be called; zero: no need.
func (m *machine) next() (at time.Time) {
	at = m.retryAt
	for _, l := range m.links {
		if !l.until.IsZero() && (at.IsZero() || l.until.Before(at)) {
			at = l.until
		}
	}
	return at
}

// dialFailed ends an attempt.
func (m *machine) dialFailed(now time.Time, why string) []order {
	if !m.dialing {
		return nil
	}
	m.dialing = false
	return m.settle(now, nil, why)
}

// connected brings a connection.
func (m *machine) connected(now time.Time, s side) []order {
	var out []order
	if s == dialled {
		m.dialing = false
	}
	standing := m.links[s.other()]
	switch {
	case m.stopped:
		return []order{{do: end, side: s}}
	case standing.state == Established && !(s == accepted && standing.terms.Restart):
		// A router that restarts gracefully may connect while its last session
		// still stands here (RFC 4724 §5); nobody else.
		return []order{{do: end, side: s, note: cease(packet.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION, "a session is established")}}
	}
	l := &m.links[s]
	*l = link{state: OpenSent, until: now.Add(openWait), ours: m.ours(s)}
	out = append(out, order{do: sayOpen, side: s, open: l.ours})
	return m.settle(now, out, [...]string{"connected to the router", "the router has connected"}[s])
}

// aside makes room for another connection that the router opens, beside the one that
// is established: only its OPEN tells that the router has restarted. The dialled side
// is free, since an established session leaves no other connection.
func (m *machine) aside() {
	m.links[dialled], m.links[accepted] = m.links[accepted], link{}
}

// lost is a connection that has ended, or cannot be used any more.
func (m *machine) lost(now time.Time, s side, note *notification, why string) []order {
	if m.links[s].state == Idle {
		return nil
	}
	return m.drop(now, s, note, why)
}

// received brings a message. UPDATEs and KEEPALIVEs of an established session
// need not be brought, if tick is told of them.
func (m *machine) received(now time.Time, s side, kind uint8, body []byte) []order {
	l := &m.links[s]
	if l.state == Idle {
		return nil
	}
	switch {
	case kind == packet.BGP_MSG_NOTIFICATION:
		return m.drop(now, s, nil, "the router closed the session: "+parseNotification(body).String())
	case l.state == OpenSent && kind == packet.BGP_MSG_OPEN:
		return m.opened(now, s, body)
	case l.state == OpenConfirm && kind == packet.BGP_MSG_KEEPALIVE:
		return m.established(now, s)
	case l.state == Established && (kind == packet.BGP_MSG_UPDATE || kind == packet.BGP_MSG_KEEPALIVE):
		return nil
	case l.state == Established && kind == packet.BGP_MSG_ROUTE_REFRESH:
		if f, ok := refreshedFamily(body); ok && l.terms.Families[f] {
			return []order{{do: refresh, side: s, family: f}}
		}
		return nil // RFC 2918 §4: one for another family is ignored
	}
	// RFC 6608; OpenSent is 1, OpenConfirm 2, Established 3.
	n := &notification{code: packet.BGP_ERROR_FSM_ERROR, subcode: uint8(l.state-OpenSent) + 1, octets: []byte{kind}}
	return m.drop(now, s, n, fmt.Sprintf("the router sent a message of type %d in state %s", kind, l.state))
}

// opened is OpenSent to OpenConfirm, and the choice between two connections.
func (m *machine) opened(now time.Time, s side, body []byte) []order {
	l := &m.links[s]
	theirs, n := parseOpen(body)
	if n == nil {
		l.terms, n = m.agree(l.ours, theirs)
	}
	if n != nil {
		return m.drop(now, s, n, n.String())
	}
	l.theirs = theirs
	var out []order
	collision := cease(packet.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION, "")
	switch other := &m.links[s.other()]; other.state {
	case OpenConfirm:
		if dominant(l.ours, theirs) != s {
			*l = link{}
			return m.settle(now, []order{{do: end, side: s, note: collision}}, "two connections: the other one stays")
		}
		*other = link{}
		out = append(out, order{do: end, side: s.other(), note: collision})
	case Established: // RFC 4724 §5: without a word
		*other = link{}
		out = append(out, order{do: end, side: s.other()})
		m.report(now, &out, m.compute(), "the router restarted and connected anew")
	}
	l.state, l.until = OpenConfirm, time.Time{}
	if l.terms.Hold > 0 {
		l.until = now.Add(l.terms.Hold)
	}
	out = append(out, order{do: sayAlive, side: s, terms: l.terms})
	return m.settle(now, out, "OPEN received")
}

// dominant is the connection that stays of two: the one that the speaker with
// the higher identifier opened (RFC 4271 §6.8), or the higher AS (RFC 6286 §2.3).
func dominant(ours, theirs open) side {
	c := ours.ID.Compare(theirs.ID)
	if c > 0 || c == 0 && ours.AS > theirs.AS {
		return dialled
	}
	return accepted
}

// established is OpenConfirm to Established: no other connection or attempt is left.
func (m *machine) established(now time.Time, s side) []order {
	l := &m.links[s]
	var out []order
	if m.dialing {
		m.dialing = false
		out = append(out, order{do: cancelDial})
	}
	if other := &m.links[s.other()]; other.state != Idle {
		*other = link{}
		out = append(out, order{do: end, side: s.other(), note: cease(packet.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION, "")})
	}
	l.state = Established
	if l.terms.Hold > 0 {
		l.until = now.Add(l.terms.Hold)
	}
	m.failures = 0
	out = append(out, order{do: establish, side: s, terms: l.terms, theirs: l.theirs})
	return m.settle(now, out, "established")
}

// standing is the connection whose session is established, if there is one.
func (m *machine) standing() (link, bool) {
	for _, l := range m.links {
		if l.state == Established {
			return l, true
		}
	}
	return link{}, false
}

// stop ends the session for good.
func (m *machine) stop(now time.Time, note *notification, why string) []order {
	m.stopped = true
	return m.shut(now, note, why)
}

// restart ends the session, and makes another at once, or after a wait for BFD.
func (m *machine) restart(now time.Time, note *notification, wait time.Duration, why string) []order {
	out := m.shut(now, note, why)
	return append(out, m.begin(now, wait, why)...)
}

// shut ends whatever there is.
func (m *machine) shut(now time.Time, note *notification, why string) (out []order) {
	for s := range sides {
		if m.links[s].state != Idle {
			m.links[s] = link{}
			out = append(out, order{do: end, side: s, note: note})
		}
	}
	if m.dialing {
		m.dialing = false
		out = append(out, order{do: cancelDial})
	}
	m.retryAt, m.waiting, m.failures = time.Time{}, false, 0
	m.report(now, &out, Idle, why)
	return out
}

// drop ends one connection.
func (m *machine) drop(now time.Time, s side, note *notification, why string) []order {
	m.links[s] = link{}
	return m.settle(now, []order{{do: end, side: s, note: note}}, why)
}

// settle finds the state that the session is in now, and plans the next
// attempt if there is nothing else to wait for.
func (m *machine) settle(now time.Time, out []order, why string) []order {
	idle := m.links[dialled].state == Idle && m.links[accepted].state == Idle
	if idle && !m.dialing && !m.stopped && m.retryAt.IsZero() {
		m.retryAt = now.Add(m.backoff())
		m.failures++
	}
	if !idle {
		m.retryAt = time.Time{}
	}
	m.report(now, &out, m.compute(), why)
	return out
}

// backoff is the wait before the next attempt, with the jitter of RFC 4271 §10.
func (m *machine) backoff() time.Duration {
	wait := max(m.connect, firstRetry)
	if m.failures < 16 {
		wait = min(wait, firstRetry<<m.failures)
	}
	return time.Duration(float64(wait) * m.jitter())
}

// compute is the state of the session, from those of its connections.
func (m *machine) compute() State {
	s := max(m.links[dialled].state, m.links[accepted].state)
	switch {
	case s != Idle:
		return s
	case m.dialing:
		return Connect
	case m.stopped:
		return Idle
	}
	return Active
}

// report adds a change of state, if there is one, to what is to be done.
func (m *machine) report(now time.Time, out *[]order, to State, why string) {
	if m.state == to {
		return
	}
	*out = append(*out, order{do: report, event: Event{From: m.state, To: to, Reason: why, At: now}})
	m.state, m.why = to, why
}
