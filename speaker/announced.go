package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// Announced returns by Service what this node answers for, and is seen on the wire,
// where that may have changed since it was last asked, or with whole everything; no
// addresses: nothing any more. Sight names the nodes in sight, with this one; nil: they
// are those that it named last.
func (s *Speaker) Announced(whole bool) (news map[allocator.ServiceName]allocator.Report, sight []string) {
	s.ask(func(time.Time) {
		news, sight = s.core.news(whole), s.core.sight(whole)
	})
	return news, sight
}

// roll is by Service the addresses that this node answers for on the wire, and which
// Services that may have changed for. A change costs what it touches.
type roll struct {
	of    map[allocator.ServiceName][]netip.Addr
	known map[netip.Addr]entered
	dirty map[netip.Addr]bool // addresses to be looked at
	stale map[allocator.ServiceName]bool
	sight map[string]bool // the members that were named last; nil: none were yet
}

// entered is what an address was entered with.
type entered struct {
	services   []allocator.ServiceName
	interfaces []string // to which it is limited; empty: it is not
}

func newRoll() roll {
	return roll{
		of: map[allocator.ServiceName][]netip.Addr{}, known: map[netip.Addr]entered{},
		dirty: map[netip.Addr]bool{}, stale: map[allocator.ServiceName]bool{},
	}
}

// rolls notes that what is said of an address may be another thing.
func (c *core) rolls(addr netip.Addr) {
	c.roll.dirty[addr], c.out.roll = true, true
}

// news is what [Speaker.Announced] returns.
func (c *core) news(whole bool) map[allocator.ServiceName]allocator.Report {
	for addr := range c.roll.dirty {
		if s := c.held[addr]; s != nil && s.held.announced {
			c.roll.enter(addr, entered{s.Services, c.entry(s).Interfaces})
		} else {
			c.roll.enter(addr, entered{})
		}
	}
	c.roll.dirty = map[netip.Addr]bool{} // clear would cost as much as the longest list yet
	if whole {
		for s := range c.roll.of {
			c.roll.stale[s] = true
		}
	}
	out := make(map[allocator.ServiceName]allocator.Report, len(c.roll.stale))
	for s := range c.roll.stale {
		out[s] = c.roll.report(s)
	}
	c.roll.stale = map[allocator.ServiceName]bool{}
	return out
}

// sight names the nodes in sight where they are others than those named last.
func (c *core) sight(whole bool) []string {
	if !whole && c.roll.sight != nil && maps.Equal(c.roll.sight, c.members) {
		return nil
	}
	c.roll.sight = maps.Clone(c.members)
	return append(slices.Collect(maps.Keys(c.members)), c.node)
}

// enter takes over what is to be said of an address; without Services: nothing.
func (r *roll) enter(addr netip.Addr, now entered) {
	was := r.known[addr]
	if slices.Equal(was.services, now.services) && slices.Equal(was.interfaces, now.interfaces) {
		return
	}
	for _, s := range was.services {
		if r.stale[s] = true; !slices.Contains(now.services, s) {
			r.of[s] = slices.DeleteFunc(r.of[s], func(a netip.Addr) bool { return a == addr })
			if len(r.of[s]) == 0 {
				delete(r.of, s)
			}
		}
	}
	for _, s := range now.services {
		if r.stale[s] = true; !slices.Contains(was.services, s) {
			r.of[s] = append(r.of[s], addr)
		}
	}
	if r.known[addr] = now; len(now.services) == 0 {
		delete(r.known, addr)
	}
}

// report adds up what is said of a Service. An address that is not limited to
// interfaces makes its Services unlimited.
func (r *roll) report(s allocator.ServiceName) (out allocator.Report) {
	limited := true
	for _, a := range r.of[s] {
		out.Addrs = append(out.Addrs, a)
		out.On = append(out.On, r.known[a].interfaces...)
		limited = limited && len(r.known[a].interfaces) > 0
	}
	slices.SortFunc(out.Addrs, netip.Addr.Compare)
	slices.Sort(out.On)
	if out.On = slices.Compact(out.On); !limited {
		out.On = nil
	}
	return out
}
