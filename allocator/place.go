package allocator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Placement is Place's answer: what has changed since it was last asked.
type Placement struct {
	Seats []Seat       // new or different; on a new snapshot all
	Gone  []netip.Addr // nobody may announce these any more
}

// A Seat says which nodes may answer for one address, and for whom.
type Seat struct {
	Addr     netip.Addr
	Services []ServiceName // that hold it, who came first first
	Layer2   []Candidate   // the nodes that may answer ARP and NDP for it, by name; empty: none may
	Routes   []Route       // what BGP routers are told of it, by which nodes; by the names of advertisements
	Full     []string      // nodes, usable or not, with a usable endpoint of every Service that is served, sorted
	// Local: of the Services that are served (if none is: of those with a usable
	// endpoint) some have policy Local, and only LocalNodes, usable or not, sorted,
	// have an endpoint of each of those that serves, be it while terminating; or no
	// Service has one at all.
	Local      bool
	LocalNodes []string
	// HealthPorts are the healthCheckNodePorts that answer 200 on a node which
	// serves the Services with policy Local. Dwell: there are others too, of whose
	// data path nothing is known but that it needs time.
	HealthPorts []uint16
	Dwell       bool
	Unserved    []Remark // who is not served on the address, or not by layer 2 and BGP alike
	Remarks     []Remark // what is wrong although the Service is served
}

// WorksOn tells whether kube-proxy on a node, usable or not, serves all the
// Services that are served.
func (t Seat) WorksOn(node string) bool {
	if !t.Local {
		return true
	}
	_, ok := slices.BinarySearch(t.LocalNodes, node)
	return ok
}

// A Candidate is a node that may answer for an address. It must not be modified.
type Candidate struct {
	Node       string
	Weight     int      // of its preferences, added up
	Interfaces []string // on which it may; empty: on all
}

// A Remark is what there is to say to a Service about an address that it holds.
type Remark struct {
	Service ServiceName
	Reason  Reason
}

// seating is what Place remembers between two calls.
type seating struct {
	stale map[netip.Addr]bool
	seats map[netip.Addr]Seat
}

func newSeating() seating {
	return seating{map[netip.Addr]bool{}, map[netip.Addr]Seat{}}
}

// Place says for every address which nodes may announce it. It looks only at
// addresses that a change has touched since it was last asked.
func Place(s *Snapshot) (p Placement) {
	s.check()
	for a := range s.seating.stale {
		old, was := s.seating.seats[a]
		var residents []*service
		if g := s.groups[a]; g != nil {
			residents = ours(g.residents)
		}
		if len(residents) == 0 {
			if was {
				delete(s.seating.seats, a)
				p.Gone = append(p.Gone, a)
			}
			continue
		}
		seat := s.seat(a, residents)
		if !was || !seat.equal(old) {
			s.seating.seats[a] = seat
			p.Seats = append(p.Seats, seat)
		}
	}
	clear(s.seating.stale)
	slices.SortFunc(p.Seats, func(a, b Seat) int { return a.Addr.Compare(b.Addr) })
	slices.SortFunc(p.Gone, netip.Addr.Compare)
	return p
}

func ours(residents []*service) []*service {
	if !slices.ContainsFunc(residents, func(v *service) bool { return v.Foreign }) {
		return residents
	}
	return slices.DeleteFunc(slices.Clone(residents), func(v *service) bool { return v.Foreign })
}

// Remarks says what Place found about a Service: for each of its addresses on
// which it is not served, why; then what is wrong where it is (Code.Served).
func (s *Snapshot) Remarks(n ServiceName) (unserved []Reason) {
	var others []Reason
	if v := s.services[n]; v != nil {
		for _, a := range v.Holds {
			seat := s.seating.seats[a]
			unserved = about(n, unserved, seat.Unserved)
			others = about(n, others, seat.Remarks)
		}
	}
	return append(unserved, others...)
}

func about(n ServiceName, reasons []Reason, all []Remark) []Reason {
	for _, r := range all {
		if r.Service == n {
			reasons = append(reasons, r.Reason)
		}
	}
	return reasons
}

// A claim is one Service's say in where its address is announced by one protocol.
type claim struct {
	*service
	local  bool // only where it has endpoints
	usable usable
	ads    []string // the advertisements that apply to it, sorted
}

