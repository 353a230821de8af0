package allocator_test

import (
	"net/netip"
	"slices"
	"strings"

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

// accepts: serviceAllocation is known to let the Service in.
func (j *judge) accepts(pool string, v Service) bool { return !j.unknown(pool, v) && j.lets(pool, v) }

// unknown: nobody can tell yet whether the pool lets the Service in, since its
// namespace has not been seen.
func (j *judge) unknown(pool string, v Service) bool {
	p, ok := j.pools[pool]
	if _, seen := j.namespaces[v.Name.Namespace]; seen || !ok || j.refused[pool] || p.Allocation == nil {
		return false
	}
	for _, s := range p.Allocation.ServiceSelectors {
		if s.Matches(v.Labels) {
			ok = true
			break
		}
		ok = false
	}
	return ok && len(p.Allocation.NamespaceSelectors) > 0 && !slices.Contains(p.Allocation.Namespaces, v.Name.Namespace)
}

// lets: serviceAllocation lets the Service in, by the labels of its namespace, if any.
func (j *judge) lets(pool string, v Service) bool {
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
		x, ok := v.Annotations[PrefixMetalLB+name]
		if !ok {
			x, ok = v.Annotations[PrefixMetalLBOld+name]
		}
		if strings.TrimSpace(x) == "" { // asks for nothing
			return "", false
		}
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

// available: v could newly have the address now.
func (j *judge) available(v Service, a netip.Addr) bool {
	w := wishOf(v)
	pool := j.owners[a]
	named := w.addrs[FamilyOf(a)] == a
	if w.bad || !j.wants(v, a) || pool == "" || !j.accepts(pool, v) || w.pool != "" && w.pool != pool || j.usedElsewhere(v, a) || !j.withinQuota(v, a) {
		return false
	}
	if !named && j.usedElsewhere(Service{}, a) { // its own externalIPs, which it would have to name
		return false
	}
	if !named && j.pools[pool].AvoidBuggyIPs && a.Is4() && (a.As4()[3] == 0 || a.As4()[3] == 255) {
		return false
	}
	for _, r := range j.there(v, a, true) {
		if !j.may(v, r, a) || !named && apart(v, r) {
			return false
		}
	}
	return true
}

// automatic: the pool gives addresses to Services that do not name it.
func (j *judge) automatic(v Service, pool string) bool {
	return wishOf(v).pool == pool || j.pools[pool].AutoAssign
}
