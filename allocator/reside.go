package allocator

import (
	"net/netip"
	"slices"
)

// This file answers for one resident of one address: may it stay? Policy,
// selectors and endpoints are not asked (principle: they decide where, never who).

// A cause is why a resident must leave an address, and with whom it has to do.
type cause struct {
	code  Code // "" when it may stay
	pool  string
	ports []Port // as many as are told
	own   bool   // some of the others are of its own namespace
	others
}

// The most Services, and ports, that a reason names.
const mostNamed = 3

// Others are Services with whom a reason has to do.
type others struct {
	names []ServiceName // three at most
	more  int           // how many there are beside
}

// othersOf names the oldest of a list, in which there may be doubles.
func othersOf(list []*service) (o others) {
	slices.SortFunc(list, older)
	for _, v := range slices.Compact(list) {
		if len(o.names) < mostNamed {
			o.names = append(o.names, v.Name)
		} else {
			o.more++
		}
	}
	return o
}

func (c *cause) over(p Port) {
	if len(c.ports) <= mostNamed && !slices.Contains(c.ports, p) {
		c.ports = append(c.ports, p)
	}
}

// brought tells whether v brought a clash of ports to the address (rule d).
func (s *Snapshot) brought(v *service, a netip.Addr) (c cause) {
	g := s.groups[a]
	if g == nil || len(g.residents)+len(g.kept) < 2 {
		return c
	}
	var had []*service
	for _, r := range g.kept { // another namespace takes no port away from a seat
		if p, ok := v.takesFrom(r, a); ok {
			had = append(had, r)
			c.over(p)
		}
	}
	for _, p := range v.Ports {
		g.claiming(v, p, func(r *service) {
			if !r.Foreign && slices.Contains(r.Holds, a) && v.cameLater(r, a, p) {
				had = append(had, r)
				c.over(p)
			}
		})
	}
	if len(had) > 0 {
		c.code, c.others = PortClash, othersOf(had)
	}
	return c
}

// takesFrom tells whether v claims a port, with which it was not admitted, of somebody
// of another namespace for whom a seat is kept with it. Who was on the address with the
// port, and comes back, takes it from nobody.
func (v *service) takesFrom(r *service, a netip.Addr) (Port, bool) {
	if slices.Contains(r.Holds, a) {
		return Port{}, false
	}
	return v.takes(r, a)
}

// takes tells whether v claims a port with which somebody of another namespace was
// admitted to the address, and v was not.
func (v *service) takes(r *service, a netip.Addr) (Port, bool) {
	if r == v || r.Name.Namespace == v.Name.Namespace {
		return Port{}, false
	}
	there := slices.Contains(v.Holds, a) || v.mark(a) != nil
	for _, p := range v.Ports {
		if r.had(p) && !(there && v.had(p)) {
			return p, true
		}
	}
	return Port{}, false
}

// cameLater tells whether v took the port when r had it already, as their records
// tell. Where they do not, who came to the address later did.
func (v *service) cameLater(r *service, a netip.Addr, p Port) bool {
	mine, theirs := v.had(p), r.had(p)
	if mine != theirs {
		return theirs
	}
	return arrivalAt(a)(v, r) > 0
}

// lostPool tells whether the address has left every pool, or its pool no longer
// accepts v (rule c). While the pool that v took it from is refused for a
// mistake in it, or v's namespace is not known, v stays.
func (s *Snapshot) lostPool(v *service, a netip.Addr) cause {
	if p := s.poolOf(a); p != nil {
		if s.accepts(p, v) != no {
			return cause{}
		}
		return cause{code: PoolLost, pool: p.Name}
	}
	if m := v.origin(a); m != nil {
		if p := s.poolNamed(m.Pool); p != nil && p.err != nil {
			return cause{}
		}
	}
	return cause{code: PoolLost}
}

// expelled tells whether v is leaving the address for a lost pool, settled before,
// that has not come back.
func (s *Snapshot) expelled(v *service, a netip.Addr) bool {
	return slices.ContainsFunc(v.Record.Overlap, func(t Timer) bool { return t.Addr == a && t.Code == PoolLost }) &&
		s.lostPool(v, a).code != ""
}

// admits tells whether v may join the address: everybody there, as published and
// as planned, has v's non-empty sharing key, consents to its namespace, and claims none
// of its ports. Unless its user named the address, two Local Services with different
// selectors are not put on one address, since their pods need not meet on a node.
func (s *Snapshot) admits(v *service, a netip.Addr, named bool) (c cause) {
	g := s.groups[a]
	if g == nil {
		return c
	}
	back := v.mark(a) != nil // it was there before
	across := s.across(a) || back
	consents := func(r *service) bool {
		apart := v.Local && r.Local && v.Selector != r.Selector && !named
		if r.Name.Namespace != v.Name.Namespace && back && r.changed() && !v.changed() && slices.Contains(r.Holds, a) {
			return !r.Foreign // who has changed the agreement meanwhile must leave
		}
		return !r.Foreign && v.request.share != "" && r.request.share == v.request.share && !apart &&
			(r.Name.Namespace == v.Name.Namespace || across)
	}
	admitted := !g.claimed(v) && len(g.kept) == 0 && g.gave == 0
	g.each(func(r *service) bool {
		admitted = admitted && (r == v || consents(r))
		return admitted
	})
	if admitted {
		return c
	}
	var against []*service
	g.all(func(r *service) bool {
		if r != v && !consents(r) && !v.before(r, a) {
			against = append(against, r)
		}
		return true
	})
	for _, r := range g.kept {
		if p, taken := v.takesFrom(r, a); taken {
			against = append(against, r)
			c.over(p)
		}
	}
	if g.gave > 0 { // whether a seat is kept with the port is decided and published first
		for _, r := range g.residents {
			if !r.gave {
				continue
			}
			if p, taken := v.takes(r, a); taken {
				against = append(against, r)
				c.over(p)
			}
		}
	}
	for _, p := range v.Ports {
		g.claiming(v, p, func(r *service) {
			if v.before(r, a) {
				return
			}
			against = append(against, r)
			if v.request.share != "" && r.request.share == v.request.share && !r.Foreign {
				c.over(p)
			}
		})
		if len(c.ports) > mostNamed {
			break
		}
	}
	if len(against) > 0 {
		c.own = slices.ContainsFunc(against, func(r *service) bool { return r.Name.Namespace == v.Name.Namespace })
		c.code, c.others = AddressTaken, othersOf(against)
	}
	return c
}

// across tells whether sharing keys count in all namespaces alike on an address.
func (s *Snapshot) across(a netip.Addr) bool {
	p := s.poolOf(a)
	return s.settings.AcrossNamespaces || p != nil && p.AcrossNamespaces
}

// before tells, where nothing but a seat is kept for r on the address, or r's status
// lost the address, whether v, which was there too, takes it back all the same: neither
// bars those of another namespace who were there; else who left first returns first.
func (v *service) before(r *service, a netip.Addr) bool {
	if v.mark(a) == nil || slices.Contains(r.Holds, a) || slices.Contains(r.comes, a) {
		return false
	}
	of := func(s *service) int {
		return slices.IndexFunc(s.Record.Kept, func(t Timer) bool { return t.Addr == a })
	}
	i, j := of(v), of(r)
	m := r.mark(a)
	switch {
	case j < 0 && (m == nil || !r.lost(*m)):
		return false
	case v.Name.Namespace != r.Name.Namespace:
		return true
	case i < 0 || j < 0:
		return false
	}
	x, y := v.Record.Kept[i].Since, r.Record.Kept[j].Since
	return x.Before(y) || x.Equal(y) && older(v, r) < 0
}
