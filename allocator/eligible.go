package allocator

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// This file knows nodes, endpoints and advertisements: where a Service can be served.

// usable is where a Service has endpoints that take traffic: ready ones, or, if
// none is ready anywhere, those that serve while terminating.
type usable struct {
	nodes []string // sorted
	loose bool     // there are some on no node
	// serving has also the nodes on which there are no others than those that serve
	// while terminating: kube-proxy uses these there, whatever is ready elsewhere
	// (KEP-1669). Sorted.
	serving []string
}

func (u usable) none() bool          { return len(u.nodes) == 0 && !u.loose }
func (u usable) on(node string) bool { _, ok := slices.BinarySearch(u.nodes, node); return ok }

func (s *Snapshot) usable(n ServiceName) usable {
	var ready, terminating usable
	for _, slice := range s.endpoints[n] {
		for _, at := range slice.Nodes {
			if at.Ready > 0 {
				ready.add(at.Node)
			}
			if at.Terminating > 0 {
				terminating.add(at.Node)
			}
		}
	}
	serving := sortedSet(slices.Concat(ready.nodes, terminating.nodes))
	if ready.none() {
		ready = terminating
	}
	nodes := sortedSet(ready.nodes)
	if slices.Equal(nodes, serving) {
		nodes = serving // as nearly always: it is held once
	}
	return usable{nodes, ready.loose, serving}
}

func sortedSet(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func (u *usable) add(node string) {
	if node == "" {
		u.loose = true
	} else {
		u.nodes = append(u.nodes, node)
	}
}

// A standing is what the advertisements of a base say of one node.
type standing struct {
	Candidate
	ads []string // those that select the node
}

// A protocol is one way to announce, layer 2 or BGP: its advertisements and what
// they say of nodes.
type protocol struct {
	ads   map[string]Advertisement // those of BGP have neither interfaces nor preferences
	bases map[string]*base         // by the names of advertisements
	// selected are the nodes that each advertisement of BGP selected in the last base.
	selected map[string][]string
}

func newProtocol() protocol {
	return protocol{map[string]Advertisement{}, map[string]*base{}, map[string][]string{}}
}

// A base is the usable nodes that a set of advertisements selects, by name. Seats
// share it, so that a cluster with many nodes and addresses holds it once.
type base struct {
	ads        []string
	standings  []standing
	candidates []Candidate
	selected   map[string][]string // by advertisement of BGP: the candidates that it selects
}

func (s *Snapshot) base(p protocol, ads []string) *base {
	key := strings.Join(ads, "\x00")
	if b := p.bases[key]; b != nil {
		return b
	}
	b := &base{ads: ads}
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if n := s.nodes[name]; n.usable() {
			if st := p.standing(n, ads); len(st.ads) > 0 {
				b.standings = append(b.standings, st)
				b.candidates = append(b.candidates, st.Candidate)
			}
		}
	}
	p.bases[key] = b
	return b
}

func (p protocol) standing(n Node, ads []string) standing {
	st := standing{Candidate: Candidate{Node: n.Name}}
	everywhere := false
	for _, name := range ads {
		ad := p.ads[name]
		if len(ad.NodeSelectors) > 0 && !anyMatches(ad.NodeSelectors, n.Labels) {
			continue
		}
		st.ads = append(st.ads, name)
		for _, pref := range ad.Preferences {
			if pref.Selector.Matches(n.Labels) {
				st.Weight += pref.Weight
			}
		}
		everywhere = everywhere || len(ad.Interfaces) == 0
		st.Interfaces = append(st.Interfaces, ad.Interfaces...)
	}
	slices.Sort(st.Interfaces)
	st.Interfaces = slices.Compact(st.Interfaces)
	if everywhere {
		st.Interfaces = nil
	}
	return st
}

// shared returns the base's own list when it serves all claims on all its nodes.
func (b *base) shared(claims []*claim) []Candidate {
	for _, c := range claims {
		if c.local || !slices.Equal(c.ads, b.ads) {
			return nil
		}
	}
	return b.candidates
}

// common returns the nodes on which every claim works.
func (b *base) common(claims []*claim) (nodes []Candidate) {
	check := func(st *standing) {
		if !slices.ContainsFunc(claims, func(c *claim) bool { return !c.on(st) }) {
			nodes = append(nodes, st.Candidate)
		}
	}
	for _, c := range claims {
		if c.local { // only its nodes can do
			for _, node := range c.usable.nodes {
				if st := b.standing(node); st != nil {
					check(st)
				}
			}
			return nodes
		}
	}
	for i := range b.standings {
		check(&b.standings[i])
	}
	return nodes
}

// standing returns what the advertisements say of a node; nil: it may announce nothing.
func (b *base) standing(node string) *standing {
	if i, ok := slices.BinarySearchFunc(b.standings, node, func(st standing, n string) int { return strings.Compare(st.Node, n) }); ok {
		return &b.standings[i]
	}
	return nil
}

// notServed says that others are served on an address, of another namespace or not.
func notServed(a netip.Addr, served []*claim, across bool) Reason {
	list := make([]*service, len(served))
	for i, c := range served {
		list[i] = c.service
	}
	with := othersOf(list)
	r := Reason{Code: NotServed, Addr: a, Others: with.names, More: with.more}
	if across {
		r.Detail = "of another namespace"
	}
	return r
}

const unusable = " is selected by an advertisement for it, free of label " + LabelExclude + ", and not NetworkUnavailable"

