package bfd

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A simulation is two machines and a wire that delays, loses and doubles packets. The
// clock of the second machine is shifted and runs at another speed.
type simulation struct {
	t      *rapid.T
	now    time.Time
	ends   [2]*end
	wire   deliveries
	seq    int
	chance *rand.Rand
	loss   int           // percent
	delay  time.Duration // at most
	wrong  func(*end)    // after every input: breaks the machine
	rules  []func(*end, step) string
}

type end struct {
	m       machine
	skew    float64
	offset  time.Duration
	stopped bool      // its machine does nothing
	arrived time.Time // when the newest packet came, on the clock of the simulation
	sent    time.Time
	last    time.Time // when the newest packet that it sent comes: they keep their order
	downAt  time.Time
	reason  string
}

type delivery struct {
	at     time.Time
	seq    int
	to     int
	packet packet
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return d[i].at.Before(d[j].at) || d[i].at.Equal(d[j].at) && d[i].seq < d[j].seq
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

// local is a moment as the end's clock shows it; global turns it back.
func (e *end) local(at time.Time) time.Time {
	return epoch.Add(e.offset + time.Duration(float64(at.Sub(epoch))*e.skew))
}

func (e *end) global(at time.Time) time.Time {
	return epoch.Add(time.Duration(float64(at.Sub(epoch)-e.offset) / e.skew)).Add(time.Nanosecond)
}

func drawProfile(t *rapid.T, name string) Profile {
	interval := rapid.SampledFrom([]time.Duration{20, 50, 100, 300, 1000})
	return Profile{Transmit: interval.Draw(t, name+" transmit") * time.Millisecond,
		Receive:    interval.Draw(t, name+" receive") * time.Millisecond,
		Multiplier: rapid.SampledFrom([]int{2, 3, 5}).Draw(t, name+" multiplier")}
}

func newSimulation(t *rapid.T) *simulation {
	s := &simulation{t: t, now: epoch, chance: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "chance"), 0)),
		delay: time.Duration(rapid.IntRange(0, 4000).Draw(t, "delay µs")) * time.Microsecond}
	for i := range s.ends {
		p := drawProfile(t, fmt.Sprint("end ", i))
		p.Passive = i == 1 && rapid.Bool().Draw(t, "passive")
		e := &end{skew: 1, sent: epoch, downAt: epoch}
		if i == 1 {
			e.skew = rapid.Float64Range(0.999, 1.001).Draw(t, "skew")
			e.offset = time.Duration(rapid.IntRange(-5000, 5000).Draw(t, "offset ms")) * time.Millisecond
		}
		e.m = newMachine(p.complete(), uint32(i+1), rapid.Uint64().Draw(t, "seed"), e.local(epoch))
		s.ends[i] = e
	}
	return s
}

// until runs the world until a moment or until is holds.
func (s *simulation) until(limit time.Time, is func() bool) bool {
	for !is() {
		next, who := limit, -1
		for i, e := range s.ends {
			if due := e.m.due(); !e.stopped && !due.IsZero() && e.global(due).Before(next) {
				next, who = e.global(due), i
			}
		}
		if len(s.wire) > 0 && !s.wire[0].at.After(next) {
			d := heap.Pop(&s.wire).(delivery)
			s.forward(d.at)
			if e := s.ends[d.to]; !e.stopped {
				e.arrived = s.now
				s.input(d.to, func(now time.Time) step { return e.m.receive(d.packet, now, now) })
			}
			continue
		}
		if who < 0 {
			s.forward(limit)
			return is()
		}
		s.forward(next)
		s.input(who, func(now time.Time) step { return s.ends[who].m.tick(now, now) })
	}
	return true
}

func (s *simulation) forward(to time.Time) {
	if to.After(s.now) {
		s.now = to
	}
}

