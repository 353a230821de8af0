package speaker

import (
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
)

// seat is what this node knows of one address.
type seat struct {
	allocator.Seat
	changed  time.Time // when the candidates last changed here: the basis of a claim
	eligible time.Time // since when this node has been a candidate without a break; zero: it is none
	serving  bool      // its data path is known to serve; stays while it is a candidate

	urgent time.Time // since when nobody answers who is fit to; zero: somebody does
	silent time.Time // since when nobody answers at all, as far as this node knows; zero: somebody does

	held  *hold           // this node answers
	due   due             // who should answer and does not
	skip  map[string]bool // who was due and never came
	fight conflict
	found finding

	unfit    time.Time // since when this node is due and has no interface; zero: it is not so
	stranded bool      // that has been told

	wake time.Time // the earliest entry of the seat in the core's timers
}

// hold is the time that this node answers for an address.
type hold struct {
	since     time.Time
	announced bool      // on the wire; only then is it claimed
	missing   time.Time // since when it is on no interface; zero: it is on one
	yielding  time.Time // since when somebody else is due; zero: nobody
	reminded  time.Time // last announcement for want of a majority
	heard     time.Time // last time another station announced the address
	cause     Cause
	from      string    // who answered before
	wanted    time.Time // since when this node has been due

	interfaces []string // where it answers; empty: everywhere
}

// due names the node that should answer and has not claimed the address.
type due struct {
	node  string
	since time.Time
}

// candidate returns this node's place among the candidates.
func (s *seat) candidate(node string) (allocator.Candidate, bool) {
	i := slices.IndexFunc(s.Layer2, func(c allocator.Candidate) bool { return c.Node == node })
	if i < 0 {
		return allocator.Candidate{}, false
	}
	return s.Layer2[i], true
}

// replace takes over what the allocator says now.
func (s *seat) replace(now time.Time, node string, next allocator.Seat, ok map[healthPort]time.Time, dwell time.Duration) {
	s.serving = s.serves(now, ok, dwell) // judged by what was asked of it until now
	same := func(a, b allocator.Candidate) bool {
		return a.Node == b.Node && a.Weight == b.Weight && slices.Equal(a.Interfaces, b.Interfaces)
	}
	if s.changed.IsZero() || !slices.EqualFunc(s.Layer2, next.Layer2, same) {
		s.changed, s.skip, s.fight = now, nil, conflict{}
	}
	s.Seat = next
	switch _, mine := s.candidate(node); {
	case !mine:
		s.eligible, s.serving = time.Time{}, false
	case s.eligible.IsZero():
		s.eligible = now
	}
}

// serves tells whether this node's data path is known to serve the address:
// every health port has answered since it became a candidate, and the dwell
// time has passed if a Service has no such port.
func (s *seat) serves(now time.Time, ok map[healthPort]time.Time, dwell time.Duration) bool {
	if s.eligible.IsZero() || s.serving {
		return s.serving
	}
	return proven(&s.Seat, s.eligible, now, ok, dwell)
}

// proven tells whether a node that has been eligible since then serves, for all
// that can be known.
func proven(s *allocator.Seat, since, now time.Time, ok map[healthPort]time.Time, dwell time.Duration) bool {
	if s.Dwell && now.Sub(since) < dwell {
		return false
	}
	return !slices.ContainsFunc(portsOf(s), func(port healthPort) bool { return ok[port].Before(since) })
}

// portsOf are the health ports that must answer before this node announces an address.
func portsOf(s *allocator.Seat) []healthPort {
	ports := make([]healthPort, len(s.HealthPorts))
	for i, port := range s.HealthPorts {
		ports[i] = healthPort{port: port, six: s.Addr.Is6()}
	}
	return ports
}

// entry is what layer2 is told of an address that this node answers for. A
// node that is no longer a candidate, or has none of the interfaces that are
// named now, goes on where it was.
func (c *core) entry(s *seat) layer2.Entry {
	if mine, is := s.candidate(c.node); is && c.reaches(s.Addr, mine) {
		s.held.interfaces = mine.Interfaces
	}
	return layer2.Entry{Addr: s.Addr, Interfaces: s.held.interfaces}
}

// view is how the claims for an address look from here.
type view struct {
	claims []claim // of the others that are alive, leaving ones included
	newest claim   // of those; zero when there is none
	owner  string  // who should answer; "": nobody can
	urgent bool    // nobody answers who is a candidate and stays
	unfit  bool    // this node should answer, and has no interface for it
}

// by returns the claim of a node.
func (v *view) by(node string) (claim, bool) {
	for _, c := range v.claims {
		if c.node == node {
			return c, true
		}
	}
	return claim{}, false
}

// look judges a seat.
func (c *core) look(s *seat) view {
	var v view
	present, own := "", c.ledger.own.claims[s.Addr]
	best := own
	if own.node != "" && !own.yielding {
		present = own.node
	}
	v.urgent = s.held == nil || !c.stays(s, own)
	for _, cl := range c.ledger.byAddr[s.Addr] {
		if !c.members[cl.node] {
			continue
		}
		v.claims = append(v.claims, cl)
		if v.newest.node == "" || cl.newer(v.newest) {
			v.newest = cl
		}
		if c.stays(s, cl) {
			v.urgent = false
		}
		if !cl.yielding && (present == "" || cl.newer(best)) {
			present, best = cl.node, cl
		}
		delete(s.skip, cl.node)
	}
	fit := c.fit(s)
	alive := func(node string) bool {
		if node == c.node {
			return fit && !c.leaving && !s.fight.lost
		}
		cl, claims := v.by(node)
		return c.able(node, s.Addr) && !s.skip[node] && !(claims && cl.yielding)
	}
	v.owner = s.Owner(alive, present, c.load)
	if _, mine := s.candidate(c.node); mine && !fit && !c.leaving {
		v.unfit = s.Owner(func(n string) bool { return n == c.node || alive(n) }, present, c.load) == c.node
	}
	if v.owner == "" && len(s.skip) > 0 && s.held == nil {
		s.skip = nil // nobody else is left: let them try again
		v.owner = s.Owner(alive, present, c.load)
	}
	if s.held != nil && s.held.cause == Rebalanced && !s.held.announced && alive(c.node) {
		v.owner = c.node // it takes over in a moment
	}
	// A node that learnt of the candidates later than this one is right to
	// believe in itself, whatever this one believes.
	if present != "" && present != c.node && !best.deferring && best.basis.After(s.changed) && c.alive(present) {
		v.owner = present
	}
	return v
}

// stays tells whether a claimant is fit to go on answering.
func (c *core) stays(s *seat, cl claim) bool {
	if cl.node == "" || cl.yielding {
		return false
	}
	if cl.node == c.node {
		if c.leaving || !c.fit(s) {
			return false
		}
	} else if !c.alive(cl.node) {
		return false
	}
	_, candidate := s.candidate(cl.node)
	return candidate
}

// first is who would answer if every candidate were alive and nobody answered.
func (s *seat) first() string {
	return s.Owner(func(string) bool { return true }, "", nil)
}
