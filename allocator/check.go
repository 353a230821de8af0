package allocator

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Check judges one decision, before it is published: it does not ask Plan why. An
// error means that publishing it would break a promise: a held address dropped
// without one of the reasons that allow it, an address given that is not to be
// had, or a matter in flight whose time was forged.
//
// What the facts mean it asks the same functions as Plan: brought, lostPool, expelled
// and admits of reside.go, disagrees, inUse, pools and requests. It sees a Plan that
// draws a wrong conclusion, not a mistake in one of these.
func Check(s *Snapshot, d Decision, now time.Time) error {
	s.check()
	v := s.services[d.Service]
	switch {
	case v == nil:
		return fmt.Errorf("%s is no Service of type LoadBalancer", d.Service)
	case v.Foreign:
		return fmt.Errorf("%s is of another load balancer", d.Service)
	}
	c := checker{s, v, d, now}
	for i, a := range d.Holds {
		if slices.Contains(d.Holds[:i], a) {
			return fmt.Errorf("%s: %s is listed twice", d.Service, a)
		}
		if err := c.held(a); err != nil {
			return fmt.Errorf("%s: %w", d.Service, err)
		}
	}
	for _, a := range v.Holds {
		if !slices.Contains(d.Holds, a) {
			if err := c.dropped(a); err != nil {
				return fmt.Errorf("%s: %w", d.Service, err)
			}
		}
	}
	return c.timers()
}

type checker struct {
	*Snapshot
	v   *service
	d   Decision
	now time.Time
}

// held judges an address of the decision: one that is new must be to be had, and
// one that goes into its overlap must have a reason to go and a successor.
func (c checker) held(a netip.Addr) error {
	if !slices.Contains(c.v.Holds, a) {
		return c.given(a)
	}
	if !timed(c.d.Record.Overlap, a) || timed(c.v.Record.Overlap, a) {
		return nil
	}
	if !c.successor(a) {
		return fmt.Errorf("%s would be left with no other %s address to follow it", a, FamilyOf(a))
	}
	if !c.mayLeave(a) && !c.surplus(a) {
		return fmt.Errorf("%s would be left without a reason", a)
	}
	return nil
}

// given judges an address that v does not hold yet.
func (c checker) given(a netip.Addr) error {
	p, used := c.poolOf(a), c.inUse(c.v, a)
	if c.v.mark(a) != nil { // it takes it back
		used = c.barsReturn(a)
	}
	switch {
	case used != "":
		return fmt.Errorf("%s would be given, and %s", a, used)
	case c.v.mark(a) != nil && c.lostPool(c.v, a).code == "":
		// it takes it back; its pool may be refused for a mistake, or the namespace not known
	case p == nil:
		return fmt.Errorf("%s would be given and is in no pool", a)
	case c.accepts(p, c.v) != yes:
		return fmt.Errorf("%s would be given and its pool %s does not accept the Service", a, p.Name)
	}
	if other := c.admits(c.v, a, true); other.code != "" {
		return fmt.Errorf("%s would be given, and is not to be shared with %s", a, list(other.names, other.more))
	}
	if p != nil && c.v.mark(a) == nil && c.exceeds(p, a) {
		return fmt.Errorf("%s would be given, and %s", a, c.quotaText(c.v, p, 1))
	}
	return nil
}

// exceeds tells whether the namespace would sit on more addresses of the pool than it
// may, once v has what is decided, a among it.
func (c checker) exceeds(p *pool, a netip.Addr) bool {
	if p.MaxPerNamespace <= 0 {
		return false
	}
	t := c.tenants[c.v.Name.Namespace]
	alone := func(b netip.Addr) bool { // v, which may be planned there, has nobody beside it
		n := t.sits[b]
		if slices.Contains(c.v.comes, b) {
			n--
		}
		return n == 0
	}
	n := t.pools[p.Name]
	for _, b := range c.v.comes {
		if c.poolOf(b) == p && alone(b) {
			n--
		}
	}
	for _, b := range c.d.Holds {
		if !slices.Contains(c.v.Holds, b) && c.poolOf(b) == p && alone(b) {
			n++
		}
	}
	return alone(a) && n > p.MaxPerNamespace
}

// dropped judges an address that v holds and would hold no more.
func (c checker) dropped(a netip.Addr) error {
	f := FamilyOf(a)
	switch {
	case len(c.v.Families) > 0 && !slices.Contains(c.v.Families, f):
		return nil // the Service has lost the family
	case c.overwritten(&c.v.Service, a):
		return nil // it was never given to it
	case c.brought(c.v, a).code == PortClash:
		return nil // kube-proxy would be told to serve one port twice
	case c.overlapped(a) && (c.another(a) || c.expelled(c.v, a)):
		return nil
	case c.settled(a, PoolLost) && c.v.origin(a) != nil && !c.successor(a):
		return nil // the operator took the pool away, and there is no other
	}
	return fmt.Errorf("%s would be dropped, and nothing allows it: no clash of ports, no overlap that is over with another address published, no lost pool after the settle time", a)
}

