package allocator

import (
	"net/netip"
	"slices"
)

// A group is who sits on one address.
type group struct {
	residents []*service // hold it, as published; who came first is first
	comers    []*service // will hold it, as planned
	kept      []*service // have a seat kept for them, as published, or lost this address from their status

	ports map[Port][]*service // who claims which port; nil while one with few ports sits here alone
	gave  int                 // how many residents no longer claim a port with which they were admitted
	said  *agreement          // what the residents say about the key; nil: to be asked
	kinds []*service          // one of each kind who sits here; nil: to be looked for
}

// A place is a way to sit on an address.
type place uint8

const (
	resident place = iota
	comer
	kept
)

func (g *group) list(as place) *[]*service {
	return [...]*[]*service{&g.residents, &g.comers, &g.kept}[as]
}

func (g *group) empty() bool { return len(g.residents)+len(g.comers)+len(g.kept) == 0 }

func (g *group) sits(v *service) bool {
	return slices.Contains(g.residents, v) || slices.Contains(g.comers, v) || slices.Contains(g.kept, v)
}

// all shows everybody who sits here, until one suffices; some twice.
func (g *group) all(show func(*service) (more bool)) {
	for _, list := range [...][]*service{g.residents, g.comers, g.kept} {
		for _, v := range list {
			if !show(v) {
				return
			}
		}
	}
}

// each shows those who sit here, until one suffices: of those who are of one kind to
// whoever wants to join them, two at least.
func (g *group) each(show func(*service) (more bool)) {
	if g.kinds == nil {
		g.all(func(v *service) bool { g.sort(v); return true })
	}
	for _, v := range g.kinds {
		if !show(v) {
			return
		}
	}
}

// sort notes v if fewer than two of its kind are known.
func (g *group) sort(v *service) {
	same := 0
	for _, r := range g.kinds {
		if r == v {
			return
		}
		if r.alike(v) {
			same++
		}
	}
	if same < 2 {
		g.kinds = append(g.kinds, v)
	}
}

// alike tells whether two are the same to somebody who wants to join them, ports and
// kept seats excepted.
func (v *service) alike(r *service) bool {
	return v.Foreign == r.Foreign && v.request.share == r.request.share && v.Name.Namespace == r.Name.Namespace &&
		v.changed() == r.changed() && v.Local == r.Local && (!v.Local || v.Selector == r.Selector) && len(v.Record.Kept) == 0 && len(r.Record.Kept) == 0
}

// claiming shows those who sit here, v excepted, and claim the port.
func (g *group) claiming(v *service, p Port, show func(*service)) {
	if g.ports != nil {
		for _, r := range g.ports[p] {
			if r != v {
				show(r)
			}
		}
		return
	}
	var only *service // who sits here alone may do so in two places
	g.all(func(r *service) bool {
		if r != v && r != only && r.claims(p) {
			show(r)
		}
		only = r
		return true
	})
}

// claimed tells whether somebody but v who sits here claims one of v's ports.
func (g *group) claimed(v *service) (found bool) {
	for _, p := range v.Ports {
		if g.claiming(v, p, func(*service) { found = true }); found {
			return true
		}
	}
	return false
}

func (v *service) claims(p Port) bool { return slices.Contains(v.Ports, p) }

// enter puts v on an address.
func (s *Snapshot) enter(a netip.Addr, as place, v *service) {
	g := s.groups[a]
	if g == nil {
		g = &group{}
		s.groups[a] = g
		s.occupied(a)
	}
	list := g.list(as)
	if slices.Contains(*list, v) {
		return
	}
	if !g.sits(v) {
		g.index(v)
	}
	order := older
	if as == resident {
		order = arrivalAt(a)
	}
	i, _ := slices.BinarySearchFunc(*list, v, order)
	*list = slices.Insert(*list, i, v)
	if as == resident {
		g.said = nil
		g.gave += truth(v.gave, false)
	}
	if g.kinds != nil {
		g.sort(v)
	}
	s.tenant(v.Name.Namespace, a, +1)
	if as != kept {
		s.key(v.request.share, a, +1)
	}
}

