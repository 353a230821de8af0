package allocator_test

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// The oracle: the rules of allocation, written a second time from their text,
// over enumerated addresses, with nothing of the package but its nouns.

// A judge knows one moment of a world: what is published, and what is decided.
type judge struct {
	*world
	refused map[string]bool
	owners  map[netip.Addr]string // accepted pool of each address
	without bool                  // newcomers do not count
}

func (w *world) judge() *judge {
	j := &judge{world: w, refused: map[string]bool{}, owners: map[netip.Addr]string{}}
	order := values(w.pools)
	slices.SortStableFunc(order, func(a, b Pool) int {
		if a.Accepted != b.Accepted {
			if a.Accepted {
				return -1
			}
			return 1
		}
		return a.Created.Compare(b.Created)
	})
	for _, p := range order {
		own, ok := enumerate(p)
		for _, a := range own {
			ok = ok && j.owners[a] == ""
		}
		j.refused[p.Name] = !ok
		if ok {
			for _, a := range own {
				j.owners[a] = p.Name
			}
		}
	}
	return j
}

// enumerate lists the addresses of a pool; false when there is a mistake in it.
func enumerate(p Pool) (out []netip.Addr, ok bool) {
	seen := map[netip.Addr]bool{}
	for _, entry := range p.Addresses {
		var first netip.Addr
		inside := func(netip.Addr) bool { return false }
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			first, inside = prefix.Masked().Addr(), prefix.Contains
		} else if from, to, found := strings.Cut(entry, "-"); found {
			a, err1 := netip.ParseAddr(from)
			b, err2 := netip.ParseAddr(to)
			if err1 == nil && err2 == nil && a.Is4() == b.Is4() {
				first, inside = a, func(x netip.Addr) bool { return !b.Less(x) }
			}
		}
		if !inside(first) {
			return nil, false
		}
		for a := first; inside(a); a = a.Next() {
			if seen[a] {
				return nil, false
			}
			seen[a] = true
			out = append(out, a)
		}
	}
	if p.Allocation != nil {
		names := slices.Sorted(slices.Values(p.Allocation.Namespaces))
		if len(slices.Compact(names)) != len(p.Allocation.Namespaces) {
			return nil, false
		}
	}
	return out, len(out) > 0
}

// accepts: serviceAllocation lets the Service in.
func (j *judge) accepts(pool string, v Service) bool {
	p, ok := j.pools[pool]
	if !ok || j.refused[pool] {
		return false
	}
	if p.Allocation == nil {
		return true
	}
	any := func(selectors []Selector, labels map[string]string) bool {
		return slices.ContainsFunc(selectors, func(s Selector) bool { return s.Matches(labels) })
	}
	where := len(p.Allocation.Namespaces)+len(p.Allocation.NamespaceSelectors) == 0 ||
		slices.Contains(p.Allocation.Namespaces, v.Name.Namespace) ||
		any(p.Allocation.NamespaceSelectors, j.namespaces[v.Name.Namespace].Labels)
	return where && (len(p.Allocation.ServiceSelectors) == 0 || any(p.Allocation.ServiceSelectors, v.Labels))
}

// A wish is what the user asks for.
type wish struct {
	addrs     map[Family]netip.Addr
	pool, key string
	bad       bool
}

func wishOf(v Service) wish {
	get := func(name string) (string, bool) {
		if x, ok := v.Annotations[PrefixMetalLB+name]; ok {
			return x, true
		}
		x, ok := v.Annotations[PrefixMetalLBOld+name]
		return x, ok
	}
	w := wish{addrs: map[Family]netip.Addr{}}
	w.key, _ = get(AnnotationShare)
	w.pool, _ = get(AnnotationPool)
	list, listed := get(AnnotationAddresses)
	if v.LoadBalancerIP != "" {
		w.bad = listed
		list, listed = v.LoadBalancerIP, true
	}
	if !listed {
		return w
	}
	for _, text := range strings.Split(list, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil || w.addrs[FamilyOf(a)].IsValid() || len(v.Families) > 0 && !slices.Contains(v.Families, FamilyOf(a)) {
			w.bad = true
			break
		}
		w.addrs[FamilyOf(a)] = a
	}
	return w
}

// wants: the request of v allows the address, as one of its family.
func (j *judge) wants(v Service, a netip.Addr) bool {
	w := wishOf(v)
	if n := w.addrs[FamilyOf(a)]; n.IsValid() {
		return w.bad || n == a
	}
	return w.bad || w.pool == "" || w.pool == j.origin(v, a)
}

