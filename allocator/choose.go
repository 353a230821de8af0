package allocator

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// This file finds addresses for Services that need one.

// A need is what is to be found for one Service.
type need struct {
	families []Family      // in the order of preference
	all      bool          // every family or nothing; else as many as can be had, the first before all
	beside   *pool         // take from this pool only (a second family); nil: from any
	named    [2]netip.Addr // addresses that the user names; invalid: any
}

// choose finds what is needed, from what is free in what is published and in
// what is planned. The answer has one address a family, invalid where there is none.
func (s *Snapshot) choose(v *service, n need) (found [2]netip.Addr, why Reason) {
	if v.request.err != nil {
		return found, Reason{Code: BadRequest, Detail: v.request.err.Error()}
	}
	pools, why := s.poolsFor(v, n)
	if why.Code != "" {
		return found, why
	}
	// Named addresses first: they are taken as they are, or nothing is.
	var open []Family
	for _, f := range n.families {
		a := n.named[slot(f)]
		if !a.IsValid() {
			open = append(open, f)
			continue
		}
		if why := s.mayHave(v, a, s.newTo(v, s.poolOf(a), found)); why.Code != "" {
			return [2]netip.Addr{}, why
		}
		found[slot(f)] = a
	}
	if len(open) == 0 {
		return found, Reason{}
	}
	if len(open) < len(n.families) { // beside a named address: from its pool
		pools = []*pool{s.poolOf(found[0])}
		if !found[0].IsValid() {
			pools[0] = s.poolOf(found[1])
		}
	}
	beside := 0 // of what v is to have
	if len(open) < len(n.families) {
		beside = s.newTo(v, pools[0], found)
	}
	wishes := [][]Family{open}
	if !n.all && len(open) > 1 {
		wishes = append(wishes, open[:1], open[1:])
	}
	for _, wish := range wishes {
		if got, ok := s.search(v, pools, wish, beside); ok {
			for i, a := range got {
				if a.IsValid() {
					found[i] = a
				}
			}
			if missing := slices.DeleteFunc(open, func(f Family) bool { return found[slot(f)].IsValid() }); len(missing) > 0 {
				s.await(v, pools, missing, false, beside)
			}
			return found, Reason{}
		}
	}
	s.await(v, pools, open, n.all, beside)
	if !n.all && found != [2]netip.Addr{} {
		return found, Reason{} // the named one alone
	}
	return [2]netip.Addr{}, s.nothingFree(v, pools, open, beside)
}

// search looks for addresses of the wished families, all of one pool: such as are held
// under v's sharing key in any of the pools come before such as are free. So many
// others of the pool are new to v's namespace beside them.
func (s *Snapshot) search(v *service, pools []*pool, wish []Family, beside int) (got [2]netip.Addr, ok bool) {
	for _, onlyJoin := range []bool{true, false} {
		for _, p := range pools {
			if got, ok := s.pick(v, p, wish, onlyJoin, beside); ok {
				return got, true
			}
		}
	}
	return got, false
}

// await notes what may give v an address of the pools, which have none for it now.
func (s *Snapshot) await(v *service, pools []*pool, families []Family, all bool, beside int) {
	least := 1 // addresses that it takes at once
	if all {
		least = len(families)
	}
	open := slices.DeleteFunc(slices.Clone(pools), func(p *pool) bool { return s.overQuota(v, p, netip.Addr{}, beside+least-1) })
	if len(open) > 0 { // what becomes free in the others is not for v
		s.queueFor(v, open, families, all)
	}
	if v.request.share != "" {
		s.waitFor(v, waited{share: v.request.share})
	}
	for _, p := range pools {
		if p.MaxPerNamespace > 0 {
			s.waitFor(v, waited{pool: p.Name, namespace: v.Name.Namespace})
		}
	}
}