// leave takes v from an address. Its facts must still be those with which it entered.
// Whoever leaves must tidy afterwards.
func (s *Snapshot) leave(a netip.Addr, as place, v *service) {
	g := s.groups[a]
	if g == nil {
		return
	}
	list := g.list(as)
	i := slices.Index(*list, v)
	if i < 0 {
		return
	}
	*list = slices.Delete(*list, i, i+1)
	if as == resident {
		g.said = nil
		g.gave -= truth(v.gave, false)
	}
	if slices.Contains(g.kinds, v) {
		g.kinds = nil
	}
	if !g.sits(v) {
		g.unindex(v)
		s.lower(g, a, v)
	}
	s.tenant(v.Name.Namespace, a, -1)
	if as != kept {
		s.key(v.request.share, a, -1)
	}
}

// fewPorts is how many are looked through without an index.
const fewPorts = 8

// index enters the ports of v, who is about to sit down.
func (g *group) index(v *service) {
	if g.ports == nil {
		if g.empty() && len(v.Ports) <= fewPorts {
			return
		}
		g.ports = map[Port][]*service{}
		seen := map[*service]bool{}
		g.all(func(r *service) bool {
			if !seen[r] {
				seen[r] = true
				g.index(r)
			}
			return true
		})
	}
	for _, p := range v.Ports {
		if !slices.Contains(g.ports[p], v) { // a Service may list a port twice
			g.ports[p] = append(g.ports[p], v)
		}
	}
}

func (g *group) unindex(v *service) {
	if g.ports == nil {
		return
	}
	for _, p := range v.Ports {
		list := g.ports[p]
		if i := slices.Index(list, v); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		if g.ports[p] = list; len(list) == 0 {
			delete(g.ports, p)
		}
	}
}

// tidy drops the group of an address on which nobody sits any more: it is free.
func (s *Snapshot) tidy(a netip.Addr) {
	if g := s.groups[a]; g != nil && g.empty() {
		delete(s.groups, a)
		s.vacated(a)
	}
}

// occupied and vacated count an address on which somebody begins, or nobody goes on, to sit.
func (s *Snapshot) occupied(a netip.Addr) {
	if p := s.poolOf(a); p != nil {
		if len(s.used.at[a]) > 0 {
			p.count(a, 1, 0)
		} else {
			p.count(a, 1, 1)
		}
	}
}

func (s *Snapshot) vacated(a netip.Addr) {
	p := s.poolOf(a)
	if p == nil {
		return
	}
	if len(s.used.at[a]) > 0 {
		p.count(a, -1, 0)
		return
	}
	p.count(a, -1, -1)
	s.freed(p, a)
}

// replace puts new facts in the place of a Service's old ones, in every index, and
// touches those for whom that may change something.
func (s *Snapshot) replace(v *service, facts Service) {
	s.forgetWaits(v)
	places := v.places()
	changed := s.watch(v, places, &facts)
	for _, a := range places {
		s.leave(a, resident, v)
		s.leave(a, kept, v)
		s.leave(a, comer, v)
	}
	v.Service, v.comes = facts, nil
	v.request, v.turn, v.gave = parseRequest(&v.Service), v.turnOf(), v.gives()
	for _, a := range v.Holds {
		s.enter(a, resident, v)
		s.seating.stale[a] = true
	}
	for _, a := range v.seats() {
		s.enter(a, kept, v)
	}
	for _, a := range places {
		s.seating.stale[a] = true
		s.tidy(a)
	}
	changed(v.places())
}

// places are the addresses where v sits in any way.
func (v *service) places() []netip.Addr {
	all := slices.Concat(v.Holds, v.comes, v.seats())
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// seats are the addresses where a seat is kept for v: as its record says, or because
// its status has lost the address, and has none of that family instead.
func (v *service) seats() (all []netip.Addr) {
	for _, t := range v.Record.Kept {
		all = append(all, t.Addr)
	}
	for _, m := range v.Record.Pools {
		same := func(a netip.Addr) bool { return FamilyOf(a) == FamilyOf(m.Addr) }
		if !v.Foreign && v.lost(m) && !slices.ContainsFunc(v.Holds, same) {
			all = append(all, m.Addr)
		}
	}
	return all
}

// plan enters an address that v is to hold and does not hold yet.
func (s *Snapshot) plan(v *service, a netip.Addr) {
	v.comes = append(v.comes, a)
	s.enter(a, comer, v)
}

// unplan takes out what was planned for v.
func (s *Snapshot) unplan(v *service) {
	for _, a := range v.comes {
		s.leave(a, comer, v)
		s.tidy(a)
		s.stir(a)
	}
	v.comes = nil
}
