package allocator_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	. "holdfast.dev/holdfast/allocator"
)

// The oracle of placement: the rules of announcement written a second time, by
// sets over all nodes, with nothing of the package but its nouns.

// endpointsOf are the nodes with a usable endpoint, and whether there is one at all.
func (j *judge) endpointsOf(n ServiceName) (nodes map[string]bool, any bool) {
	var ready, draining []NodeEndpoints
	for _, e := range j.endpoints {
		for _, at := range e.Nodes {
			if e.Service == n && at.Ready > 0 {
				ready = append(ready, at)
			}
			if e.Service == n && at.Terminating > 0 {
				draining = append(draining, at)
			}
		}
	}
	if len(ready) == 0 {
		ready = draining
	}
	nodes = map[string]bool{}
	for _, at := range ready {
		nodes[at.Node] = at.Node != ""
	}
	return nodes, len(ready) > 0
}

// matching tells whether one of the selectors matches, or there is none.
func matching(selectors []Selector, labels map[string]string) bool {
	return len(selectors) == 0 || slices.ContainsFunc(selectors, func(s Selector) bool { return s.Matches(labels) })
}

// likened are the BGPAdvertisements that may be for an address, as far as they are
// like L2Advertisements.
func (j *judge) likened(a netip.Addr) (out []Advertisement) {
	pool, _ := j.poolFor(a)
	for _, b := range values(j.routes) {
		if slices.Contains(b.Without, pool) {
			continue
		}
		out = append(out, Advertisement{
			Name: b.Name, Pools: b.Pools, PoolSelectors: b.PoolSelectors, NodeSelectors: b.NodeSelectors, ServiceSelectors: b.ServiceSelectors,
		})
	}
	return out
}

// poolFor is the pool that an address is of, or was taken from, and its labels.
func (j *judge) poolFor(a netip.Addr) (pool string, labels map[string]string) {
	pool = j.owners[a]
	for _, r := range j.residents(a) {
		if m, marked := markOf(r, a); marked && pool == "" {
			pool, labels = m.Pool, m.Labels
		}
	}
	if p, ok := j.pools[pool]; ok {
		labels = p.Labels
	}
	return pool, labels
}

// adsFor are those of the advertisements that are for a Service on an address.
func (j *judge) adsFor(all []Advertisement, v Service, a netip.Addr) (out []Advertisement) {
	pool, labels := j.poolFor(a)
	for _, ad := range all {
		named := slices.Contains(ad.Pools, pool) || len(ad.PoolSelectors) > 0 && matching(ad.PoolSelectors, labels)
		if pool != "" && (named || len(ad.Pools)+len(ad.PoolSelectors) == 0) && matching(ad.ServiceSelectors, v.Labels) {
			out = append(out, ad)
		}
	}
	return out
}

// A say is what one Service has to say about where its address is announced.
type say struct {
	Service
	ads      []Advertisement
	eligible map[string]bool
	decides  bool // its namespace chooses the nodes
	served   bool
}

// local: it is to be announced only where it has endpoints.
func (s say) local() bool { return s.Local || s.Annotations[AnnotationAnnounceAs] == "Local" }

// placed judges one seat (invariants 14, 15 and 18).
func (j *judge) placed(a netip.Addr, seat Seat) error {
	want := map[ServiceName][]string{} // who is not served, and why
	layer2, says2 := j.chosen(a, values(j.ads), want)
	bgp, says := j.chosen(a, j.likened(a), want)
	for _, v := range j.residents(a) {
		if _, any := j.endpointsOf(v.Name); !any {
			want[v.Name] = append(want[v.Name], string(NoEndpoints))
		} else if !slices.ContainsFunc(slices.Concat(says2, says), func(s say) bool { return s.Name == v.Name }) {
			want[v.Name] = append(want[v.Name], string(NoAdvertisement))
		}
	}
	if err := j.routed(a, seat, bgp, says); err != nil {
		return err
	}
	if err := j.working(seat, slices.Concat(says2, says)); err != nil {
		return err
	}
	if err := j.standings(a, seat, says2); err != nil {
		return err
	}
	return compare(seat, layer2, want, says2)
}

// working judges on which nodes, usable or not, a seat says that the Services work
// for which its nodes are chosen, and what must be known of a node.
func (j *judge) working(seat Seat, says []say) error {
	var count []Service // on whom it depends
	for _, s := range says {
		if s.served && s.decides {
			count = append(count, s.Service)
		}
	}
	health, dwell := map[uint16]bool{}, false
	for _, v := range count {
		if v.Local && v.HealthPort != 0 {
			health[v.HealthPort] = true
		} else {
			dwell = true
		}
	}
	if want := slices.Sorted(maps.Keys(health)); !slices.Equal(seat.HealthPorts, want) || seat.Dwell != dwell {
		return fmt.Errorf("%s: health ports %v and dwell %v, should be %v and %v", seat.Addr, seat.HealthPorts, seat.Dwell, want, dwell)
	}
	if len(count) == 0 {
		for _, v := range j.residents(seat.Addr) {
			if _, any := j.endpointsOf(v.Name); any {
				count = append(count, v)
			}
		}
		if slices.ContainsFunc(count, func(v Service) bool { return v.Name.Namespace != count[0].Name.Namespace }) {
			return nil // nobody is served, and nobody comes first in that
		}
	}
	for n := range j.nodes {
		works := len(count) > 0
		for _, v := range count {
			has := false
			for _, e := range j.endpoints {
				for _, at := range e.Nodes {
					has = has || e.Service == v.Name && at.Node == n && at.Ready+at.Terminating > 0
				}
			}
			works = works && (!v.Local || has)
		}
		if seat.WorksOn(n) != works {
			return fmt.Errorf("%s works on %s: said %v, and is %v", seat.Addr, n, seat.WorksOn(n), works)
		}
	}
	return nil
}

