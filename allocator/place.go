package allocator

import (
	"net/netip"
	"slices"
)

// Placement is Place's answer: what has changed since it was last asked.
type Placement struct {
	Seats []Seat       // new or different; on a new snapshot all
	Gone  []netip.Addr // nobody may announce these any more
}

// A Seat says which nodes may answer for one address, and for whom.
type Seat struct {
	Addr     netip.Addr
	Services []ServiceName // that hold it, oldest first
	Layer2   []Candidate   // the nodes that may answer ARP and NDP for it, by name; empty: none may
	Full     []string      // nodes, usable or not, with a usable endpoint of every Service that is served, sorted
	// HealthPorts are the healthCheckNodePorts that answer 200 on a node which
	// serves the Services with policy Local. Dwell: there are others too, of whose
	// data path nothing is known but that it needs time.
	HealthPorts []uint16
	Dwell       bool
	Unserved    []Unserved
}

// A Candidate is a node that may answer for an address. It must not be modified.
type Candidate struct {
	Node       string
	Weight     int      // of its preferences, added up
	Interfaces []string // on which it may; empty: on all
}

// Unserved is a Service that is not served on an address it holds.
type Unserved struct {
	Service ServiceName
	Reason  Reason
}

// seating is what Place remembers between two calls.
type seating struct {
	stale map[netip.Addr]bool
	seats map[netip.Addr]Seat
	bases map[string]*base // by the names of advertisements
}

func newSeating() seating {
	return seating{map[netip.Addr]bool{}, map[netip.Addr]Seat{}, map[string]*base{}}
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

// Unserved says what Place found about a Service: for each of its addresses on
// which it is not served, why.
func (s *Snapshot) Unserved(n ServiceName) (why []Reason) {
	if v := s.services[n]; v != nil {
		for _, a := range v.Holds {
			for _, u := range s.seating.seats[a].Unserved {
				if u.Service == n {
					why = append(why, u.Reason)
				}
			}
		}
	}
	return why
}

// A claim is one Service's say in where its address is announced.
type claim struct {
	*service
	usable usable
	ads    []string // the advertisements that apply to it, sorted
}

// on tells whether the Service works on a node, given what advertisements say of the node.
func (c *claim) on(n *standing) bool {
	if c.Local && !c.usable.on(n.Node) {
		return false
	}
	return slices.ContainsFunc(c.ads, func(ad string) bool { return slices.Contains(n.ads, ad) })
}

// seat answers for one address.
func (s *Snapshot) seat(a netip.Addr, residents []*service) Seat {
	seat := Seat{Addr: a, Services: namesOf(residents)}
	pool, labels := s.origin(a, residents)
	var claims []*claim
	var ads []string // of all claims
	for _, v := range residents {
		c := &claim{service: v, usable: s.usable(v.Name), ads: s.advertising(pool, labels, v.Labels)}
		switch {
		case c.usable.none():
			seat.unserved(v, Reason{Code: NoEndpoints, Addr: a})
		case len(c.ads) == 0:
			seat.unserved(v, Reason{Code: NoAdvertisement, Addr: a, Pool: pool})
		default:
			claims = append(claims, c)
			ads = union(ads, c.ads)
		}
	}
	if len(claims) == 0 {
		return seat
	}
	base := s.base(ads)
	nodes := base.shared(claims)
	if nodes == nil {
		nodes = base.common(claims)
	}
	if len(nodes) == 0 {
		nodes, claims = base.most(claims, &seat)
	}
	seat.Layer2 = nodes
	seat.demand(claims)
	return seat
}

func (t *Seat) unserved(v *service, r Reason) { t.Unserved = append(t.Unserved, Unserved{v.Name, r}) }

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

// origin returns the pool that the address is of, and its labels; where no pool
// has it now, those under which it was taken.
func (s *Snapshot) origin(a netip.Addr, residents []*service) (string, map[string]string) {
	if p := s.poolOf(a); p != nil {
		return p.Name, p.Labels
	}
	for _, v := range residents {
		if m := v.mark(a); m != nil {
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
func (s *Snapshot) advertising(pool string, poolLabels, labels map[string]string) (names []string) {
	if pool == "" {
		return nil
	}
	for name, ad := range s.ads {
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
		slices.EqualFunc(t.Unserved, u.Unserved, func(a, b Unserved) bool {
			return a.Service == b.Service && a.Reason.equal(b.Reason)
		}) &&
		(len(t.Layer2) > 0 && len(t.Layer2) == len(u.Layer2) && &t.Layer2[0] == &u.Layer2[0] ||
			slices.EqualFunc(t.Layer2, u.Layer2, func(a, b Candidate) bool {
				return a.Node == b.Node && a.Weight == b.Weight && slices.Equal(a.Interfaces, b.Interfaces)
			}))
}

func (r Reason) equal(o Reason) bool {
	return r.Code == o.Code && r.Addr == o.Addr && r.Pool == o.Pool && r.Detail == o.Detail && slices.Equal(r.Others, o.Others)
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

// intersection keeps what is in both of two sorted lists.
func intersection(a, b []string) (both []string) {
	for _, x := range a {
		if _, ok := slices.BinarySearch(b, x); ok {
			both = append(both, x)
		}
	}
	return both
}