// most returns, when no node serves all claims, the nodes that serve the same,
// largest set of them (a tie goes to the set with who came first), and that
// set. The others are noted as unserved.
func (b *base) most(claims []*claim, seat *Seat) (nodes []Candidate, served []*claim) {
	var best []bool
	somewhere := make([]bool, len(claims)) // which claims work on some node
	for i := range b.standings {
		st := &b.standings[i]
		serves := make([]bool, len(claims))
		for j, c := range claims {
			serves[j] = c.on(st)
			somewhere[j] = somewhere[j] || serves[j]
		}
		switch compareServed(serves, best) {
		case 1:
			best, nodes = serves, []Candidate{st.Candidate}
		case 0:
			nodes = append(nodes, st.Candidate)
		}
	}
	if best == nil || !slices.Contains(best, true) {
		nodes, best = nil, make([]bool, len(claims))
	}
	for j, c := range claims {
		if best[j] {
			served = append(served, c)
		}
	}
	with := notServed(seat.Addr, served, false)
	for j, c := range claims {
		switch {
		case best[j]:
		case somewhere[j]:
			seat.unserved(c.service, with)
		case c.local:
			seat.unserved(c.service, Reason{Code: NoNode, Addr: seat.Addr, Detail: "no node with a ready endpoint" + unusable})
		default:
			seat.unserved(c.service, Reason{Code: NoNode, Addr: seat.Addr, Detail: "no node" + unusable})
		}
	}
	return nodes, served
}

// compareServed prefers more Services, then the set with who came first of those that
// only one has. The claims are in the order of arrival. Anything is more than nil.
func compareServed(a, b []bool) int {
	if b == nil {
		return 1
	}
	count := func(x []bool) (n int) {
		for _, y := range x {
			n += truth(y, false)
		}
		return n
	}
	if c := cmp.Compare(count(a), count(b)); c != 0 {
		return c
	}
	for i := range a {
		if c := truth(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

// truth orders two statements, the true one last.
func truth(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// both are the Services that are served by one protocol or the other.
func both(served, routed []*claim) []*claim {
	if len(served) == 0 || len(routed) == 0 {
		return slices.Concat(served, routed)
	}
	is := make(map[*service]bool, len(served))
	for _, c := range served {
		is[c.service] = true
	}
	all := slices.Clone(served)
	for _, c := range routed {
		if !is[c.service] {
			all = append(all, c)
		}
	}
	return all
}

// Peers returns the internal addresses of every node.
func (s *Snapshot) Peers() map[string][]netip.Addr {
	peers := make(map[string][]netip.Addr, len(s.nodes))
	for name, n := range s.nodes {
		peers[name] = n.Addresses
	}
	return peers
}

// everySeat makes Place look at all addresses again.
func (s *Snapshot) everySeat() {
	clear(s.layer2.bases)
	clear(s.bgp.bases)
	for a := range s.groups {
		s.seating.stale[a] = true
	}
}

func (c PutAdvertisement) apply(s *Snapshot) {
	if old, ok := s.layer2.ads[c.Name]; ok && reflect.DeepEqual(old, c.Advertisement) {
		return
	}
	s.layer2.ads[c.Name] = c.Advertisement
	s.everySeat()
}

func (c DropAdvertisement) apply(s *Snapshot) {
	if _, ok := s.layer2.ads[c.Name]; ok {
		delete(s.layer2.ads, c.Name)
		s.everySeat()
	}
}

func (c PutBGPAdvertisement) apply(s *Snapshot) {
	if old, ok := s.routes[c.Name]; ok && reflect.DeepEqual(old, c.BGPAdvertisement) {
		return
	}
	s.routes[c.Name], s.bgp.ads[c.Name] = c.BGPAdvertisement, c.scope()
	s.everySeat()
}

func (c DropBGPAdvertisement) apply(s *Snapshot) {
	if _, ok := s.routes[c.Name]; ok {
		delete(s.routes, c.Name)
		delete(s.bgp.ads, c.Name)
		delete(s.bgp.selected, c.Name)
		s.everySeat()
	}
}

func (c PutNode) apply(s *Snapshot) {
	old, ok := s.nodes[c.Name]
	s.nodes[c.Name] = c.Node
	PutInUse{InUse{By: "node " + c.Name, Addrs: c.InUse}}.apply(s)
	if !ok || old.Excluded != c.Excluded || old.Unreachable != c.Unreachable || !maps.Equal(old.Labels, c.Labels) {
		s.everySeat()
	}
}

func (c DropNode) apply(s *Snapshot) {
	if _, ok := s.nodes[c.Name]; ok {
		delete(s.nodes, c.Name)
		DropInUse{"node " + c.Name}.apply(s)
		s.everySeat()
	}
}

func (c PutEndpoints) apply(s *Snapshot) {
	slices := s.endpoints[c.Service]
	if slices == nil {
		slices = map[string]Endpoints{}
		s.endpoints[c.Service] = slices
	}
	slices[c.Slice] = c.Endpoints
	s.staleSeats(c.Service)
}

func (c DropEndpoints) apply(s *Snapshot) {
	delete(s.endpoints[c.Service], c.Slice)
	if len(s.endpoints[c.Service]) == 0 {
		delete(s.endpoints, c.Service)
	}
	s.staleSeats(c.Service)
}

func (s *Snapshot) staleSeats(n ServiceName) {
	if v := s.services[n]; v != nil {
		for _, a := range v.Holds {
			s.seating.stale[a] = true
		}
	}
}