// on tells whether the Service works on a node, given what advertisements say of the node.
func (c *claim) on(n *standing) bool {
	if c.local && !c.usable.on(n.Node) {
		return false
	}
	return slices.ContainsFunc(c.ads, func(ad string) bool { return slices.Contains(n.ads, ad) })
}

// seat answers for one address.
func (s *Snapshot) seat(a netip.Addr, residents []*service) Seat {
	seat := Seat{Addr: a, Services: namesOf(residents)}
	pool, labels := s.origin(a, residents)
	var layer2, bgp, all []*claim
	for _, v := range residents {
		usable := s.usable(v.Name)
		if usable.none() {
			seat.unserved(v, Reason{Code: NoEndpoints, Addr: a})
			continue
		}
		local := seat.local(v)
		by2, by := s.layer2.advertising(pool, labels, v.Labels), s.advertisedBy(pool, labels, v.Labels)
		if len(by2)+len(by) == 0 {
			seat.unserved(v, Reason{Code: NoAdvertisement, Addr: a, Pool: pool})
		}
		all = append(all, &claim{v, local, usable, nil})
		if len(by2) > 0 {
			layer2 = append(layer2, &claim{v, local, usable, by2})
		}
		if len(by) > 0 {
			bgp = append(bgp, &claim{v, local, usable, by})
		}
	}
	nodes, served := s.elect(s.layer2, layer2, &seat)
	seat.Layer2 = nodes
	nodes, routed := s.elect(s.bgp, bgp, &seat)
	seat.Routes = s.routesOf(a, nodes, routed, &seat)
	if len(layer2) > 0 && len(bgp) > 0 {
		seat.once()
	}
	served = both(served, routed)
	seat.demand(served)
	if len(served) == 0 {
		served = all
	}
	seat.reach(served)
	return seat
}

// local tells whether a Service is announced only where it has endpoints: by its
// policy, or by its annotation.
func (t *Seat) local(v *service) bool {
	switch text := strings.TrimSpace(v.Annotations[AnnotationAnnounceAs]); text {
	case "Local":
		return true
	case "":
	default:
		t.Remarks = append(t.Remarks, Remark{v.Name, Reason{Code: BadAnnotation, Addr: t.Addr,
			Detail: fmt.Sprintf("annotation %s is %q, and is not heeded: it can be Local", AnnotationAnnounceAs, excerpt(text))}})
	}
	return v.Local
}

// elect returns the nodes that may announce an address by a protocol, and for which
// of those that claim it: the Services of the namespace that was there first and has
// such a node decide. Those of others are served if they work on all these nodes.
func (s *Snapshot) elect(p protocol, claims []*claim, seat *Seat) (nodes []Candidate, served []*claim) {
	for len(claims) > 0 && len(nodes) == 0 {
		own, others := part(claims, claims[0].Name.Namespace)
		nodes, served = s.electAmong(p, own, seat)
		claims = others
	}
	if len(claims) > 0 {
		with := notServed(seat.Addr, served, true)
		for _, c := range claims {
			if !s.fits(p, c, nodes) {
				seat.unserved(c.service, with)
			}
		}
	}
	return nodes, served
}

// part parts claims into those of a namespace and the others.
func part(claims []*claim, namespace string) (own, others []*claim) {
	for _, c := range claims {
		if c.Name.Namespace == namespace {
			own = append(own, c)
		} else {
			others = append(others, c)
		}
	}
	return own, others
}

// electAmong is elect for the Services of one namespace.
func (s *Snapshot) electAmong(p protocol, claims []*claim, seat *Seat) ([]Candidate, []*claim) {
	var ads []string // of all claims
	for _, c := range claims {
		ads = union(ads, c.ads)
	}
	base := s.base(p, ads)
	nodes := base.shared(claims)
	if nodes == nil {
		nodes = base.common(claims)
	}
	if len(nodes) == 0 {
		return base.most(claims, seat)
	}
	return nodes, claims
}

// fits tells whether a Service works on all of the nodes.
func (s *Snapshot) fits(p protocol, c *claim, nodes []Candidate) bool {
	own := s.base(p, c.ads)
	for _, n := range nodes {
		st := own.standing(n.Node)
		if st == nil || !c.on(st) {
			return false
		}
	}
	return true
}

// unserved notes why a Service is not served.
func (t *Seat) unserved(v *service, r Reason) {
	t.Unserved = append(t.Unserved, Remark{v.Name, r})
}

