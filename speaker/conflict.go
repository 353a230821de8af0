package speaker

import "time"

const (
	// An owner that hears another station waits for an explanation, a claim. It
	// asks for one after inquiry, and answers with an announcement of its own
	// after defence.
	inquiry = 50 * time.Millisecond
	defence = 300 * time.Millisecond
	// deaf is how long after a defence, or after its own first announcement, a
	// node does not take an announcement of another station for an answer.
	deaf = 100 * time.Millisecond
	// persistent conflicts come within this time (RFC 5227 §2.4, DEFEND_INTERVAL).
	persistent = 10 * time.Second
	// novice is how long a node counts as the one that came later.
	novice = 3 * time.Second
	// the time for which a node that lost a conflict leaves the address alone
	// doubles from truce to truceMax.
	truce    = 10 * time.Second
	truceMax = 5 * time.Minute
)

// conflict is the state of an address that another station announces though
// no member claims it: that station cannot be talked to, so the wire decides,
// in the manner of RFC 5227.
//
// A node with a majority of its peers in sight stays and defends itself.
// A node without is likely the one that is cut off: if it came later, it gives
// way at once (unless it is the first in the rank, for the other one may be
// cut off and new as well); if it was there before, it defends itself once,
// and gives way if that has not helped.
type conflict struct {
	heard    time.Time // not yet dealt with; zero: nothing
	again    bool      // heard at a time that counts against a defence
	began    time.Time // when this node began to answer
	defended time.Time
	told     time.Time // last note

	lost  bool // gave way; leaves the address alone until
	until time.Time
	truce time.Duration

	iface, mac string
}

// begin notes that this node begins to answer.
func (f *conflict) begin(now time.Time) {
	*f = conflict{began: now, truce: f.truce}
}

// hear notes an announcement of another station.
func (f *conflict) hear(now time.Time, iface, mac string) {
	f.heard, f.iface, f.mac = now, iface, mac
	last := f.defended
	if last.IsZero() {
		last = f.began
	}
	if now.Sub(last) >= deaf && now.Sub(last) <= persistent && (!f.defended.IsZero() || now.Sub(f.began) < novice) {
		f.again = true
	}
}

// repeat is how often a node without a majority announces what it holds: two
// that answer without hearing of each other find out.
const repeat = 30 * time.Second

// remind announces an address again while this node sees no majority.
func (c *core) remind(now time.Time, s *seat) {
	if c.majority() {
		s.held.reminded = time.Time{}
		return
	}
	if s.held.reminded.IsZero() {
		s.held.reminded = now
	}
	if at := s.held.reminded.Add(repeat); now.Before(at) {
		c.later(s, at)
		return
	}
	s.held.reminded = now
	c.later(s, now.Add(repeat))
	c.out.again = append(c.out.again, s.Addr)
}

// defend deals with an announcement of another station while this node is the
// rightful owner for all that it knows.
func (c *core) defend(now time.Time, s *seat) {
	f := &s.fight
	if f.heard.IsZero() {
		return
	}
	if !c.majority() && (f.again || now.Sub(f.began) < novice && s.first() != c.node) {
		c.concede(now, s)
		return
	}
	if at := f.heard.Add(inquiry); now.Before(at) {
		c.later(s, at)
		return
	}
	c.inquire(now)
	at := f.heard.Add(defence)
	if !f.defended.IsZero() && at.Before(f.defended.Add(deaf)) {
		at = f.defended.Add(deaf)
	}
	if now.Before(at) {
		c.later(s, at)
		return
	}
	// The last announcement of a node in sight that has just given way may come late.
	late := f.defended.IsZero() && c.alive(c.macs[f.mac])
	if !late && (f.told.IsZero() || now.Sub(f.told) >= persistent) {
		f.told = now
		c.note(s, note{kind: Contested, services: s.Services, iface: f.iface, mac: f.mac})
	}
	f.heard, f.again, f.defended = time.Time{}, false, now
	c.out.again = append(c.out.again, s.Addr)
}

// inquire asks every member for its whole account, now and then.
func (c *core) inquire(now time.Time) {
	if now.Sub(c.inquired) < defence/2 {
		return
	}
	c.inquired = now
	for node := range c.members {
		c.out.ask = append(c.out.ask, node)
	}
}

// concede gives an address up to a station that cannot be talked to.
func (c *core) concede(now time.Time, s *seat) {
	f := &s.fight
	f.truce = min(max(truce, 2*f.truce), truceMax)
	f.lost, f.until = true, now.Add(f.truce)
	s.held.yielding = now
	c.note(s, note{kind: Contested, services: s.Services, iface: f.iface, mac: f.mac})
	c.yield(now, s, "", "conflict")
	c.later(s, f.until)
}

// forgive lets a node try again that gave way: when the truce is over, or when
// it sees a majority and can talk to those who matter.
func (c *core) forgive(now time.Time, s *seat) {
	f := &s.fight
	if !f.lost {
		return
	}
	if now.Before(f.until) && !c.majority() {
		c.later(s, f.until)
		return
	}
	f.lost = false
}
