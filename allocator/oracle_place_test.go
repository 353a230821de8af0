package allocator_test

import (
	"cmp"
	"fmt"
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
		if i := slices.IndexFunc(r.Record.Pools, func(m PoolMark) bool { return m.Addr == a }); i >= 0 && pool == "" {
			pool, labels = r.Record.Pools[i].Pool, r.Record.Pools[i].Labels
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
	served   bool
}

// placed judges one seat (invariants 14, 15 and 18).
func (j *judge) placed(a netip.Addr, seat Seat) error {
	want := map[string]bool{} // who is not served, and why
	layer2, says2 := j.chosen(a, values(j.ads), want)
	bgp, says := j.chosen(a, j.likened(a), want)
	for _, v := range j.residents(a) {
		if _, any := j.endpointsOf(v.Name); !any {
			want[fmt.Sprint(v.Name, NoEndpoints)] = true
		} else if !slices.ContainsFunc(slices.Concat(says2, says), func(s say) bool { return s.Name == v.Name }) {
			want[fmt.Sprint(v.Name, NoAdvertisement)] = true
		}
	}
	if err := j.routed(a, seat, bgp, says); err != nil {
		return err
	}
	if err := j.working(seat, slices.Concat(says2, says)); err != nil {
		return err
	}
	return compare(seat, layer2, want, says2)
}

// working judges on which nodes, usable or not, a seat says that its Services work.
func (j *judge) working(seat Seat, says []say) error {
	var count []Service // on whom it depends
	for _, s := range says {
		if s.served {
			count = append(count, s.Service)
		}
	}
	if len(count) == 0 {
		for _, v := range j.residents(seat.Addr) {
			if _, any := j.endpointsOf(v.Name); any {
				count = append(count, v)
			}
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

// chosen finds the nodes for an address by one protocol, and what its Services say.
func (j *judge) chosen(a netip.Addr, all []Advertisement, want map[string]bool) (nodes []string, says []say) {
	for _, v := range j.residents(a) {
		nodes, any := j.endpointsOf(v.Name)
		s := say{v, j.adsFor(all, v, a), map[string]bool{}, false}
		if !any || len(s.ads) == 0 {
			continue
		}
		local := v.Local || v.Annotations[AnnotationAnnounceAs] == "Local"
		for _, n := range j.nodes {
			selected := slices.ContainsFunc(s.ads, func(ad Advertisement) bool { return matching(ad.NodeSelectors, n.Labels) })
			if selected && !n.Excluded && !n.Unreachable && (!local || nodes[n.Name]) {
				s.eligible[n.Name] = true
			}
		}
		says = append(says, s)
	}
	best, nodes := j.together(says)
	for i, s := range says {
		says[i].served = best[i] == '1'
		switch {
		case len(s.eligible) == 0:
			want[fmt.Sprint(s.Name, NoNode)] = true
		case best[i] == '0':
			want[fmt.Sprint(s.Name, NotServed)] = true
		}
	}
	return nodes, says
}

// routed judges the routes of a seat: every advertisement of a Service that is
// served, from the nodes that it selects, except where an older one gives the
// prefix another preference.
func (j *judge) routed(a netip.Addr, seat Seat, nodes []string, says []say) error {
	var want []BGPAdvertisement
	for _, s := range says {
		if len(nodes) > 0 && s.eligible[nodes[0]] {
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
// digit for each Service, oldest first, so that it can be compared as a text.
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

func compare(seat Seat, nodes []string, want map[string]bool, says []say) error {
	var got []string
	for _, c := range seat.Layer2 {
		got = append(got, c.Node)
	}
	if !slices.Equal(got, nodes) {
		return fmt.Errorf("%s is announced from %v, and should be from %v", seat.Addr, got, nodes)
	}
	for _, s := range says {
		if len(s.eligible) > 0 && len(got) == 0 {
			return fmt.Errorf("%s is dark, and %s could be served", seat.Addr, s.Name)
		}
	}
	unserved := map[string]bool{}
	for _, u := range seat.Unserved {
		unserved[fmt.Sprint(u.Service, u.Reason.Code)] = true
	}
	if fmt.Sprint(unserved) != fmt.Sprint(want) {
		return fmt.Errorf("%s: not served are %v, and should be %v", seat.Addr, unserved, want)
	}
	return nil
}

// standings judges what a seat says of its nodes: weights and interfaces.
func (j *judge) standings(a netip.Addr, seat Seat) error {
	for _, c := range seat.Layer2 {
		weight, everywhere := 0, false
		seen, names := map[string]bool{}, map[string]bool{}
		for _, v := range j.residents(a) {
			if _, any := j.endpointsOf(v.Name); !any {
				continue
			}
			for _, ad := range j.adsFor(values(j.ads), v, a) {
				if seen[ad.Name] || !matching(ad.NodeSelectors, j.nodes[c.Node].Labels) {
					continue
				}
				seen[ad.Name] = true
				for _, p := range ad.Preferences {
					if p.Selector.Matches(j.nodes[c.Node].Labels) {
						weight += p.Weight
					}
				}
				everywhere = everywhere || len(ad.Interfaces) == 0
				for _, i := range ad.Interfaces {
					names[i] = true
				}
			}
		}
		if everywhere {
			clear(names)
		}
		if c.Weight != weight || fmt.Sprint(c.Interfaces) != fmt.Sprint(values(selfmap(names))) {
			return fmt.Errorf("%s on %s: weight %d on %v, and should be %d on %v", a, c.Node, c.Weight, c.Interfaces, weight, values(selfmap(names)))
		}
	}
	return nil
}

func selfmap(in map[string]bool) map[string]string {
	out := map[string]string{}
	for k := range in {
		out[k] = k
	}
	return out
}

// seated judges all seats of a world.
func seated(w *world) error {
	j := w.judge()
	for _, v := range w.services {
		for _, a := range v.Holds {
			seat, ok := w.seats[a]
			if v.Foreign {
				continue
			}
			if !ok {
				return fmt.Errorf("%s is held and has no seat", a)
			}
			if err := j.placed(a, seat); err != nil {
				return err
			}
			if err := j.standings(a, seat); err != nil {
				return err
			}
		}
	}
	for a := range w.seats {
		if len(j.residents(a)) == 0 {
			return fmt.Errorf("%s has a seat and nobody holds it", a)
		}
	}
	return nil
}