// input lets one machine do something, and puts what it sends on the wire.
func (s *simulation) input(who int, do func(time.Time) step) {
	e := s.ends[who]
	st := do(e.local(s.now))
	for _, rule := range s.rules {
		if broken := rule(e, st); broken != "" {
			s.t.Fatalf("%v, end %d: %s", s.now.Sub(epoch), who, broken)
		}
	}
	if s.wrong != nil {
		s.wrong(e)
	}
	if st.moved {
		e.reason = st.reason
		if st.to == Down {
			e.downAt = s.now
		}
	}
	if !st.send {
		return
	}
	e.sent = s.now
	for range 1 + s.chance.IntN(20)/19 {
		if s.chance.IntN(100) < s.loss {
			continue
		}
		s.seq++
		delay := time.Duration(s.chance.Int64N(int64(s.delay) + 1))
		e.last = later(e.last, s.now.Add(delay))
		heap.Push(&s.wire, delivery{e.last, s.seq, 1 - who, st.packet})
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (s *simulation) up() bool {
	return s.ends[0].m.state == Up && s.ends[1].m.state == Up
}

func never() bool { return false }

func (s *simulation) settled() bool {
	return s.up() && !s.ends[0].m.polling && !s.ends[1].m.polling
}

func (s *simulation) after(d time.Duration) time.Time { return s.now.Add(d) }

// paced holds invariant 4: who is not up sends at most once a second, but for changes of
// state and answers.
func paced(e *end, st step) string {
	gap := e.m.last.Sub(e.local(e.sent))
	if st.send && !st.moved && !st.packet.final && e.m.state != Up && e.m.state != AdminDown && e.m.ups+e.m.downs == 0 &&
		gap > time.Millisecond && gap < 749*time.Millisecond {
		return fmt.Sprintf("%v, and a packet after %v", e.m.state, gap)
	}
	return ""
}

// converge holds that two machines come up over a bad wire, stay up over a good one, and
// that their timers are what the RFC makes of both wishes.
func converge(t *rapid.T, wrong func(*end)) {
	s := newSimulation(t)
	s.wrong, s.rules = wrong, []func(*end, step) string{paced}
	s.loss = rapid.SampledFrom([]int{0, 10, 30}).Draw(t, "loss %")
	if !s.until(s.after(10*time.Minute), s.up) {
		t.Fatalf("%v and %v after ten minutes", s.ends[0].m.state, s.ends[1].m.state)
	}
	s.loss = 0
	s.until(s.after(20*time.Second), never)
	if !s.settled() {
		t.Fatalf("%v and %v, polling %v and %v, when all is well", s.ends[0].m.state, s.ends[1].m.state,
			s.ends[0].m.polling, s.ends[1].m.polling)
	}
	s.rightTimers()
}

func (s *simulation) rightTimers() {
	for i, e := range s.ends {
		own, other := e.m.profile, s.ends[1-i].m.profile
		if want := max(own.Transmit, other.Receive); e.m.every != want {
			s.t.Fatalf("end %d sends every %v, not %v", i, e.m.every, want)
		}
		if want := time.Duration(other.Multiplier) * max(own.Receive, other.Transmit); e.m.detect() != want {
			s.t.Fatalf("end %d detects after %v, not %v", i, e.m.detect(), want)
		}
	}
}

func TestAlwaysConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { converge(t, nil) })
}

// detection holds that a peer that falls silent is declared down when the detection time
// has passed since its last packet came: not before, and not after.
func detection(t *rapid.T, wrong func(*end)) {
	s := newSimulation(t)
	s.until(s.after(10*time.Minute), s.settled)
	s.wrong = wrong
	s.until(s.after(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms"))*time.Millisecond), never)
	e, peer := s.ends[0], s.ends[1]
	peer.stopped = true
	allowed := time.Duration(peer.m.profile.Multiplier) * max(e.m.profile.Receive, peer.m.profile.Transmit)
	if !s.until(s.after(time.Hour), func() bool { return e.m.state == Down }) {
		t.Fatal("it was never noticed")
	}
	if took := e.downAt.Sub(e.arrived); took < allowed || took > allowed+time.Microsecond {
		t.Fatalf("noticed after %v, not %v", took, allowed)
	}
	if e.reason != "detection time expired" || e.m.remote.discr != 0 {
		t.Fatalf("%q, %+v", e.reason, e.m.remote)
	}
}

func TestAlwaysDetectsSilenceInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { detection(t, nil) })
}

