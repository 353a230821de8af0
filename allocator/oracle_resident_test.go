package allocator_test

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// This file judges who sits on an address: who came first, who has changed the
// agreement, who may stay, and who may sit beside whom.

func holds(v Service, a netip.Addr) bool { return slices.Contains(v.Holds, a) }

func timer(in []Timer, a netip.Addr) (Timer, bool) {
	for _, t := range in {
		if t.Addr == a {
			return t, true
		}
	}
	return Timer{}, false
}

func markOf(v Service, a netip.Addr) (PoolMark, bool) {
	for _, m := range v.Record.Pools {
		if m.Addr == a {
			return m, true
		}
	}
	return PoolMark{}, false
}

// kept: a seat is kept for v on the address.
func kept(v Service, a netip.Addr) bool {
	_, ok := timer(v.Record.Kept, a)
	return ok
}

// hasSeat: a seat is kept for v on the address, or its status has lost the address and
// has none of that family instead.
func hasSeat(v Service, a netip.Addr) bool {
	m, _ := markOf(v, a)
	_, leaving := timer(v.Record.Overlap, a)
	return kept(v, a) || m.Pool != "" && !leaving && !v.Foreign &&
		!slices.ContainsFunc(v.Holds, func(b netip.Addr) bool { return FamilyOf(b) == FamilyOf(a) })
}

// current: the record was written while somebody led as today, so that it, and not
// the status, says what v holds.
func (j *judge) current(v Service) bool {
	return !v.Record.IsZero() && !v.Record.Written.Before(j.settings.LedSince)
}

// overwritten: somebody else wrote the address into the status of v.
func (j *judge) overwritten(v Service, a netip.Addr) bool {
	_, marked := markOf(v, a)
	return holds(v, a) && !marked && j.current(v)
}

// holds: v holds the address, and nobody else wrote it there.
func (j *judge) holds(v Service, a netip.Addr) bool { return holds(v, a) && !j.overwritten(v, a) }

// missing: the record has the address and the status has lost it. If nobody led
// meanwhile, that is so only where the status has no other of its family.
func (j *judge) missing(v Service, a netip.Addr) bool {
	_, marked := markOf(v, a)
	_, leaving := timer(v.Record.Overlap, a)
	return marked && !holds(v, a) && !kept(v, a) && !leaving &&
		(j.current(v) || !slices.ContainsFunc(v.Holds, func(b netip.Addr) bool { return FamilyOf(b) == FamilyOf(a) }))
}