// origin is the pool of an address: the one that has it, else the one it came from.
func (j *judge) origin(v Service, a netip.Addr) string {
	if p := j.owners[a]; p != "" {
		return p
	}
	for _, m := range v.Record.Pools {
		if m.Addr == a {
			return m.Pool
		}
	}
	return ""
}

func holds(v Service, a netip.Addr) bool { return slices.Contains(v.Holds, a) }

func timer(in []Timer, a netip.Addr) (Timer, bool) {
	for _, t := range in {
		if t.Addr == a {
			return t, true
		}
	}
	return Timer{}, false
}

// residents are the Services of ours that hold the address, oldest first.
func (j *judge) residents(a netip.Addr) (out []Service) {
	for _, v := range values(j.services) {
		if holds(v, a) && !v.Foreign {
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, age)
	return out
}

func age(a, b Service) int { return cmp.Or(a.Created.Compare(b.Created), a.Name.Compare(b.Name)) }

// lost: no pool has the address, or its pool does not accept v (rule c). A pool
// with a mistake in it costs nobody the address that came from it.
func (j *judge) lost(v Service, a netip.Addr) bool {
	if p := j.owners[a]; p != "" {
		return !j.accepts(p, v)
	}
	return !j.refused[j.origin(v, a)]
}

// outvoted: v is of those that must leave because the keys differ (rule e).
func (j *judge) outvoted(v Service, a netip.Addr) bool {
	if _, leaving := timer(v.Record.Overlap, a); leaving {
		return false
	}
	var parties [][]Service // by their oldest
	for _, r := range j.residents(a) {
		if _, leaving := timer(r.Record.Overlap, a); leaving {
			continue
		}
		key := wishOf(r).key
		i := slices.IndexFunc(parties, func(p []Service) bool { return key != "" && wishOf(p[0]).key == key })
		if i < 0 {
			parties = append(parties, []Service{r})
		} else {
			parties[i] = append(parties[i], r)
		}
	}
	largest := slices.MaxFunc(parties, func(a, b []Service) int { return len(a) - len(b) }) // the first of equals
	return !slices.ContainsFunc(largest, func(r Service) bool { return r.Name == v.Name })
}

// brought: v came later to a port that another resident has (rule d).
func (j *judge) brought(v Service, a netip.Addr) bool {
	for _, r := range j.residents(a) {
		if r.Name == v.Name {
			continue
		}
		for _, p := range common(v, r) {
			had := func(s Service) bool { return len(s.Record.Ports) == 0 || slices.Contains(s.Record.Ports, p) }
			if had(r) && !had(v) || had(r) == had(v) && age(v, r) > 0 {
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

// compatible: two Services may sit on one address.
func compatible(a, b Service) bool {
	key := wishOf(a).key
	return !a.Foreign && !b.Foreign && key != "" && key == wishOf(b).key && len(common(a, b)) == 0
}

// apart: their pods need not meet, so nobody but the user puts them together.
func apart(a, b Service) bool { return a.Local && b.Local && a.Selector != b.Selector }

// there are the others on an address, in what is published and in what is decided.
func (j *judge) there(v Service, a netip.Addr, seats bool) (out []Service) {
	for n, r := range j.services {
		_, seat := timer(r.Record.Kept, a)
		if j.without && len(r.Holds)+len(r.Record.Kept) == 0 {
			continue
		}
		if n != v.Name && (holds(r, a) || slices.Contains(j.latest[n].Holds, a) || seats && seat) {
			out = append(out, r)
		}
	}
	return out
}

// available: v could newly have the address now.
func (j *judge) available(v Service, a netip.Addr) bool {
	w := wishOf(v)
	pool := j.owners[a]
	named := w.addrs[FamilyOf(a)] == a
	if w.bad || !j.wants(v, a) || pool == "" || !j.accepts(pool, v) || w.pool != "" && w.pool != pool {
		return false
	}
	if !named && j.pools[pool].AvoidBuggyIPs && a.Is4() && (a.As4()[3] == 0 || a.As4()[3] == 255) {
		return false
	}
	for _, r := range j.there(v, a, true) {
		if !compatible(v, r) || !named && apart(v, r) {
			return false
		}
	}
	return true
}

// automatic: the pool gives addresses to Services that do not name it.
func (j *judge) automatic(v Service, pool string) bool {
	return wishOf(v).pool == pool || j.pools[pool].AutoAssign
}

// over: the wait that began then is over.
func (j *judge) over(since time.Time, wait time.Duration) bool {
	return wait != Never && !j.now.Before(since.Add(wait))
}