// overlapped tells whether a published overlap of the address is over.
func (c checker) overlapped(a netip.Addr) bool {
	return c.over(c.v.Record.Overlap, a, "", c.settings.Overlap)
}

// settled tells whether the address must be left for that reason, and the
// settle time, as published, is over.
func (c checker) settled(a netip.Addr, code Code) bool {
	reason := c.lostPool(c.v, a).code
	if reason == "" {
		reason = c.disagrees(c.v, a).code
	}
	return reason == code && (c.settings.Settle == 0 || c.over(c.v.Record.Settling, a, code, c.settings.Settle))
}

func (c checker) over(timers []Timer, a netip.Addr, code Code, wait time.Duration) bool {
	return wait != Never && slices.ContainsFunc(timers, func(t Timer) bool {
		return t.Addr == a && (code == "" || t.Code == code) && !c.now.Before(c.began(&c.v.Service, t.Since, c.now).Add(wait))
	})
}

// successor tells whether the decision holds another address of the family that
// is not being left.
func (c checker) successor(a netip.Addr) bool {
	return c.holds(a, func(b netip.Addr) bool { return !timed(c.d.Record.Overlap, b) })
}

// another tells whether another address of the family is held before and after.
func (c checker) another(a netip.Addr) bool {
	return c.holds(a, func(b netip.Addr) bool { return slices.Contains(c.v.Holds, b) })
}

// granted tells whether v asks for another address than a, or another pool, and
// is given what it asks for.
func (c checker) granted(a netip.Addr) bool {
	return c.wantsOther(a) && c.holds(a, func(b netip.Addr) bool { return !timed(c.d.Record.Overlap, b) && !c.wantsOther(b) })
}

// mayLeave tells whether rule b, c or e allows v to move away from a.
func (c checker) mayLeave(a netip.Addr) bool {
	return c.granted(a) || c.settled(a, PoolLost) || c.settled(a, Disagreement)
}

// surplus tells whether v has held another address of the family already, that
// stays, or is left for a reason of its own.
func (c checker) surplus(a netip.Addr) bool {
	return c.holds(a, func(b netip.Addr) bool {
		return slices.Contains(c.v.Holds, b) && (!timed(c.d.Record.Overlap, b) || c.mayLeave(b))
	})
}

// holds tells whether the decision holds such an address of a's family beside a.
func (c checker) holds(a netip.Addr, such func(netip.Addr) bool) bool {
	return slices.ContainsFunc(c.d.Holds, func(b netip.Addr) bool { return b != a && FamilyOf(b) == FamilyOf(a) && such(b) })
}

// wantsOther tells whether v asks for another address than a, or another pool.
func (c checker) wantsOther(a netip.Addr) bool {
	r := c.v.request
	if r.err != nil {
		return false
	}
	if n := r.addrs[slot(FamilyOf(a))]; n.IsValid() {
		return n != a
	}
	p := c.poolOf(a)
	return r.pool != "" && (p == nil || p.Name != r.pool)
}

// timers refuses a matter in flight that began earlier than it was published to
// begin, and a new one that would be over at once.
func (c checker) timers() error {
	for _, kind := range []struct {
		what      string
		next, now []Timer
		wait      time.Duration
	}{
		{"settling", c.d.Record.Settling, c.v.Record.Settling, c.settings.Settle},
		{"overlap", c.d.Record.Overlap, c.v.Record.Overlap, c.settings.Overlap},
		{"kept seat", c.d.Record.Kept, c.v.Record.Kept, c.settings.Settle},
	} {
		for _, t := range kind.next {
			i := slices.IndexFunc(kind.now, func(u Timer) bool { return u.Addr == t.Addr && u.Code == t.Code })
			switch {
			case i >= 0 && t.Since.Before(c.began(&c.v.Service, kind.now[i].Since, c.now.Add(-restamp))):
				return fmt.Errorf("%s: the %s of %s would begin at %s, and began at %s", c.v.Name, kind.what, t.Addr, t.Since, kind.now[i].Since)
			case i < 0 && kind.wait > 0 && !c.now.Before(t.Since.Add(kind.wait)):
				return fmt.Errorf("%s: the %s of %s would be over before it is published", c.v.Name, kind.what, t.Addr)
			}
		}
	}
	return nil
}
