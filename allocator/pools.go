package allocator

import (
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// This file knows the pools of a snapshot together: which of them has an address,
// and how many of its addresses are in use.

// A poolSpan is a span and the pool that owns it.
type poolSpan struct {
	span
	pool *pool
}

// poolOf returns the pool whose addresses include a; nil when none does.
func (s *Snapshot) poolOf(a netip.Addr) *pool {
	i, found := slices.BinarySearchFunc(s.spans, a, func(p poolSpan, a netip.Addr) int { return p.first.Compare(a) })
	if !found {
		i--
	}
	if i >= 0 && s.spans[i].contains(a) {
		return s.spans[i].pool
	}
	return nil
}

func (s *Snapshot) poolNamed(name string) *pool {
	if i, ok := slices.BinarySearchFunc(s.pools, name, func(p *pool, n string) int { return strings.Compare(p.Name, n) }); ok {
		return s.pools[i]
	}
	return nil
}

// rebuildPools parses the pools anew and touches the Services whose addresses
// fall under another definition than before, and all that wait for something.
func (s *Snapshot) rebuildPools() {
	was, before := *s, map[string]*pool{}
	for _, p := range s.pools {
		before[p.Name] = p
	}
	s.pools, s.spans = nil, nil
	for _, name := range slices.Sorted(maps.Keys(s.definition)) {
		s.pools = append(s.pools, parsePool(s.definition[name]))
	}
	settleOverlaps(s.pools)
	same := map[*pool]*pool{}
	for _, p := range s.pools {
		if q := before[p.Name]; q != nil && (q.err == nil) == (p.err == nil) && reflect.DeepEqual(q.Pool, p.Pool) {
			p.cursor = q.cursor
			same[q] = p
		}
		for _, sp := range p.spans {
			s.spans = append(s.spans, poolSpan{sp, p})
		}
	}
	slices.SortFunc(s.spans, func(a, b poolSpan) int { return a.first.Compare(b.first) })
	for a, g := range s.groups {
		old, new := was.poolOf(a), s.poolOf(a)
		if old == nil && new == nil || old != nil && same[old] != nil && same[old] == new {
			if old != nil || s.markedUnchanged(g, a, same, before) {
				continue
			}
		}
		for _, v := range slices.Concat(g.residents, g.kept) {
			s.touch(v)
		}
		s.seating.stale[a] = true
	}
	for v := range s.agenda.open {
		s.touch(v)
	}
	s.recount()
}

// markedUnchanged tells, of an address in no pool, whether the pools that its
// holders took it from are as they were: a refused pool keeps its holders.
func (s *Snapshot) markedUnchanged(g *group, a netip.Addr, same map[*pool]*pool, before map[string]*pool) bool {
	for _, v := range g.residents {
		if m := v.origin(a); m != nil {
			old, now := before[m.Pool], s.poolNamed(m.Pool)
			if (old == nil) != (now == nil) || old != nil && same[old] != now {
				return false
			}
		}
	}
	return true
}

// Use counts the addresses of a pool, each at most math.MaxInt64.
type Use struct {
	Assigned4, Assigned6   int64
	Available4, Available6 int64
}

// Uses counts for every pool what is assigned of it, as published and planned, and
// what is left to be given. Where a seat is kept, an address is assigned, too.
func (s *Snapshot) Uses() map[string]Use {
	uses := make(map[string]Use, len(s.pools))
	for _, p := range s.pools {
		uses[p.Name] = Use{
			p.sat[0], p.sat[1],
			left(p.capacity(IPv4), p.gone[0]), left(p.capacity(IPv6), p.gone[1]),
		}
	}
	return uses
}

func left(capacity, used int64) int64 {
	if capacity == math.MaxInt64 {
		return capacity
	}
	return capacity - used
}

// count notes that an address of a pool is sat on by Services, or used otherwise, once
// more (+1) or less (-1).
func (p *pool) count(a netip.Addr, sat, gone int64) {
	i := slot(FamilyOf(a))
	p.sat[i] += sat
	if p.spare(a) { // else it is no part of the capacity
		p.gone[i] += gone
	}
}

// spare tells whether the pool gives the address to Services that do not name it.
func (p *pool) spare(a netip.Addr) bool {
	return !(p.AvoidBuggyIPs && buggy(a)) && uselessAs(a) == ""
}

// recount counts everything anew, after the pools have changed.
func (s *Snapshot) recount() {
	for _, p := range s.pools {
		p.sat, p.gone = [2]int64{}, [2]int64{}
	}
	for a := range s.groups {
		if p := s.poolOf(a); p != nil {
			p.count(a, 1, 1)
		}
	}
	for a := range s.used.at {
		if p := s.poolOf(a); p != nil && s.groups[a] == nil {
			p.count(a, 0, 1)
		}
	}
	s.recountTenants()
}