// poolsFor returns the pools to look through, in order; or why there are none.
func (s *Snapshot) poolsFor(v *service, n need) ([]*pool, Reason) {
	if name := v.request.pool; name != "" {
		p, asks := s.poolNamed(name), "asks for pool "+excerpt(name)
		if p == nil {
			_, annotation := v.annotation(AnnotationPool)
			return nil, Reason{Code: UnknownPool, Pool: excerpt(name), Detail: fmt.Sprintf("%s (annotation %s), and there is no such pool", asks, annotation)}
		}
		if p.err != nil {
			return nil, Reason{Code: PoolRefused, Pool: name, Detail: fmt.Sprintf("%s, which is refused: %v", asks, p.err)}
		}
		switch s.accepts(p, v) {
		case unknown:
			return nil, namespaceUnknown(v)
		case no:
			return nil, Reason{Code: NotAccepted, Pool: name, Detail: asks + ", whose serviceAllocation does not select this Service"}
		}
		return []*pool{p}, Reason{}
	}
	if n.beside != nil {
		switch s.accepts(n.beside, v) {
		case unknown:
			return nil, namespaceUnknown(v)
		case no:
			return nil, Reason{Code: NotAccepted, Pool: n.beside.Name, Detail: fmt.Sprintf("pool %s, which gave the other address, does not accept this Service any more", n.beside.Name)}
		}
		return []*pool{n.beside}, Reason{}
	}
	var selected, others []*pool
	for _, p := range s.pools { // by name
		if !p.AutoAssign || p.err != nil {
			continue
		}
		switch s.accepts(p, v) {
		case unknown:
			return nil, namespaceUnknown(v) // which pool comes first is not known either
		case yes:
			if p.Allocation != nil {
				selected = append(selected, p)
			} else {
				others = append(others, p)
			}
		}
	}
	slices.SortStableFunc(selected, func(a, b *pool) int {
		x, y := a.Allocation.Priority, b.Allocation.Priority
		if (x > 0) != (y > 0) {
			return cmp.Compare(y, x)
		}
		return cmp.Compare(x, y)
	})
	pools := append(selected, others...)
	if len(pools) == 0 && !n.named[0].IsValid() && !n.named[1].IsValid() {
		return nil, noPool()
	}
	return pools, Reason{}
}

func noPool() Reason {
	return Reason{Code: NoPool, Detail: "no pool gives addresses to this Service by itself (autoAssign, serviceAllocation); create an IPAddressPool or name one by annotation " + PrefixMetalLB + AnnotationPool}
}

func namespaceUnknown(v *service) Reason {
	return Reason{Code: NamespaceUnknown, Detail: fmt.Sprintf("waits until the labels of namespace %s are known: a pool selects by them", v.Name.Namespace)}
}

// mayHave tells why v cannot have the address that its user names, beside so many others
// of the pool that are new to its namespace.
func (s *Snapshot) mayHave(v *service, a netip.Addr, beside int) Reason {
	s.waitFor(v, waited{addr: a})
	p := s.poolOf(a)
	switch {
	case p == nil:
		return Reason{Code: NotInPool, Addr: a, Detail: fmt.Sprintf("asks for %s, which is in no pool", a)}
	case v.request.pool != "" && p.Name != v.request.pool:
		return Reason{Code: NotInPool, Addr: a, Pool: p.Name, Detail: fmt.Sprintf("asks for %s and for pool %s, but that address is in pool %s", a, v.request.pool, p.Name)}
	}
	switch s.accepts(p, v) {
	case unknown:
		return namespaceUnknown(v)
	case no:
		return Reason{Code: NotAccepted, Addr: a, Pool: p.Name, Detail: fmt.Sprintf("asks for %s of pool %s, whose serviceAllocation does not select this Service", a, p.Name)}
	}
	if by := s.inUse(v, a); by != "" {
		return Reason{Code: InUseElsewhere, Addr: a, Pool: p.Name, Detail: fmt.Sprintf("cannot have %s: %s; ask for another address", a, by)}
	}
	if c := s.admits(v, a, true); c.code != "" {
		return Reason{Code: AddressTaken, Addr: a, Others: c.names, More: c.more, Ports: c.ports, Detail: s.refusal(v, a, c)}
	}
	if s.overQuota(v, p, a, beside) {
		s.waitFor(v, waited{pool: p.Name, namespace: v.Name.Namespace})
		return Reason{Code: QuotaReached, Addr: a, Pool: p.Name, Detail: fmt.Sprintf("cannot have %s: %s", a, s.quotaText(v, p, beside+1))}
	}
	return Reason{}
}