// bounded is what a time of a record counts as: nothing in flight began before its
// Service was there or somebody led, and nothing will begin.
func (j *judge) bounded(v Service, since time.Time) time.Time {
	return earlier(later(later(since, v.Created), j.settings.LedSince), j.now)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// timeless is how those see it that do not know the time: Place believes marks of the
// future, until the leader has written what they count as.
func (w *world) timeless() *judge {
	ever := *w
	ever.now = noon.AddDate(1000, 0, 0)
	return ever.judge()
}

// came orders those on an address by arrival: who has no mark of it, last.
func (j *judge) came(a netip.Addr) func(v, r Service) int {
	return func(v, r Service) int {
		x, marked := markOf(v, a)
		y, other := markOf(r, a)
		if marked != other {
			return rankOf(other) - rankOf(marked)
		}
		since := func(v Service, m PoolMark) time.Time { return earlier(later(m.Since, v.Created), j.now) }
		return cmp.Or(rankOf(marked)*since(v, x).Compare(since(r, y)), age(v, r))
	}
}

func age(a, b Service) int { return cmp.Or(a.Created.Compare(b.Created), a.Name.Compare(b.Name)) }

// residents are the Services of ours that hold the address, in the order of arrival.
func (j *judge) residents(a netip.Addr) (out []Service) {
	for _, v := range values(j.services) {
		if holds(v, a) && !v.Foreign {
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, j.came(a))
	return out
}

// lost: no pool has the address, or its pool does not accept v (rule c). A pool
// with a mistake in it costs nobody the address that came from it, and neither does
// a namespace that is not known.
func (j *judge) lost(v Service, a netip.Addr) bool {
	if p := j.owners[a]; p != "" {
		return !j.accepts(p, v) && !j.unknown(p, v)
	}
	return !j.refused[j.origin(v, a)]
}

var shareOfKey = map[string]string{}

// shareOf is what a record says of a sharing key: what is recorded for one who is
// alone with it.
func shareOf(key string) string {
	if share, ok := shareOfKey[key]; ok {
		return share
	}
	p := Plan(NewSnapshot(Facts{
		Pools: []Pool{{Name: "p", Addresses: []string{"10.0.0.1/32"}, AutoAssign: true}},
		Services: []Service{{
			Name: ServiceName{"n", "s"}, Families: []Family{IPv4}, Annotations: map[string]string{PrefixMetalLB + AnnotationShare: key},
		}},
	}), noon)
	shareOfKey[key] = p.Decisions[0].Record.Share
	return shareOfKey[key]
}

// changed: v has changed the agreement, or nothing tells that it has not.
func changed(v Service) bool {
	return v.Record.IsZero() || v.Record.Share != shareOf(wishOf(v).key)
}

// agree: two Services carry the same key.
func agree(a, b Service) bool { return wishOf(a).key != "" && wishOf(a).key == wishOf(b).key }

// outvoted: v is of those that must leave because the keys differ (rule e).
func (j *judge) outvoted(v Service, a netip.Addr) bool {
	there := slices.DeleteFunc(j.residents(a), func(r Service) bool {
		_, leaving := timer(r.Record.Overlap, a)
		return leaving || j.overwritten(r, a)
	})
	if !slices.ContainsFunc(there, func(r Service) bool { return r.Name == v.Name }) {
		return false
	}
	stays := j.stays(there)
	return v.Name != stays.Name && !agree(v, stays)
}

// stays is one of the party that stays on an address, of those there by arrival:
// the first that has not changed the agreement, with its party, if one of another
// namespace has not changed it either; else the namespace of the first votes.
func (j *judge) stays(there []Service) Service {
	ordered := slices.Clone(there)
	slices.SortStableFunc(ordered, func(a, b Service) int { return rankOf(changed(a)) - rankOf(changed(b)) })
	first := ordered[0]
	var voters []Service // in the order of arrival
	for _, r := range there {
		if r.Name.Namespace == first.Name.Namespace {
			voters = append(voters, r)
		} else if !changed(r) {
			return first
		}
	}
	rank := func(of Service) (n int) {
		for _, r := range voters {
			if r.Name == of.Name || agree(r, of) {
				n += 2
				n |= rankOf(!changed(r))
			}
		}
		return n
	}
	return slices.MaxFunc(voters, func(a, b Service) int { return rank(a) - rank(b) }) // the first of equals
}

// takes: v claims a port, with which it was not admitted, of somebody of another
// namespace for whom a seat is kept with it. Who was there with it takes it from nobody.
func takes(v, r Service, a netip.Addr) bool {
	_, was := markOf(v, a)
	return v.Name.Namespace != r.Name.Namespace && hasSeat(r, a) && !holds(r, a) && slices.ContainsFunc(v.Ports, func(p Port) bool {
		return slices.Contains(r.Record.Ports, p) && !((was || holds(v, a)) && slices.Contains(v.Record.Ports, p))
	})
}

// brought: v came later to a port that another resident has (rule d), or takes one
// from a seat.
func (j *judge) brought(v Service, a netip.Addr) bool {
	for _, r := range j.services {
		if takes(v, r, a) {
			return true
		}
	}
	for _, r := range j.residents(a) {
		if r.Name == v.Name {
			continue
		}
		for _, p := range common(v, r) {
			mine, theirs := slices.Contains(v.Record.Ports, p), slices.Contains(r.Record.Ports, p)
			if theirs && !mine || mine == theirs && j.came(a)(v, r) > 0 {
				return true
			}
		}
	}
	return false
}

func common(a, b Service) (both []Port) {
	for _, p := range a.Ports {
		if slices.Contains(b.Ports, p) {
			both = append(both, p)
		}
	}
	return both
}

// compatible: two Services may sit on one address, if their namespaces may.
func compatible(a, b Service) bool {
	return !a.Foreign && !b.Foreign && agree(a, b) && len(common(a, b)) == 0
}

// may: v may sit down beside r. Who comes back is not barred by those of other
// namespaces who changed the agreement meanwhile, nor by their seats, unless it would
// take a port from these.
func (j *judge) may(v, r Service, a netip.Addr) bool {
	_, back := markOf(v, a)
	if v.Name.Namespace != r.Name.Namespace && holds(r, a) && slices.ContainsFunc(v.Ports, func(p Port) bool {
		return slices.Contains(r.Record.Ports, p) && !(back && slices.Contains(v.Record.Ports, p))
	}) {
		return false // r may have left the port over a clash, and its seat is not published yet
	}
	if back && v.Name.Namespace != r.Name.Namespace && !r.Foreign {
		if hasSeat(r, a) && !holds(r, a) && !slices.Contains(j.latest[r.Name].Holds, a) {
			return !takes(v, r, a)
		}
		if holds(r, a) && changed(r) && !changed(v) && len(common(v, r)) == 0 {
			return true
		}
	}
	return compatible(v, r) && (back || j.consent(v, r, a)) && !takes(v, r, a)
}

// consent: v may be put beside r, as far as namespaces go.
func (j *judge) consent(v, r Service, a netip.Addr) bool {
	return v.Name.Namespace == r.Name.Namespace || j.settings.AcrossNamespaces || j.pools[j.owners[a]].AcrossNamespaces
}

// apart: their pods need not meet, so nobody but the user puts them together.
func apart(a, b Service) bool { return a.Local && b.Local && a.Selector != b.Selector }

// newcomer: v neither holds anything nor waits to get it back.
func newcomer(v Service) bool { return len(v.Holds)+len(v.Record.Kept)+len(v.Record.Pools) == 0 }

// there are the others on an address, in what is published and in what is decided.
func (j *judge) there(v Service, a netip.Addr, seats bool) (out []Service) {
	for n, r := range j.services {
		if j.without && newcomer(r) {
			continue
		}
		if n != v.Name && (holds(r, a) || slices.Contains(j.latest[n].Holds, a) || seats && hasSeat(r, a)) {
			out = append(out, r)
		}
	}
	return out
}

// usedElsewhere: a node, the externalIPs of another Service or the API server has
// the address, or no host can use it.
func (j *judge) usedElsewhere(v Service, a netip.Addr) bool {
	for _, n := range j.nodes {
		if slices.Contains(n.InUse, a) {
			return true
		}
	}
	for _, u := range j.inUse {
		if slices.Contains(u.Addrs, a) && u.Service != v.Name {
			return true
		}
	}
	return a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() ||
		a.Is4() && (a.As4()[0] == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

// withinQuota: the namespace of v may sit on one more address of that pool, or sits
// on this one.
func (j *judge) withinQuota(v Service, a netip.Addr) bool {
	pool := j.owners[a]
	most := j.pools[pool].MaxPerNamespace
	if most <= 0 {
		return true
	}
	sits := map[netip.Addr]bool{}
	for n, r := range j.services {
		if n.Namespace != v.Name.Namespace || j.without && newcomer(r) && n != v.Name {
			continue
		}
		on := slices.Clone(r.Holds)
		for _, m := range r.Record.Pools {
			if hasSeat(r, m.Addr) {
				on = append(on, m.Addr)
			}
		}
		if n != v.Name && slices.Contains(j.latest[n].Holds, a) || slices.Contains(on, a) {
			return true
		}
		for _, b := range append(on, j.latest[n].Holds...) {
			sits[b] = j.owners[b] == pool && b != a
		}
	}
	count := 0
	for _, is := range sits {
		count += rankOf(is)
	}
	return count < most
}

// over: the wait that began then is over.
func (j *judge) over(since time.Time, wait time.Duration) bool {
	return wait != Never && !j.now.Before(since.Add(wait))
}