// once drops what has been said of a Service for the other protocol too.
func (t *Seat) once() {
	said := make(map[ServiceName][]Reason, len(t.Unserved))
	t.Unserved = slices.DeleteFunc(t.Unserved, func(u Remark) bool {
		again := slices.ContainsFunc(said[u.Service], u.Reason.equal)
		said[u.Service] = append(said[u.Service], u.Reason)
		return again
	})
}

// demand notes what must be known of a node's data path before it newly answers,
// and which nodes have endpoints of all.
func (t *Seat) demand(claims []*claim) {
	for i, c := range claims {
		if c.Local && c.HealthPort != 0 {
			t.HealthPorts = append(t.HealthPorts, c.HealthPort)
		} else {
			t.Dwell = true
		}
		if i == 0 {
			t.Full = c.usable.nodes
		} else {
			t.Full = intersection(t.Full, c.usable.nodes)
		}
	}
	slices.Sort(t.HealthPorts)
	t.HealthPorts = slices.Compact(t.HealthPorts)
}

// reach notes on which nodes kube-proxy serves all of the claims: those that are
// served or, where none is, those that could be.
func (t *Seat) reach(claims []*claim) {
	t.Local = len(claims) == 0
	for _, c := range claims {
		switch {
		case c.Local && !t.Local:
			t.Local, t.LocalNodes = true, c.usable.serving
		case c.Local:
			t.LocalNodes = intersection(t.LocalNodes, c.usable.serving)
		}
	}
}

// origin returns the pool that the address is of, and its labels; where no pool
// has it now, those under which it was taken.
func (s *Snapshot) origin(a netip.Addr, residents []*service) (string, map[string]string) {
	if p := s.poolOf(a); p != nil {
		return p.Name, p.Labels
	}
	for _, v := range residents {
		if m := v.origin(a); m != nil {
			if d, ok := s.definition[m.Pool]; ok { // refused, but there
				return m.Pool, d.Labels
			}
			return m.Pool, m.Labels
		}
	}
	return "", nil
}

// advertising returns the names of the advertisements that apply to a Service on
// an address of the pool, sorted. No pool: none.
func (p protocol) advertising(pool string, poolLabels, labels map[string]string) (names []string) {
	if pool == "" {
		return nil
	}
	for name, ad := range p.ads {
		all := len(ad.Pools) == 0 && len(ad.PoolSelectors) == 0
		if (all || slices.Contains(ad.Pools, pool) || anyMatches(ad.PoolSelectors, poolLabels)) &&
			(len(ad.ServiceSelectors) == 0 || anyMatches(ad.ServiceSelectors, labels)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (t Seat) equal(u Seat) bool {
	return slices.Equal(t.Services, u.Services) && slices.Equal(t.Full, u.Full) &&
		slices.Equal(t.HealthPorts, u.HealthPorts) && t.Dwell == u.Dwell &&
		t.Local == u.Local && slices.Equal(t.LocalNodes, u.LocalNodes) &&
		slices.EqualFunc(t.Unserved, u.Unserved, Remark.equal) && slices.EqualFunc(t.Remarks, u.Remarks, Remark.equal) &&
		slices.EqualFunc(t.Routes, u.Routes, Route.equal) &&
		(len(t.Layer2) > 0 && len(t.Layer2) == len(u.Layer2) && &t.Layer2[0] == &u.Layer2[0] ||
			slices.EqualFunc(t.Layer2, u.Layer2, func(a, b Candidate) bool {
				return a.Node == b.Node && a.Weight == b.Weight && slices.Equal(a.Interfaces, b.Interfaces)
			}))
}

func (r Remark) equal(o Remark) bool { return r.Service == o.Service && r.Reason.equal(o.Reason) }

func (r Reason) equal(o Reason) bool {
	return r.Code == o.Code && r.Addr == o.Addr && r.Pool == o.Pool && r.Detail == o.Detail && r.More == o.More && slices.Equal(r.Others, o.Others)
}

// union merges two sorted lists.
func union(a, b []string) []string {
	if slices.Equal(a, b) {
		return a
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// remainder keeps what is in a and not in b.
func remainder(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(x string) bool { return slices.Contains(b, x) })
}

// intersection keeps what is in both of two sorted lists.
func intersection(a, b []string) (both []string) {
	for _, x := range a {
		if _, ok := slices.BinarySearch(b, x); ok {
			both = append(both, x)
		}
	}
	return both
}
