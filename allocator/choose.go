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
		if why := s.mayHave(v, a); why.Code != "" {
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
	wishes := [][]Family{open}
	if !n.all && len(open) > 1 {
		wishes = append(wishes, open[:1], open[1:])
	}
	for _, wish := range wishes {
		for _, onlyJoin := range []bool{true, false} {
			for _, p := range pools {
				if got, ok := s.pick(v, p, wish, onlyJoin); ok {
					for i, a := range got {
						if a.IsValid() {
							found[i] = a
						}
					}
					return found, Reason{}
				}
			}
		}
	}
	if !n.all && found != [2]netip.Addr{} {
		return found, Reason{} // the named one alone
	}
	return [2]netip.Addr{}, s.nothingFree(v, pools, open)
}

// poolsFor returns the pools to look through, in order; or why there are none.
func (s *Snapshot) poolsFor(v *service, n need) ([]*pool, Reason) {
	labels := s.namespaces[v.Name.Namespace].Labels
	if name := v.request.pool; name != "" {
		p := s.poolNamed(name)
		switch {
		case p == nil:
			return nil, Reason{Code: UnknownPool, Pool: name, Detail: fmt.Sprintf("asks for pool %s (annotation %s), and there is no such pool", name, v.annotationName(AnnotationPool))}
		case p.err != nil:
			return nil, Reason{Code: PoolRefused, Pool: name, Detail: fmt.Sprintf("asks for pool %s, which is refused: %v", name, p.err)}
		case !p.accepts(&v.Service, labels):
			return nil, Reason{Code: NotAccepted, Pool: name, Detail: fmt.Sprintf("asks for pool %s, whose serviceAllocation does not select this Service", name)}
		}
		return []*pool{p}, Reason{}
	}
	if n.beside != nil {
		if !n.beside.accepts(&v.Service, labels) {
			return nil, Reason{Code: NotAccepted, Pool: n.beside.Name, Detail: fmt.Sprintf("pool %s, which gave the other address, does not accept this Service any more", n.beside.Name)}
		}
		return []*pool{n.beside}, Reason{}
	}
	var selected, others []*pool
	for _, p := range s.pools { // by name
		switch {
		case !p.AutoAssign || p.err != nil || !p.accepts(&v.Service, labels):
		case p.Allocation != nil:
			selected = append(selected, p)
		default:
			others = append(others, p)
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

// mayHave tells why v cannot have the address that its user names.
func (s *Snapshot) mayHave(v *service, a netip.Addr) Reason {
	p := s.poolOf(a)
	switch {
	case p == nil:
		return Reason{Code: NotInPool, Addr: a, Detail: fmt.Sprintf("asks for %s, which is in no pool", a)}
	case v.request.pool != "" && p.Name != v.request.pool:
		return Reason{Code: NotInPool, Addr: a, Pool: p.Name, Detail: fmt.Sprintf("asks for %s and for pool %s, but that address is in pool %s", a, v.request.pool, p.Name)}
	case !p.accepts(&v.Service, s.namespaces[v.Name.Namespace].Labels):
		return Reason{Code: NotAccepted, Addr: a, Pool: p.Name, Detail: fmt.Sprintf("asks for %s of pool %s, whose serviceAllocation does not select this Service", a, p.Name)}
	}
	if ok, c := s.admits(v, a, true); !ok {
		return Reason{Code: AddressTaken, Addr: a, Others: c.others, Ports: c.ports, Detail: s.taken(v, c)}
	}
	return Reason{}
}

// taken says who has the address that v asks for, and what to do about it.
func (s *Snapshot) taken(v *service, c cause) string {
	for _, n := range c.others {
		if s.services[n].Foreign {
			return fmt.Sprintf("it belongs to %s, a Service of another load balancer class", n)
		}
	}
	by := "it is held by or kept for " + list(c.others)
	switch {
	case len(c.ports) > 0:
		return fmt.Sprintf("%s, where %s is taken", by, ports(c.ports))
	case v.request.share == "":
		return fmt.Sprintf("%s; to share it, give all the same annotation %s", by, PrefixMetalLB+AnnotationShare)
	}
	return fmt.Sprintf("%s, whose sharing key is not %q", by, v.request.share)
}

// pick takes an address of every wished family from one pool: one held under v's
// sharing key that admits it, or, unless onlyJoin, the lowest free one.
func (s *Snapshot) pick(v *service, p *pool, wish []Family, onlyJoin bool) (got [2]netip.Addr, ok bool) {
	for _, f := range wish {
		a, ok := s.join(v, p, f)
		if !ok && !onlyJoin {
			a, ok = p.lowestFree(f, func(a netip.Addr) bool { return s.groups[a] != nil })
		}
		if !ok {
			return got, false
		}
		got[slot(f)] = a
	}
	return got, true
}

// join finds the lowest address of the pool that is held under v's key and admits v.
func (s *Snapshot) join(v *service, p *pool, f Family) (best netip.Addr, ok bool) {
	for a := range s.shares[v.request.share] {
		if FamilyOf(a) != f || best.IsValid() && best.Less(a) || s.poolOf(a) != p {
			continue
		}
		if may, _ := s.admits(v, a, false); may {
			best, ok = a, true
		}
	}
	return best, ok
}

// nothingFree says why the pools have nothing for v.
func (s *Snapshot) nothingFree(v *service, pools []*pool, families []Family) Reason {
	if len(pools) == 0 {
		return noPool()
	}
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Name
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
	shared := ""
	if v.request.share != "" {
		shared = fmt.Sprintf(", and none held under sharing key %q admits it", v.request.share)
	}
	r.Detail = fmt.Sprintf("no free %s address in %s %s%s; enlarge %s, or delete a Service", which, within, strings.Join(names, ", "), shared, enlarge)
	return r
}