// refusal says who has the address that v asks for, and what to do about it.
func (s *Snapshot) refusal(v *service, a netip.Addr, c cause) string {
	strange := false
	for _, n := range c.names {
		r := s.services[n]
		if r.Foreign {
			return fmt.Sprintf("it belongs to %s, a Service of another load balancer class", n)
		}
		strange = strange || r.Name.Namespace != v.Name.Namespace && r.request.share == v.request.share
	}
	by := "it is held by or kept for " + list(c.names, c.more)
	switch {
	case v.request.share == "":
		return fmt.Sprintf("%s; to share it, give all the same annotation %s", by, PrefixMetalLB+AnnotationShare)
	case strange && !s.across(a):
		return fmt.Sprintf("%s, of another namespace: a sharing key counts within its namespace, unless the pool has the annotation %s: \"true\"", by, AnnotationAcross)
	case len(c.ports) > 0:
		return fmt.Sprintf("%s, where %s is taken", by, ports(c.ports))
	}
	return fmt.Sprintf("%s, whose sharing key is not %q", by, v.request.share)
}

// pick takes an address of every wished family from one pool: one held under v's
// sharing key that admits it, or, unless onlyJoin, the lowest free one.
func (s *Snapshot) pick(v *service, p *pool, wish []Family, onlyJoin bool, beside int) (got [2]netip.Addr, ok bool) {
	for _, f := range wish {
		more := beside + s.newTo(v, p, got)
		a, ok := s.join(v, p, f, more)
		if !ok && !onlyJoin && !s.overQuota(v, p, netip.Addr{}, more) {
			a, ok = p.lowestFree(f, s.taken)
		}
		if !ok {
			return got, false
		}
		got[slot(f)] = a
	}
	return got, true
}

// join finds the lowest address of the pool that is held under v's key and admits v,
// which takes so many others of the pool, new to its namespace, at the same time.
func (s *Snapshot) join(v *service, p *pool, f Family, more int) (found netip.Addr, ok bool) {
	k := s.keyed[v.request.share]
	if k == nil {
		return found, false
	}
	s.lowest(k, v, func(a netip.Addr) (next bool) {
		if FamilyOf(a) == f && s.poolOf(a) == p && !slices.Contains(v.Holds, a) && len(s.used.at[a]) == 0 && !s.overQuota(v, p, a, more) && s.admits(v, a, false).code == "" {
			found, ok = a, true
		}
		return !ok
	})
	return found, ok
}

// nothingFree says why the pools have nothing for v.
func (s *Snapshot) nothingFree(v *service, pools []*pool, families []Family, beside int) Reason {
	if len(pools) == 0 {
		return noPool()
	}
	names := make([]string, len(pools))
	both := false
	for i, p := range pools {
		names[i] = p.Name
		both = both || p.capacity(IPv4) > 0 && p.capacity(IPv6) > 0
		if s.overQuota(v, p, netip.Addr{}, beside+len(families)-1) {
			return Reason{Code: QuotaReached, Pool: p.Name, Detail: s.quotaText(v, p, beside+len(families)) + "; delete one of its Services, or have them share an address"}
		}
	}
	which := families[0].String()
	if len(families) > 1 {
		which = "IPv4 and IPv6"
	}
	r := Reason{Code: PoolFull}
	within, enlarge := "pools", "one of them"
	if len(pools) == 1 {
		r.Pool = pools[0].Name
		within, enlarge = "pool", "the pool"
	}
	if len(families) > 1 && !both {
		r.Detail = fmt.Sprintf("%s %s: none has free addresses of both families, and a Service takes both from the same pool; put IPv4 and IPv6 ranges into one pool", within, strings.Join(names, ", "))
		return r
	}
	shared := ""
	if v.request.share != "" {
		shared = fmt.Sprintf(", and none held under sharing key %q admits it", v.request.share)
	}
	r.Detail = fmt.Sprintf("no free %s address in %s %s%s; enlarge %s, or delete a Service", which, within, strings.Join(names, ", "), shared, enlarge)
	return r
}
