package allocator

import (
	"cmp"
	"net/netip"
	"slices"
)

// This file answers for one resident of one address: may it stay? Policy,
// selectors and endpoints are not asked (principle: they decide where, never who).

// A cause is why a resident must leave an address, and with whom it has to do.
type cause struct {
	code   Code // "" when it may stay
	others []ServiceName
	pool   string
	ports  []Port
}

// peers are the others of ours on the address. Those that are leaving it in an
// overlap count only where their ports still matter.
func (s *Snapshot) peers(v *service, a netip.Addr, overlapping bool) (peers []*service) {
	if g := s.groups[a]; g != nil && len(g.residents) > 1 {
		for _, r := range g.residents {
			if r != v && !r.Foreign && (overlapping || !timed(r.Record.Overlap, a)) {
				peers = append(peers, r)
			}
		}
	}
	return peers
}

// brought tells whether v brought a clash of ports to the address (rule d).
func (s *Snapshot) brought(v *service, a netip.Addr) cause {
	c := cause{}
	for _, r := range s.peers(v, a, true) {
		for _, p := range clash(v.Ports, r.Ports) {
			if v.cameLater(r, p) {
				c.code = PortClash
				if !slices.Contains(c.others, r.Name) {
					c.others = append(c.others, r.Name)
				}
				if !slices.Contains(c.ports, p) {
					c.ports = append(c.ports, p)
				}
			}
		}
	}
	return c
}

// cameLater tells whether v took the port when r had it already: the record of
// the one that was there lists the port. Where the records do not tell, who is
// younger came later.
func (v *service) cameLater(r *service, p Port) bool {
	mine, theirs := v.had(p), r.had(p)
	if mine != theirs {
		return theirs
	}
	return older(v, r) > 0
}

// had tells whether the Service was admitted with the port. A Service without a
// record (taken over from another load balancer) is taken to have had its ports.
func (v *service) had(p Port) bool {
	return len(v.Record.Ports) == 0 || slices.Contains(v.Record.Ports, p)
}

// lostPool tells whether the address has left every pool, or its pool no longer
// accepts v (rule c). While the pool that v took it from is refused for a
// mistake in it, v stays.
func (s *Snapshot) lostPool(v *service, a netip.Addr) cause {
	if p := s.poolOf(a); p != nil {
		if p.accepts(&v.Service, s.namespaces[v.Name.Namespace].Labels) {
			return cause{}
		}
		return cause{code: PoolLost, pool: p.Name}
	}
	if m := v.mark(a); m != nil {
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

// disagrees tells whether v is of those that must leave because the residents
// carry different sharing keys (rule e): the largest group that agrees stays, a
// tie goes to the group with the oldest Service.
func (s *Snapshot) disagrees(v *service, a netip.Addr) cause {
	if timed(v.Record.Overlap, a) {
		return cause{}
	}
	peers := s.peers(v, a, false)
	var others []ServiceName
	for _, r := range peers {
		if r.request.share != v.request.share || v.request.share == "" {
			others = append(others, r.Name)
		}
	}
	if len(others) == 0 || s.winner(append(peers, v)) == partyOf(v) {
		return cause{}
	}
	return cause{code: Disagreement, others: others}
}

// A party is the residents that agree: all with one key, or one without.
type party struct {
	share string
	alone *service
}

func partyOf(v *service) party {
	if v.request.share == "" {
		return party{alone: v}
	}
	return party{share: v.request.share}
}

// winner returns the party that stays.
func (s *Snapshot) winner(residents []*service) party {
	slices.SortFunc(residents, older)
	size := map[party]int{}
	var best party
	for _, r := range residents { // oldest first
		size[partyOf(r)]++
	}
	for _, r := range residents {
		if p := partyOf(r); size[p] > size[best] {
			best = p
		}
	}
	return best
}

// admits tells whether v may join the address: everybody there, as published and
// as planned, has v's non-empty sharing key, and no port clashes. Unless its user
// named the address, two Local Services with different selectors are not put on
// one address, since their pods need not meet on a node.
func (s *Snapshot) admits(v *service, a netip.Addr, named bool) (bool, cause) {
	g := s.groups[a]
	if g == nil {
		return true, cause{}
	}
	c := cause{}
	for _, there := range [][]*service{g.residents, g.comers, g.kept} {
		for _, r := range there {
			if r == v || v.seatedBefore(r, a) {
				continue
			}
			both := clash(v.Ports, r.Ports)
			apart := v.Local && r.Local && v.Selector != r.Selector && !named
			if r.Foreign || v.request.share == "" || r.request.share != v.request.share || len(both) > 0 || apart {
				if !slices.Contains(c.others, r.Name) {
					c.others = append(c.others, r.Name)
				}
				if v.request.share != "" && r.request.share == v.request.share && !r.Foreign {
					c.ports = append(c.ports, slices.DeleteFunc(both, func(p Port) bool { return slices.Contains(c.ports, p) })...)
				}
			}
		}
	}
	return len(c.others) == 0, c
}

// seatedBefore tells, of two for whom nothing but a seat is kept on the address,
// whether v left before r did: it returns first.
func (v *service) seatedBefore(r *service, a netip.Addr) bool {
	if slices.Contains(r.Holds, a) || slices.Contains(r.comes, a) {
		return false
	}
	of := func(s *service) int {
		return slices.IndexFunc(s.Record.Kept, func(t Timer) bool { return t.Addr == a })
	}
	i, j := of(v), of(r)
	return i >= 0 && j >= 0 && cmp.Or(v.Record.Kept[i].Since.Compare(r.Record.Kept[j].Since), older(v, r)) < 0
}

// timed tells whether one of the timers is about the address.
func timed(timers []Timer, a netip.Addr) bool {
	return slices.ContainsFunc(timers, func(t Timer) bool { return t.Addr == a })
}