// steady holds that changes of profile never take a session down on a wire that loses
// nothing, and are in force in the end (invariant 5).
func steady(t *rapid.T, wrong func(*end)) {
	s := newSimulation(t)
	s.until(s.after(10*time.Minute), s.settled)
	s.wrong = wrong
	downs := [2]uint64{s.ends[0].m.downs, s.ends[1].m.downs}
	for range rapid.IntRange(1, 5).Draw(t, "changes") {
		who := rapid.IntRange(0, 1).Draw(t, "who")
		e := s.ends[who]
		p := drawProfile(t, "new")
		p.Passive = e.m.profile.Passive
		s.input(who, func(now time.Time) step { return e.m.reprofile(p.complete(), now) })
		s.until(s.after(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms"))*time.Millisecond), never)
	}
	s.until(s.after(10*time.Second), never)
	for i, e := range s.ends {
		if e.m.downs > downs[i] {
			t.Fatalf("end %d went down: %s", i, e.reason)
		}
	}
	s.rightTimers()
}

func TestNeverDownForAProfile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { steady(t, nil) })
}

// notice holds that a farewell reaches a peer over a wire that loses some, and that the
// peer can tell it from death.
func notice(t *rapid.T, wrong func(*end)) {
	s := newSimulation(t)
	s.until(s.after(10*time.Minute), s.settled)
	s.wrong = wrong
	e, peer := s.ends[0], s.ends[1]
	s.input(0, func(now time.Time) step { return e.m.retire("test", now) })
	for n := 0; !e.m.said(e.local(s.now)); n++ {
		if n > 100 {
			t.Fatal("it never ends")
		}
		due := e.global(e.m.due())
		e.stopped = true // its timer is leave, not tick
		s.until(due, never)
		e.stopped = false
		s.input(0, func(now time.Time) step { return e.m.leave(now) })
	}
	s.until(s.after(time.Second), never)
	if peer.m.state != Down || peer.reason != "peer is administratively down" {
		t.Fatalf("the peer is %v: %s", peer.m.state, peer.reason)
	}
}

func TestAlwaysNoticesAFarewell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { notice(t, nil) })
}

// Wrong machines, so that the checks above are known to see.
func TestWrongMachinesAreCaught(t *testing.T) {
	for _, w := range []struct {
		name  string
		check func(*rapid.T, func(*end))
		wrong func(*end)
	}{
		{"fast from the first packet", converge, func(e *end) {
			if e.m.state != Up {
				e.m.usedTx = e.m.profile.Transmit
				e.m.pace()
			}
		}},
		{"no Poll is ever answered for", converge, func(e *end) { e.m.polling = e.m.polling || e.m.state == Up }},
		{"the peer's Required Min RX is ignored", converge, func(e *end) {
			e.m.remote.requiredRx = time.Microsecond
			e.m.pace()
		}},
		{"a multiplier of one less", detection, func(e *end) {
			if e.m.remote.multiplier == e.m.profile.Multiplier {
				e.m.remote.multiplier--
			}
		}},
		{"our own multiplier", detection, func(e *end) { e.m.remote.multiplier = e.m.profile.Multiplier }},
		{"changes in force at once", steady, func(e *end) {
			e.m.usedTx, e.m.usedRx = e.m.desiredTx, e.m.requiredRx
			e.m.pace()
		}},
		{"farewell as a plain down", notice, func(e *end) {
			if e.m.state == AdminDown {
				e.m.state = Down
			}
		}},
	} {
		t.Run(w.name, func(t *testing.T) {
			if !caught(func(t *rapid.T) { w.check(t, w.wrong) }) {
				t.Error("the check passes")
			}
		})
	}
}

// caught tells whether a property fails for some of many draws.
func caught(property func(*rapid.T)) (is bool) {
	one := rapid.Custom(func(t *rapid.T) bool {
		defer func() {
			if p := recover(); p != nil && fmt.Sprintf("%T", p) != "rapid.invalidData" { // that one means: draw again
				is = true
			}
		}()
		property(t)
		return true
	})
	for seed := 0; seed < 300 && !is; seed++ {
		one.Example(seed)
	}
	return is
}
