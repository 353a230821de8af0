package allocator

import (
	"net/netip"
	"slices"
)

// replace puts new facts in the place of a Service's old ones, in every index.
// Its neighbours, old and new, are touched.
func (s *Snapshot) replace(v *service, facts Service) {
	old, oldShare := v.Service, v.request.share
	s.neighbours(v, func(n *service) { s.touched[n] = true })
	v.Service = facts
	v.request = parseRequest(&v.Service)

	// What comes is entered before what goes is taken out, so that an address
	// that stays never looks free.
	for _, a := range facts.Holds {
		g := s.group(a)
		g.residents = enter(g.residents, v)
		s.share(v.request.share, a, +1)
		s.seating.stale[a] = true
	}
	for _, t := range facts.Record.Kept {
		g := s.group(t.Addr)
		g.kept = enter(g.kept, v)
	}
	for _, a := range old.Holds {
		if !slices.Contains(facts.Holds, a) {
			g := s.group(a)
			g.residents = leave(g.residents, v)
		}
		s.share(oldShare, a, -1)
		s.seating.stale[a] = true
	}
	for _, t := range old.Record.Kept {
		if !slices.ContainsFunc(facts.Record.Kept, func(u Timer) bool { return u.Addr == t.Addr }) {
			g := s.group(t.Addr)
			g.kept = leave(g.kept, v)
		}
	}
	s.unplan(v, oldShare)
	for _, a := range old.Holds {
		s.tidy(a)
	}
	for _, t := range old.Record.Kept {
		s.tidy(t.Addr)
	}
	s.neighbours(v, func(n *service) { s.touched[n] = true })
}

// neighbours visits those who hold, or have a seat on, what v holds or has a seat on.
func (s *Snapshot) neighbours(v *service, visit func(*service)) {
	at := func(a netip.Addr) {
		if g := s.groups[a]; g != nil {
			for _, n := range g.residents {
				if n != v {
					visit(n)
				}
			}
			for _, n := range g.kept {
				if n != v {
					visit(n)
				}
			}
		}
	}
	for _, a := range v.Holds {
		at(a)
	}
	for _, t := range v.Record.Kept {
		at(t.Addr)
	}
}

// plan enters an address that v is to hold and does not hold yet.
func (s *Snapshot) plan(v *service, a netip.Addr) {
	v.comes = append(v.comes, a)
	g := s.group(a)
	g.comers = enter(g.comers, v)
	s.share(v.request.share, a, +1)
}

// unplan takes out what was planned for v under the sharing key that it had then.
func (s *Snapshot) unplan(v *service, share string) {
	for _, a := range v.comes {
		g := s.group(a)
		g.comers = leave(g.comers, v)
		s.share(share, a, -1)
		s.tidy(a)
	}
	v.comes = nil
}

func (s *Snapshot) group(a netip.Addr) *group {
	g := s.groups[a]
	if g == nil {
		g = &group{}
		s.groups[a] = g
	}
	return g
}

// tidy drops the group of an address on which nobody sits any more: it is free.
func (s *Snapshot) tidy(a netip.Addr) {
	if g := s.groups[a]; g != nil && g.empty() {
		delete(s.groups, a)
		if p := s.poolOf(a); p != nil {
			p.freed(a)
		}
	}
}

func (s *Snapshot) share(key string, a netip.Addr, by int) {
	if key == "" {
		return
	}
	held := s.shares[key]
	if held == nil {
		held = map[netip.Addr]int{}
		s.shares[key] = held
	}
	if held[a] += by; held[a] == 0 {
		delete(held, a)
	}
	if len(held) == 0 {
		delete(s.shares, key)
	}
}

// enter puts v into a list, oldest first, once.
func enter(in []*service, v *service) []*service {
	if slices.Contains(in, v) {
		return in
	}
	i, _ := slices.BinarySearchFunc(in, v, older)
	return slices.Insert(in, i, v)
}

// leave takes v out of a list. The list is found by identity, since the facts
// by which it is sorted may have changed.
func leave(in []*service, v *service) []*service {
	if i := slices.Index(in, v); i >= 0 {
		return slices.Delete(in, i, i+1)
	}
	return in
}
