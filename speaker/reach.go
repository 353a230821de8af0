package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
)

// A candidate that has none of the interfaces which the advertisements name, or
// none at all, can not announce. It is as good as no candidate: it says so to the
// others when it would be due (confess), and the next in the rank answers. While it
// still answers on interfaces that are not named any more, it goes on until then.

// unreached is after which time it is told that a node which is due has no
// interface, and nobody else answers.
const unreached = time.Second

// flap is how long an interface may be gone before its addresses are given up: a
// carrier or a hardware address may just be changing.
const flap = 100 * time.Millisecond

// interfaces takes in which interfaces are usable. It is told once more after the
// time of a flap.
func (c *core) interfaces(now time.Time, usable map[string]layer2.Usability) {
	if usable == nil {
		return
	}
	next := maps.Clone(usable)
	for name, use := range c.links {
		at, gone := c.departed[name]
		_, there := usable[name]
		switch {
		case there:
			delete(c.departed, name)
		case !gone:
			c.departed[name], next[name] = now, use
		case now.Sub(at) < flap:
			next[name] = use
		default:
			delete(c.departed, name)
		}
	}
	if c.links == nil || !maps.Equal(c.links, next) {
		c.links = next
		c.all()
	}
}

// reaches tells whether this node has an interface for an address that it is a
// candidate for.
func (c *core) reaches(addr netip.Addr, mine allocator.Candidate) bool {
	if c.links == nil {
		return true
	}
	for name, use := range c.links {
		named := slices.Contains(mine.Interfaces, name) || len(mine.Interfaces) == 0 && use.Unnamed
		if named && (use.IPv6 || addr.Is4()) {
			return true
		}
	}
	return false
}

// fit tells whether this node may answer for an address, and can.
func (c *core) fit(s *seat) bool {
	mine, is := s.candidate(c.node)
	return is && c.reaches(s.Addr, mine)
}

// able tells whether another node is there and can answer for an address.
func (c *core) able(node string, addr netip.Addr) bool {
	return c.alive(node) && !c.ledger.peers[node].unfit[addr]
}

// confess tells the others that this node is due and can not come; and, if nobody
// else comes either, the first of those who can not tells whoever looks at the
// Services.
func (c *core) confess(now time.Time, s *seat, v *view) {
	if _, mine := s.candidate(c.node); !mine || c.fit(s) {
		c.ledger.refuse(s.Addr, false)
	}
	if !v.unfit {
		s.unfit, s.stranded = time.Time{}, false
		return
	}
	if s.held == nil {
		c.ledger.refuse(s.Addr, true)
	}
	if s.unfit.IsZero() {
		s.unfit = now
	}
	if at := s.unfit.Add(unreached); now.Before(at) {
		c.later(s, at)
	} else if first := s.Owner(func(n string) bool { return n == c.node || c.alive(n) }, "", c.load); !s.stranded && first == c.node {
		s.stranded = true
		mine, _ := s.candidate(c.node)
		c.note(s, note{kind: Stranded, services: s.Services, interfaces: mine.Interfaces})
	}
}

// reach takes in which of the addresses are on some interface now. Where none
// that is named is left, this node does not claim the address any more.
func (c *core) reach(now time.Time, on map[netip.Addr]bool) {
	for addr, s := range c.held {
		h := s.held
		switch {
		case on[addr] && !h.announced:
			c.announced(now, addr)
		case on[addr]:
			h.missing = time.Time{}
		case !h.announced:
		case h.missing.IsZero():
			h.missing = now
		case now.Sub(h.missing) >= flap:
			c.note(s, note{kind: Lost})
			c.ledger.withdraw(addr, true) // nobody has it instead
			c.drop(s)
			c.ledger.refuse(addr, !c.fit(s))
			c.dirty[addr] = true
		}
	}
}
