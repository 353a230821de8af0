package bfd

import (
	"fmt"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// from is a packet of the usual peer.
func from(state State) packet {
	return packet{state: state, my: 7, your: 1, multiplier: 3, desiredTx: time.Second, requiredRx: 300 * time.Millisecond}
}

func fresh(p Profile) *machine {
	m := newMachine(p.complete(), 1, 42, at(0))
	m.tick(at(0), at(0))
	return &m
}

// in is a machine in a state, at 100 ms.
func in(t *testing.T, state State, p Profile) *machine {
	m := fresh(p)
	switch state {
	case AdminDown:
		m.receive(from(Down), at(10), at(10))
		m.retire("test", at(20))
	case Init:
		m.receive(from(Down), at(10), at(10))
	case Up:
		m.receive(from(Down), at(10), at(10))
		m.receive(from(Init), at(20), at(20))
		f := from(Up)
		f.final, f.desiredTx = true, 300*time.Millisecond
		m.tick(m.next, at(20)) // carries the Poll
		m.receive(f, at(90), at(90))
	}
	if m.state != state {
		t.Fatalf("the machine is %v, not %v", m.state, state)
	}
	return m
}

// Each row is a line of RFC 5880 §6.8.6.
func TestStateMachine(t *testing.T) {
	for _, row := range []struct {
		own, theirs, next State
		diag              Diagnostic
		reason            string
	}{
		{AdminDown, AdminDown, AdminDown, AdministrativelyDown, "test"},
		{AdminDown, Down, AdminDown, AdministrativelyDown, "test"},
		{AdminDown, Init, AdminDown, AdministrativelyDown, "test"},
		{AdminDown, Up, AdminDown, AdministrativelyDown, "test"},
		{Down, AdminDown, Down, NoDiagnostic, "added"},
		{Down, Down, Init, NoDiagnostic, "peer is heard"},
		{Down, Init, Up, NoDiagnostic, "peer hears us"},
		{Down, Up, Down, NoDiagnostic, "added"},
		{Init, AdminDown, Down, NeighborSignaledSessionDown, "peer is administratively down"},
		{Init, Down, Init, NoDiagnostic, "peer is heard"},
		{Init, Init, Up, NoDiagnostic, "peer hears us"},
		{Init, Up, Up, NoDiagnostic, "peer hears us"},
		{Up, AdminDown, Down, NeighborSignaledSessionDown, "peer is administratively down"},
		{Up, Down, Down, NeighborSignaledSessionDown, "peer went down: control detection time expired"},
		{Up, Init, Up, NoDiagnostic, "peer hears us"},
		{Up, Up, Up, NoDiagnostic, "peer hears us"},
	} {
		t.Run(fmt.Sprint(row.own, " hears ", row.theirs), func(t *testing.T) {
			m := in(t, row.own, Profile{})
			p := from(row.theirs)
			p.diag = ControlDetectionTimeExpired
			s := m.receive(p, at(100), at(100))
			if m.state != row.next || m.diag != row.diag || m.reason != row.reason {
				t.Errorf("%v, %v, %q", m.state, m.diag, m.reason)
			}
			if moved := row.own != row.next; s.moved != moved || s.send != moved {
				t.Errorf("moved %v, sends %v", s.moved, s.send)
			}
			if s.moved && (s.from != row.own || s.to != row.next || s.packet.state != row.next || s.packet.your != 7) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestDetectionTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		ours   time.Duration // Required Min RX
		theirs time.Duration // Desired Min TX
		mult   uint8
		want   time.Duration
	}{
		{"the peer is slower", 50 * time.Millisecond, 100 * time.Millisecond, 3, 300 * time.Millisecond},
		{"we are slower", 100 * time.Millisecond, 50 * time.Millisecond, 3, 300 * time.Millisecond},
		{"the peer's multiplier", 50 * time.Millisecond, 50 * time.Millisecond, 5, 250 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := in(t, Up, Profile{Receive: c.ours, Multiplier: 9})
			p := from(Up)
			p.desiredTx, p.multiplier = c.theirs, c.mult
			m.receive(p, at(1000), at(1000))
			end := at(1000).Add(c.want)
			if s := m.tick(end.Add(-1), end.Add(-1)); s.moved {
				t.Fatal("too early")
			}
			if s := m.tick(end.Add(time.Hour), end.Add(-1)); s.moved {
				t.Fatal("down, although not all is read (invariant 1)")
			}
			s := m.tick(end, end)
			if !s.moved || s.to != Down || s.reason != "detection time expired" || s.silence != c.want || s.packet.your != 0 ||
				s.packet.diag != ControlDetectionTimeExpired || s.packet.desiredTx < slow {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// A packet counts from when it came: one that was read late does not prolong the wait, one
// that came late but was read before anybody was called dead is a sign of life.
func TestPacketsCountFromWhenTheyCame(t *testing.T) {
	m := in(t, Up, Profile{})
	m.receive(from(Up), at(1000), at(3000))
	if due := m.heard.Add(m.detect()); due != at(4000) {
		t.Errorf("the detection time ends at %v", due)
	}
	m.receive(from(Up), at(4500), at(5000))
	if s := m.tick(at(5000), at(5000)); s.moved {
		t.Errorf("down: %+v", s)
	}
	m.receive(from(Up), at(4000), at(5001))
	if m.heard != at(4500) {
		t.Errorf("an older packet counts: %v", m.heard)
	}
}

func TestSlowStart(t *testing.T) {
	m := fresh(Profile{Transmit: 50 * time.Millisecond})
	var before time.Time
	for range 20 {
		now := m.next
		if s := m.tick(now, now); !s.send || s.packet.desiredTx != slow {
			t.Fatalf("%+v", s)
		}
		if gap := now.Sub(before); !before.IsZero() && (gap < 750*time.Millisecond || gap > time.Second) {
			t.Fatalf("a packet after %v", gap)
		}
		before = now
	}
}

func TestPassiveIsSilentUntilThePeerSpeaks(t *testing.T) {
	m := newMachine(Profile{Passive: true}.complete(), 1, 42, at(0))
	if !m.due().IsZero() || m.tick(at(5000), at(5000)).send {
		t.Fatal("it speaks first")
	}
	p := from(Down)
	p.your = 0
	if s := m.receive(p, at(6000), at(6000)); !s.send || s.to != Init || m.next.IsZero() {
		t.Fatalf("%+v", s)
	}
	if s := m.tick(at(60000), at(60000)); s.send || !s.moved || !m.due().IsZero() {
		t.Fatalf("a peer that is gone is spoken to: %+v", s)
	}
}

func TestIntervals(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet func(*packet)
		want   time.Duration
	}{
		{"ours", func(p *packet) { p.requiredRx = 100 * time.Millisecond }, 300 * time.Millisecond},
		{"the peer's", func(p *packet) { p.requiredRx = 400 * time.Millisecond }, 400 * time.Millisecond},
		{"the peer wants none", func(p *packet) { p.requiredRx = 0 }, 0},
		{"demand mode", func(p *packet) { p.demand = true }, 0},
		{"demand mode of a peer that is not up", func(p *packet) { p.demand, p.state = true, Init }, 300 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := in(t, Up, Profile{})
			p := from(Up)
			c.packet(&p)
			m.receive(p, at(1000), at(1000))
			if m.every != c.want || m.next.IsZero() != (c.want == 0) {
				t.Errorf("every %v", m.every)
			}
			p.poll = true
			if s := m.receive(p, at(1001), at(1001)); !s.send || !s.packet.final || s.packet.poll {
				t.Errorf("a Poll is answered by %+v", s)
			}
		})
	}
}

// A shorter interval of the peer counts from the last packet, RFC 5880 §6.8.3.
func TestAShorterIntervalIsHonouredAtOnce(t *testing.T) {
	m := in(t, Up, Profile{Transmit: 100 * time.Millisecond})
	p := from(Up)
	p.requiredRx = 20 * time.Second
	m.receive(p, at(1000), at(1000))
	m.tick(m.next, at(1000))
	sent := m.last
	p.requiredRx = 100 * time.Millisecond
	m.receive(p, sent.Add(5*time.Second), sent.Add(5*time.Second))
	if m.next.After(sent.Add(100 * time.Millisecond)) {
		t.Errorf("the next packet is due %v after the last", m.next.Sub(sent))
	}
}

func TestJitter(t *testing.T) {
	for _, c := range []struct{ mult, least, most int }{{3, 75, 100}, {1, 75, 90}} {
		m := machine{profile: Profile{Multiplier: c.mult}}
		low, high := time.Hour, time.Duration(0)
		for range 10000 {
			j := m.jitter(time.Second)
			low, high = min(low, j), max(high, j)
		}
		least, most := time.Duration(c.least)*10*time.Millisecond, time.Duration(c.most)*10*time.Millisecond
		if low < least || high > most || low > least+5*time.Millisecond || high < most-5*time.Millisecond {
			t.Errorf("multiplier %d: %v to %v", c.mult, low, high)
		}
	}
}

// RFC 5880 §6.8.3: what would let either side miss packets waits for the answer.
func TestPollSequence(t *testing.T) {
	m := in(t, Up, Profile{})
	slower := Profile{Transmit: time.Second, Receive: 100 * time.Millisecond}.complete()
	s := m.reprofile(slower, at(200))
	if !s.send || !s.packet.poll || s.packet.desiredTx != time.Second || s.packet.requiredRx != 100*time.Millisecond {
		t.Fatalf("%+v", s)
	}
	if m.every != 300*time.Millisecond || m.usedRx != 300*time.Millisecond {
		t.Fatalf("every %v, receiving %v before the answer", m.every, m.usedRx)
	}
	if s := m.tick(m.next, at(200)); !s.packet.poll {
		t.Fatal("the Poll is not repeated")
	}
	f := from(Up)
	f.final = true
	m.receive(f, at(2000), at(2000))
	if m.every != time.Second || m.usedRx != 100*time.Millisecond || m.polling {
		t.Fatalf("every %v, receiving %v after the answer", m.every, m.usedRx)
	}
	faster := Profile{Transmit: 50 * time.Millisecond, Receive: time.Second}.complete()
	f.requiredRx, f.final = 10*time.Millisecond, false
	m.receive(f, at(2001), at(2001))
	m.reprofile(faster, at(2002))
	if m.every != 50*time.Millisecond || m.usedRx != time.Second {
		t.Fatalf("every %v, receiving %v: these need no answer", m.every, m.usedRx)
	}
}

// The answer to a question asked before the newest change proves nothing of that change.
func TestAChangeDuringAPollIsPolledAgain(t *testing.T) {
	m := in(t, Up, Profile{})
	m.reprofile(Profile{Transmit: time.Second}.complete(), at(1000))
	m.reprofile(Profile{Transmit: 2 * time.Second}.complete(), at(1001))
	f := from(Up)
	f.final = true
	m.receive(f, at(1002), at(1002))
	if !m.polling || m.every != 300*time.Millisecond {
		t.Fatalf("polling %v, every %v", m.polling, m.every)
	}
	m.receive(f, at(1003), at(1003))
	if !m.polling {
		t.Fatal("an answer to what was not asked ends the Poll")
	}
	m.tick(m.next, at(1003))
	m.receive(f, at(1500), at(1500))
	if m.polling || m.every != 2*time.Second {
		t.Fatalf("polling %v, every %v", m.polling, m.every)
	}
}

func TestARestartedPeer(t *testing.T) {
	m := in(t, Up, Profile{})
	p := from(Up)
	p.my = 8 // says that it is up with us: no reason to go down
	if s := m.receive(p, at(1000), at(1000)); s.moved || m.remote.discr != 8 {
		t.Errorf("%+v", s)
	}
	p.my, p.your, p.state = 9, 0, Down
	s := m.receive(p, at(1001), at(1001))
	if !s.moved || s.to != Down || s.reason != "peer has restarted: no diagnostic" || s.packet.your != 9 {
		t.Errorf("%+v", s)
	}
}

func TestFarewell(t *testing.T) {
	m := in(t, Up, Profile{Transmit: 100 * time.Millisecond})
	if s := m.retire("gone", at(1000)); !s.send || s.packet.state != AdminDown || s.packet.diag != AdministrativelyDown {
		t.Fatalf("%+v", s)
	}
	n := 1
	for !m.said(m.due()) {
		if s := m.leave(m.due()); s.send {
			n++
		}
		if n == 2 {
			m.receive(from(Down), m.due(), m.due())
		}
	}
	if n != farewells {
		t.Errorf("%d packets for a peer that noticed", n)
	}
	m = in(t, Up, Profile{Transmit: 100 * time.Millisecond, Multiplier: 10})
	m.retire("gone", at(1000))
	for n = 1; !m.said(m.due()); n++ {
		m.leave(m.due())
	}
	if n < 10 || n > 14 {
		t.Errorf("%d packets for a peer that is silent", n)
	}
	m = fresh(Profile{})
	if s := m.retire("gone", at(1)); s.send || !m.said(at(1)) {
		t.Error("words for a peer that was never heard")
	}
}
