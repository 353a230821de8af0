package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/layer2"
)

// Before a node takes an address that nobody claims, it asks the segment. Two
// things are found out so: that another machine uses the address, which is then
// not taken; and that a node which seems dead answers for its addresses all the
// same, because only what the nodes talk over is broken.

const (
	// hush is how long an answer to a probe is waited for: three probes are sent
	// in 40 ms.
	hush = 60 * time.Millisecond
	// sure is how long questions about a node must stay unanswered, if its kernel
	// is alive: then there is time.
	sure = time.Second
	// askAgain is the pace of questions, and askDead that to a node that has
	// answered them though it answers nothing else.
	askAgain = 100 * time.Millisecond
	askDead  = 500 * time.Millisecond
	// askUsed is the pace for an address that another machine uses, and askSoon for
	// one that a node uses whose claim has not come.
	askUsed = 10 * time.Second
	askSoon = 400 * time.Millisecond
	// uncertain is how long a claim is waited for that does not come, and how long a
	// suspicion is looked into that does not become a verdict.
	uncertain = 2 * time.Second
	// hearsay is how long a node that was given up is in sight because it spoke,
	// though neither gossip nor its kernel has been found to answer since.
	hearsay = 2 * time.Second
	// sampleMost is how many addresses of a node that seems dead are asked for.
	sampleMost = 8
)

// finding is what the segment has said of an address.
type finding struct {
	began time.Time // of the questions; zero: none is open
	asked time.Time // last question
	heard time.Time // last answer
	iface string
	mac   string
	since time.Time // of the first answer in a row
	again time.Time // not to be asked before
	told  string    // the station that has been told of
	doubt verdict   // who answered or was due was given up, and the segment has not been asked yet; suspected: nobody
}

// verdict is what is known of a node that does not answer gossip any more.
type verdict int

const (
	suspected verdict = iota // it may be nothing
	mute                     // its kernel answers, its daemon does not
	dead                     // nor does its kernel
)

// inquest is the question whether the claims of a node are void.
type inquest struct {
	open    time.Time // first question since the last answer; zero: none
	asked   time.Time // last question
	heard   bool      // it has answered
	strange bool      // a station that is not known has, which may be this node or another
	sample  map[netip.Addr]bool
	verdict verdict
	told    bool
}

// stations takes in with which hardware addresses a node answers.
func (c *core) stations(node string, macs []string) {
	maps.DeleteFunc(c.macs, func(_, n string) bool { return n == node })
	for _, m := range macs {
		c.macs[m] = node
	}
}

// suspect takes in that a node may be dead: the segment is asked in time.
func (c *core) suspect(now time.Time, node string) {
	if c.members[node] && c.inquests[node] == nil {
		if sample := c.inheritance(node, sampleMost); len(sample) > 0 {
			c.inquests[node] = &inquest{sample: sample}
			c.survey(now, c.inquests[node])
		}
	}
}

// lost takes in that a node answers no other way. Unless it does on the segment,
// its claims are void. A node that would take nothing from it asks the segment when
// it is to take something after all, because who is due does not come.
func (c *core) lost(now time.Time, node string, v verdict) {
	c.suspect(now, node)
	if q := c.inquests[node]; q != nil {
		q.verdict = max(q.verdict, v)
		return
	}
	c.bury(node, v)
}

// bury voids the claims of a node. Before this node takes one of its addresses, it
// asks the segment for that one.
func (c *core) bury(node string, v verdict) {
	if a := c.ledger.peers[node]; a != nil && c.members[node] {
		for addr := range a.claims {
			if s := c.seats[addr]; s != nil {
				s.found.doubt = v
			}
		}
	}
	c.left(node)
}

// vouch takes a message of a node that was given up for a sign of life: it was a
// false alarm, and what that node claims counts. Who goes is not called back.
func (c *core) vouch(now time.Time, m message) {
	if _, already := c.vouched[m.node]; !already && c.members[m.node] || m.leaving {
		return
	}
	if !c.members[m.node] {
		c.joined(m.node)
	}
	c.vouched[m.node] = now
}

// expire gives the nodes up that spoke and were not found to answer in time, and
// returns when to look again.
func (c *core) expire(now time.Time) (next time.Time) {
	for _, node := range slices.Sorted(maps.Keys(c.vouched)) {
		if end := c.vouched[node].Add(hearsay); now.Before(end) {
			next = earlier(next, end)
			continue
		}
		delete(c.vouched, node)
		c.lost(now, node, mute)
	}
	return next
}

// survey asks the segment for the addresses of a node.
func (c *core) survey(now time.Time, q *inquest) {
	if q.asked = now; q.open.IsZero() {
		q.open = now
	}
	for _, addr := range slices.SortedFunc(maps.Keys(q.sample), netip.Addr.Compare) {
		if s := c.seats[addr]; s != nil && s.held == nil {
			c.out.probe = append(c.out.probe, s.question(c.node))
		}
	}
}

