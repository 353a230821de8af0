package allocator

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// This file answers for the residents of one address together: who was there first,
// and who stays when they disagree about the sharing key.

// arrivalAt orders the residents of an address: who came first is first. Whose record
// does not tell when it came is last; then age counts.
func arrivalAt(a netip.Addr) func(v, r *service) int {
	since := func(v *service) (t time.Time) {
		if m := v.mark(a); m != nil {
			t = m.Since
		}
		return t
	}
	return func(v, r *service) int {
		x, y := since(v), since(r)
		if x.IsZero() != y.IsZero() {
			if x.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Or(x.Compare(y), older(v, r))
	}
}

// An agreement is what the residents of an address say about the sharing key.
type agreement struct {
	agreed bool  // all have the same key, or there is only one
	stays  party // who stays if they are not agreed
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

// changed tells whether v's key is another one than that with which it was admitted.
// Without a record it is not known to have been admitted with any.
func (v *service) changed() bool {
	return v.Record.IsZero() || v.Record.Share != v.request.share
}

// voices tells whether v has a say about the key on an address that it holds: it is
// neither leaving it, nor was it put there by somebody else.
func (s *Snapshot) voices(v *service, a netip.Addr) bool {
	return !v.Foreign && !timed(v.Record.Overlap, a) && !s.overwritten(&v.Service, a)
}

// agreement returns what the residents of an address say. Who changed the agreement
// leaves, where Services of several namespaces have a part in it; so nobody is
// outvoted by another namespace. Within the namespace of the first the largest party
// stays; of two as large, the one of somebody who did not change; else of the first.
func (s *Snapshot) agreement(a netip.Addr) agreement {
	g := s.groups[a]
	if g == nil {
		return agreement{agreed: true}
	}
	if g.said == nil {
		said := s.count(a, g)
		g.said = &said
	}
	return *g.said
}

func (s *Snapshot) count(a netip.Addr, g *group) agreement {
	var first *service // of those who have not changed; of all, if all have
	several, agreed := false, true
	var one *service
	for _, r := range g.residents { // in the order of arrival
		switch {
		case !s.voices(r, a):
			continue
		case one == nil:
			one = r
		case r.request.share == "" || r.request.share != one.request.share:
			agreed = false
		}
		switch {
		case first == nil || first.changed() && !r.changed():
			first = r
		case !r.changed() && r.Name.Namespace != first.Name.Namespace:
			several = true
		}
	}
	switch {
	case one == nil:
		return agreement{agreed: true}
	case agreed || several:
		return agreement{agreed, partyOf(first)}
	}
	return agreement{stays: s.vote(a, g, first)}
}

// vote returns the party that stays by the will of the namespace of the first.
func (s *Snapshot) vote(a netip.Addr, g *group, first *service) party {
	type votes struct{ size, unchanged int }
	count := map[party]votes{}
	var order []party
	for _, r := range g.residents {
		if r.Name.Namespace != first.Name.Namespace || !s.voices(r, a) {
			continue
		}
		p := partyOf(r)
		n, known := count[p]
		if !known {
			order = append(order, p)
		}
		n.size++
		if !r.changed() {
			n.unchanged = 1
		}
		count[p] = n
	}
	return slices.MaxFunc(order, func(p, q party) int { // the first of equals
		return cmp.Or(cmp.Compare(count[p].size, count[q].size), cmp.Compare(count[p].unchanged, count[q].unchanged))
	})
}

// disagrees tells whether v is of those that must leave because the residents carry
// different sharing keys (rule e).
func (s *Snapshot) disagrees(v *service, a netip.Addr) cause {
	said := s.agreement(a)
	if said.agreed || partyOf(v) == said.stays || !s.voices(v, a) {
		return cause{}
	}
	var against []*service
	for _, r := range s.groups[a].residents {
		if r != v && s.voices(r, a) && (r.request.share != v.request.share || v.request.share == "") {
			against = append(against, r)
		}
	}
	return cause{code: Disagreement, others: othersOf(against)}
}

// agrees tells whether v has the same key as all the others on every address that it
// holds and goes on to hold, be it for an overlap. Those that it is given now have
// admitted it.
func (d *draft) agrees(holds []netip.Addr) bool {
	for _, a := range holds {
		switch {
		case !slices.Contains(d.v.Holds, a) || d.overwritten(&d.v.Service, a):
			continue
		case slices.ContainsFunc(d.groups[a].kept, func(r *service) bool {
			return r != d.v && timed(r.Record.Kept, a) && (r.request.share != d.v.request.share || r.request.share == "")
		}):
			d.waitFor(d.v, waited{addr: a}) // nor does it leave those behind who wait to come back
			return false
		case d.voices(d.v, a):
			if !d.agreement(a).agreed {
				return false
			}
			continue
		}
		for _, r := range d.groups[a].residents {
			if r != d.v && d.voices(r, a) && (r.request.share != d.v.request.share || r.request.share == "") {
				return false
			}
		}
	}
	return true
}
