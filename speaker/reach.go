package speaker

import (
	"net/netip"
	"time"
)

// unreached is after which time it is told that a node which is to announce an
// address has found no interface for it.
const unreached = time.Second

// flap is how long an address may be without an interface before it is given up:
// a carrier or a hardware address may just be changing.
const flap = 100 * time.Millisecond

// reach takes in which of the addresses are on some interface now. A node that
// can not announce an address, or has lost the interface for it, does not claim
// it, and the next in the rank takes it.
func (c *core) reach(now time.Time, on map[netip.Addr]bool) {
	for addr, s := range c.held {
		h := s.held
		switch {
		case on[addr] && !h.announced:
			c.announced(now, addr)
		case on[addr]:
			h.missing = time.Time{}
		case !h.announced:
			if !h.stranded && now.Sub(h.since) >= unreached {
				h.stranded = true
				c.strand(s)
			}
		case h.missing.IsZero():
			h.missing = now
		case now.Sub(h.missing) >= flap:
			h.announced, h.stranded, c.out.roll = false, true, true
			c.ledger.withdraw(addr, true)
			c.strand(s)
			c.dirty[addr] = true
		}
	}
}

func (c *core) strand(s *seat) {
	c.note(s, note{kind: Stranded, services: s.Services, interfaces: s.entry(c.node).Interfaces})
}