// inheritance returns addresses, up to most, that this node would take from
// another one that is dead.
func (c *core) inheritance(node string, most int) map[netip.Addr]bool {
	a := c.ledger.peers[node]
	if a == nil {
		return nil
	}
	others := func(n string) bool { return n == c.node && !c.leaving || n != node && c.alive(n) }
	found := map[netip.Addr]bool{}
	for _, addr := range slices.SortedFunc(maps.Keys(a.claims), netip.Addr.Compare) {
		if s := c.seats[addr]; s != nil && c.fit(s) && len(c.ledger.byAddr[addr]) == 1 {
			if s.Owner(others, "", c.load) == c.node {
				if found[addr] = true; len(found) == most {
					break
				}
			}
		}
	}
	return found
}

// judgeDead gives up the nodes that do not answer on the segment either, and
// returns when to judge again.
func (c *core) judgeDead(now time.Time) (next time.Time) {
	for _, node := range slices.Sorted(maps.Keys(c.inquests)) {
		q := c.inquests[node]
		if q.verdict == suspected && q.heard {
			delete(c.inquests, node) // it was nothing
			continue
		}
		if !q.open.IsZero() && now.Sub(q.open) >= q.verdict.bound() {
			switch {
			case q.verdict == suspected:
				delete(c.inquests, node)
			case q.strange:
				c.bury(node, q.verdict)
			default:
				c.left(node)
			}
			continue
		}
		pace := askAgain
		if q.heard {
			if q.open.IsZero() {
				pace = askDead
			}
			if !q.told {
				q.told = true
				c.out.notes = append(c.out.notes, note{kind: Unheard, other: node})
			}
		}
		if now.Sub(q.asked) >= pace {
			c.survey(now, q)
		}
		next = earlier(next, q.asked.Add(pace))
		if !q.open.IsZero() {
			next = earlier(next, q.open.Add(q.verdict.bound()))
		}
	}
	return next
}

// bound is how long questions about a node stay unanswered until it is given up,
// or, while it is suspected only, no longer asked for.
func (v verdict) bound() time.Duration {
	switch v {
	case dead:
		return hush
	case mute:
		return sure
	}
	return uncertain
}

// testify takes in that a station answers for an address that this node does not
// answer for. A station that is not known may be a node that this one has never
// heard of, which took one address of the dead: that speaks for this address alone.
func (c *core) testify(now time.Time, addr netip.Addr, iface, mac string) {
	for node, q := range c.inquests {
		if !q.sample[addr] {
			continue
		}
		switch by, known := c.macs[mac]; {
		case !known:
			q.strange = true
		case by == node:
			q.heard, q.open = true, time.Time{}
		}
	}
	if s := c.seats[addr]; s != nil && !s.found.began.IsZero() {
		s.found.heard, s.found.iface, s.found.mac = now, iface, mac
	}
}

// free tells whether an address that nobody claims may be announced: who claimed
// it said that it is free or was found dead, or no station answers for it.
func (c *core) free(now time.Time, s *seat) bool {
	f := &s.found
	claimed := c.ledger.top[s.Addr] != 0
	if claimed && f.doubt == suspected || !claimed && c.times.TakeUsed {
		return true
	}
	if now.Before(f.again) {
		c.later(s, f.again)
		return false
	}
	if f.began.IsZero() {
		f.began = now
	}
	patience := hush
	if f.doubt == mute {
		patience = sure
	}
	switch {
	case !f.heard.Before(f.began):
		c.taken(now, s)
		return !now.Before(f.again)
	case now.Sub(f.began) >= patience:
		*f = finding{}
		return true
	case now.Sub(f.asked) >= askAgain:
		f.asked = now
		c.out.probe = append(c.out.probe, s.question(c.node))
	}
	c.later(s, earlier(f.asked.Add(askAgain), f.began.Add(patience)))
	return false
}

// taken deals with an address that nobody claims and somebody answers for.
func (c *core) taken(now time.Time, s *seat) {
	f := &s.found
	if f.since.IsZero() {
		f.since = f.began
	}
	f.began = time.Time{}
	node := c.macs[f.mac]
	switch {
	case c.alive(node) && now.Sub(f.since) >= uncertain:
		*f = finding{} // it talks, and does not claim what it answers for: its own affair
		return
	case node != "" || f.doubt != suspected: // its claim is on its way, or it can not tell
		c.inquire(now)
		f.again = now.Add(askSoon)
	default:
		if f.told != f.mac {
			f.told = f.mac
			c.note(s, note{kind: Used, services: s.Services, iface: f.iface, mac: f.mac, quiet: s.first() != c.node})
		}
		f.again = now.Add(askUsed)
	}
	c.later(s, f.again)
}

// question is what layer2 is asked to find out about an address.
func (s *seat) question(node string) layer2.Entry {
	mine, _ := s.candidate(node)
	return layer2.Entry{Addr: s.Addr, Interfaces: mine.Interfaces}
}