// chosen finds the nodes for an address by one protocol, and what its Services say,
// by arrival: the first namespace for which there is a node chooses.
func (j *judge) chosen(a netip.Addr, all []Advertisement, want map[ServiceName][]string) (nodes []string, says []say) {
	var order []string // of namespaces
	for _, v := range j.residents(a) {
		at, any := j.endpointsOf(v.Name)
		s := say{Service: v, ads: j.adsFor(all, v, a), eligible: map[string]bool{}}
		if !any || len(s.ads) == 0 {
			continue
		}
		for _, n := range j.nodes {
			selected := slices.ContainsFunc(s.ads, func(ad Advertisement) bool { return matching(ad.NodeSelectors, n.Labels) })
			if selected && !n.Excluded && !n.Unreachable && (!s.local() || at[n.Name]) {
				s.eligible[n.Name] = true
			}
		}
		says = append(says, s)
		if !slices.Contains(order, v.Name.Namespace) {
			order = append(order, v.Name.Namespace)
		}
	}
	for _, namespace := range order {
		if nodes = j.decide(namespace, says); len(nodes) > 0 {
			break
		}
	}
	for i, s := range says {
		if !s.decides && len(nodes) > 0 {
			says[i].served = !slices.ContainsFunc(nodes, func(n string) bool { return !s.eligible[n] })
		}
		switch {
		case says[i].served:
		case len(s.eligible) > 0:
			want[s.Name] = append(want[s.Name], string(NotServed))
		case len(nodes) > 0 && !s.decides: // it is not served beside others, and would not be alone
			want[s.Name] = append(want[s.Name], string(NoNode+"|"+NotServed))
		default:
			want[s.Name] = append(want[s.Name], string(NoNode))
		}
	}
	return nodes, says
}

// decide lets one namespace choose, if there is a node for it.
func (j *judge) decide(namespace string, says []say) []string {
	var own []say
	for _, s := range says {
		if s.Name.Namespace == namespace {
			own = append(own, s)
		}
	}
	best, nodes := j.together(own)
	if len(nodes) == 0 {
		return nil
	}
	for i := range says {
		if says[i].Name.Namespace == namespace {
			says[i].decides, says[i].served = true, best[0] == '1'
			best = best[1:]
		}
	}
	return nodes
}

// routed judges the routes of a seat: every advertisement of a Service that is
// served, from the nodes that it selects, except where an older one gives the
// prefix another preference.
func (j *judge) routed(a netip.Addr, seat Seat, nodes []string, says []say) error {
	var want []BGPAdvertisement
	for _, s := range says {
		if s.decides && s.served {
			for _, ad := range s.ads {
				if !slices.ContainsFunc(want, func(b BGPAdvertisement) bool { return b.Name == ad.Name }) {
					want = append(want, j.routes[ad.Name])
				}
			}
		}
	}
	slices.SortFunc(want, func(a, b BGPAdvertisement) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	var texts, got []string
	preference := map[string]uint32{}
	for _, ad := range want {
		bits := map[bool]int{true: ad.Length4, false: ad.Length6}[a.Is4()]
		from, peers := []string{}, ad.Peers
		if len(peers) == 0 {
			peers = []string{"t0", "t1"}
		}
		for _, n := range nodes {
			clash := false
			for _, p := range peers {
				before, there := preference[fmt.Sprint(n, p, bits)]
				clash = clash || there && before != ad.LocalPref
			}
			if matching(ad.NodeSelectors, j.nodes[n].Labels) && !clash {
				from = append(from, n)
			}
		}
		if len(from) == 0 {
			continue
		}
		for _, n := range from {
			for _, p := range peers {
				preference[fmt.Sprint(n, p, bits)] = ad.LocalPref
			}
		}
		texts = append(texts, fmt.Sprint(ad.Name, netip.PrefixFrom(a, bits).Masked(), from, ad.Peers, ad.LocalPref))
	}
	for _, r := range seat.Routes {
		got = append(got, fmt.Sprint(r.Advertisement, r.Prefix, r.Nodes, r.Peers, r.LocalPref))
	}
	slices.Sort(texts)
	if !slices.Equal(got, texts) {
		return fmt.Errorf("%s has routes %q, and should have %q", a, got, texts)
	}
	return nil
}

// together finds the nodes that serve all, or else the same and most; best has a
// digit for each Service, first come first, so that it can be compared as a text.
func (j *judge) together(says []say) (best string, nodes []string) {
	ones := func(s string) (n int) {
		for _, c := range s {
			n += int(c - '0')
		}
		return n
	}
	for range says {
		best += "0"
	}
	for _, n := range values(j.nodes) {
		serves := ""
		for _, s := range says {
			serves += map[bool]string{true: "1", false: "0"}[s.eligible[n.Name]]
		}
		switch {
		case ones(serves) == 0:
		case ones(serves) > ones(best) || ones(serves) == ones(best) && serves > best:
			best, nodes = serves, []string{n.Name}
		case serves == best:
			nodes = append(nodes, n.Name)
		}
	}
	return best, nodes
}
