package speaker

import (
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// judge decides one address: whether to begin, to go on or to stop answering.
func (c *core) judge(now time.Time, addr netip.Addr) {
	s := c.seats[addr]
	if len(s.Layer2) == 0 {
		c.release(s)
		return
	}
	s.serving = s.serves(now, c.ok, c.times.Dwell)
	c.forgive(now, s)
	v := c.look(s)
	c.mind(now, s, &v)
	c.confess(now, s, &v)
	if s.held != nil {
		c.keep(now, s, &v)
		return
	}
	c.take(now, s, &v)
}

// release ends an address that nobody may announce any more.
func (c *core) release(s *seat) {
	if s.held != nil {
		c.note(s, note{kind: Released})
		c.drop(s)
	}
	c.ledger.refuse(s.Addr, false)
	if s.Services == nil {
		delete(c.seats, s.Addr)
		c.ledger.forget(s.Addr)
	}
}

// next is how long the second and every further node in the rank is waited for.
const next = 300 * time.Millisecond

// gaze is how long a node is waited for where nobody answers, so that it has
// nothing to wait for itself but a first look around. It may not know the
// address yet.
const gaze = 700 * time.Millisecond

// mind keeps account of who should answer while nobody fit does, and passes
// over a node that does not come.
func (c *core) mind(now time.Time, s *seat, v *view) {
	if !v.urgent {
		s.skip = nil
	}
	if len(v.claims) > 0 || s.held != nil {
		s.silent, s.found.doubt = time.Time{}, suspected
	} else if s.silent.IsZero() {
		s.silent = now
	}
	for {
		_, claims := v.by(v.owner)
		own := v.owner == c.node && s.held != nil && s.held.announced
		switch {
		case v.owner == "" || own || claims:
			s.due, s.urgent = due{}, time.Time{}
			return
		case s.due.node != v.owner:
			s.due = due{node: v.owner, since: now}
		}
		if !v.urgent {
			s.urgent = time.Time{}
			return
		}
		if s.urgent.IsZero() {
			s.urgent = now
		}
		if v.owner == c.node {
			return
		}
		end := s.urgent.Add(c.times.patience())
		if a := c.ledger.peers[v.owner]; !s.silent.IsZero() || a != nil && a.looking {
			end = latest(s.due.since, s.silent).Add(gaze)
		} else if soon := s.due.since.Add(next); soon.After(end) {
			end = soon
		}
		if now.Before(end) {
			c.later(s, end)
			return
		}
		if s.skip == nil {
			s.skip = map[string]bool{}
		}
		s.skip[v.owner] = true
		s.found.doubt = max(s.found.doubt, dead) // or only its claim has been lost: ask the segment
		s.due = due{}
		if *v = c.look(s); s.skip == nil {
			s.urgent = now // all have been waited for in vain: once more
		}
	}
}

// keep decides for an address that this node answers for.
func (c *core) keep(now time.Time, s *seat, v *view) {
	if was := s.held.interfaces; !slices.Equal(was, c.entry(s).Interfaces) {
		c.out.set = true
		c.rolls(s.Addr)
	}
	own, claimed := c.ledger.own.claims[s.Addr]
	if v.owner == c.node {
		c.stand(s, false, false)
		s.held.yielding = time.Time{}
		if claimed && v.newest.node != "" && v.newest.newer(own) && c.ledger.peers[v.newest.node].whole {
			c.reclaim(now, s)
		}
		c.remind(now, s)
		c.defend(now, s)
		return
	}
	if s.held.yielding.IsZero() {
		s.held.yielding = now
	}
	theirs, taken := v.by(v.owner)
	switch {
	case taken && (!claimed || theirs.newer(own)):
		c.yield(now, s, v.owner, "claim")
	case claimed && c.better(s, v.newest, own):
		c.yield(now, s, v.newest.node, "claim")
	case (v.owner != "" || !c.stays(s, own)) && s.held.heard.After(s.held.yielding):
		c.yield(now, s, v.owner, "wire")
	case s.fight.lost:
		c.yield(now, s, "", "conflict")
	default:
		c.stand(s, v.owner != "", !c.fit(s))
		c.remind(now, s)
	}
}

// explained is how long a living node's withdrawal is taken to mean that
// another node has the address, though that one's claim has not come.
const explained = 600 * time.Millisecond

// take decides for an address that this node does not answer for.
func (c *core) take(now time.Time, s *seat, v *view) {
	if v.owner != c.node {
		return
	}
	if len(v.claims) == 0 {
		if at := c.ledger.parted[s.Addr].Add(explained); now.Before(at) {
			c.inquire(now) // who took it over? That claim may have been lost.
			c.later(s, at)
			return
		}
		if (c.settled || c.glanced && s.first() == c.node) && c.free(now, s) {
			c.announce(now, s, v)
		}
		return
	}
	if _, fit := s.candidate(v.newest.node); fit && v.newest.yielding && v.newest.basis.After(s.changed) {
		// Who answers is fit for all that this node knows, and knows better.
		// Soon this node will know too.
		if at := s.due.since.Add(c.times.patience()); now.Before(at) {
			c.later(s, at)
			return
		}
	}
	if s.serving {
		c.announce(now, s, v)
		return
	}
	// Somebody answers, and this node can not be sure that it would serve.
	if v.urgent {
		at := s.urgent.Add(c.times.Dwell)
		if !now.Before(at) {
			c.announce(now, s, v)
			return
		}
		c.later(s, at)
	}
	if s.Dwell {
		if at := s.eligible.Add(c.times.Dwell); now.Before(at) {
			c.later(s, at)
		}
	}
	c.out.polls = c.out.polls || len(s.HealthPorts) > 0
}

// announce begins to answer. The claim follows when the address is on the wire.
func (c *core) announce(now time.Time, s *seat, v *view) {
	s.held = &hold{since: now, cause: c.cause(s, v), from: v.newest.node, wanted: s.due.since}
	c.held[s.Addr] = s
	c.out.set = true
	s.fight.begin(now)
}

// cause says why this node takes an address now.
func (c *core) cause(s *seat, v *view) Cause {
	if v.newest.node == "" {
		if c.ledger.top[s.Addr] == 0 {
			return Unclaimed
		}
		return OwnerGone
	}
	a := c.ledger.peers[v.newest.node]
	_, candidate := s.candidate(v.newest.node)
	switch {
	case a != nil && a.leaving:
		return OwnerLeaves
	case !candidate || v.newest.yielding:
		return OwnerNotEligible
	default:
		return Preferred
	}
}

// claim tells everybody that this node answers for an address, above all that
// has been claimed before.
func (c *core) claim(s *seat) {
	c.ledger.put(s.Addr, claim{epoch: nextEpoch(c.ledger.top[s.Addr], c.majority()), basis: s.changed})
}

// reclaim says again that this node answers, and draws the traffic back: some
// node that should not have announced the address later.
func (c *core) reclaim(now time.Time, s *seat) {
	c.claim(s)
	c.out.again = append(c.out.again, s.Addr)
	s.fight.defended = now
}

// better tells whether another node that answers is no worse than this one,
// and later, while a third one is due.
func (c *core) better(s *seat, theirs, own claim) bool {
	return theirs.node != "" && !theirs.yielding && theirs.newer(own) && (c.stays(s, theirs) || !c.stays(s, own))
}

// stand says what this node thinks of its claim.
func (c *core) stand(s *seat, deferring, yielding bool) {
	own, claimed := c.ledger.own.claims[s.Addr]
	if !claimed || own.yielding == yielding && own.deferring == deferring {
		return
	}
	own.deferring, own.yielding = deferring, yielding
	if deferring || yielding {
		own.basis = s.changed
	}
	c.ledger.put(s.Addr, own)
}

// yield stops answering because somebody else does.
func (c *core) yield(now time.Time, s *seat, to, proof string) {
	c.note(s, note{
		kind: Yielded, cause: c.loss(s, to), other: to, proof: proof, took: now.Sub(s.held.yielding),
	})
	c.drop(s)
}

// loss says why this node gives an address away.
func (c *core) loss(s *seat, to string) Cause {
	switch {
	case s.fight.lost:
		return Conflict
	case c.leaving:
		return OwnerLeaves
	case !c.fit(s):
		return OwnerNotEligible
	case to != s.first():
		return NewerClaim
	default:
		return Preferred
	}
}

func (c *core) drop(s *seat) {
	s.held = nil
	delete(c.held, s.Addr)
	c.ledger.withdraw(s.Addr, false)
	c.out.set = true
	c.rolls(s.Addr)
}

// assign notes Services that came to an address which this node answers for.
func (c *core) assign(s *seat, services []allocator.ServiceName) {
	var joined []allocator.ServiceName
	for _, name := range services {
		if !slices.Contains(s.Services, name) {
			joined = append(joined, name)
		}
	}
	if len(joined) > 0 && s.held.announced {
		c.out.notes = append(c.out.notes, note{kind: Joined, addr: s.Addr, services: joined})
	}
}

func (c *core) tellTaken(now time.Time, s *seat) {
	n := note{kind: Announced, cause: s.held.cause, other: s.held.from, services: s.Services}
	if !s.held.wanted.IsZero() {
		n.took = now.Sub(s.held.wanted)
	}
	c.note(s, n)
}

func (c *core) note(s *seat, n note) {
	n.addr = s.Addr
	c.out.notes = append(c.out.notes, n)
}
