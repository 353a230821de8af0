package allocator

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// Facts is everything that decisions follow from, time excepted.
type Facts struct {
	Settings       Settings
	Services       []Service
	Pools          []Pool
	Advertisements []Advertisement
	BGP            []BGPAdvertisement
	Nodes          []Node
	Endpoints      []Endpoints
	Namespaces     []Namespace
}

// A Change replaces or removes one fact. A Put that equals what is there
// changes nothing.
type Change interface{ apply(*Snapshot) }

// The changes.
type (
	PutService        struct{ Service }
	DropService       struct{ Name ServiceName }
	PutPool           struct{ Pool }
	DropPool          struct{ Name string }
	PutAdvertisement  struct{ Advertisement }
	DropAdvertisement struct{ Name string }
	PutNode           struct{ Node }
	DropNode          struct{ Name string }
	PutEndpoints      struct{ Endpoints }
	DropEndpoints     struct {
		Service ServiceName
		Slice   string
	}
	PutNamespace  struct{ Namespace }
	DropNamespace struct{ Name string }
	PutSettings   struct{ Settings }
)

// A Snapshot is the facts of one moment, with the indexes that make it cheap to
// answer for them. It is not safe for concurrent use.
type Snapshot struct {
	spent    bool
	settings Settings

	services   map[ServiceName]*service
	namespaces map[string]Namespace
	definition map[string]Pool
	pools      []*pool // by name
	spans      []poolSpan
	groups     map[netip.Addr]*group
	shares     map[string]map[netip.Addr]int // sharing key, address: how many hold it under that key

	touched map[*service]bool // what Plan must decide anew
	open    map[*service]bool // what waits or is in flight: decided anew by every Plan

	layer2    protocol
	bgp       protocol
	routes    map[string]BGPAdvertisement // what those of bgp say beside
	nodes     map[string]Node
	endpoints map[ServiceName]map[string]Endpoints
	seating   seating // what Place remembers
}

// A service is a Service with what follows from it and what was last decided.
type service struct {
	Service
	request request
	comes   []netip.Addr // addresses planned for it that are not published yet
}

// A group is who sits on one address.
type group struct {
	residents []*service // hold it, as published; oldest first
	comers    []*service // will hold it, as planned
	kept      []*service // have a seat kept for them, as published
}

func (g *group) empty() bool { return len(g.residents)+len(g.comers)+len(g.kept) == 0 }

// older orders Services by age, then by name: who was there first.
func older(a, b *service) int {
	return cmp.Or(a.Created.Compare(b.Created), a.Name.Compare(b.Name))
}

// A poolSpan is a span and the pool that owns it.
type poolSpan struct {
	span
	pool *pool
}

// NewSnapshot makes a snapshot from nothing but facts.
func NewSnapshot(f Facts) *Snapshot {
	s := &Snapshot{
		settings:   f.Settings,
		services:   make(map[ServiceName]*service, len(f.Services)),
		namespaces: map[string]Namespace{},
		definition: map[string]Pool{},
		groups:     make(map[netip.Addr]*group, len(f.Services)),
		shares:     map[string]map[netip.Addr]int{},
		touched:    make(map[*service]bool, len(f.Services)),
		open:       map[*service]bool{},
		layer2:     newProtocol(),
		bgp:        newProtocol(),
		routes:     map[string]BGPAdvertisement{},
		nodes:      map[string]Node{},
		endpoints:  map[ServiceName]map[string]Endpoints{},
		seating:    newSeating(),
	}
	for _, n := range f.Namespaces {
		s.namespaces[n.Name] = n
	}
	for _, p := range f.Pools {
		s.definition[p.Name] = p
	}
	s.rebuildPools()
	for _, a := range f.Advertisements {
		s.layer2.ads[a.Name] = a
	}
	for _, a := range f.BGP {
		s.routes[a.Name], s.bgp.ads[a.Name] = a, a.scope()
	}
	for _, n := range f.Nodes {
		s.nodes[n.Name] = n
	}
	for _, e := range f.Endpoints {
		PutEndpoints{e}.apply(s)
	}
	for _, v := range f.Services {
		PutService{v}.apply(s)
	}
	return s
}

// With gives the snapshot that follows from changes. The indexes go over to the
// successor: the predecessor must not be used any more, and panics when it is.
func (s *Snapshot) With(changes ...Change) *Snapshot {
	s.check()
	next := *s
	s.spent = true
	for _, c := range changes {
		c.apply(&next)
	}
	return &next
}

func (s *Snapshot) check() {
	if s.spent {
		panic("allocator: a snapshot is used that has a successor")
	}
}

// Holders returns the Services that hold the address as published, oldest first.
func (s *Snapshot) Holders(a netip.Addr) (names []ServiceName) {
	if g := s.groups[a]; g != nil {
		names = namesOf(g.residents)
	}
	return names
}

func namesOf(services []*service) []ServiceName {
	names := make([]ServiceName, len(services))
	for i, v := range services {
		names[i] = v.Name
	}
	return names
}

func (c PutSettings) apply(s *Snapshot) { s.settings = c.Settings } // matters to open Services only

func (c PutService) apply(s *Snapshot) {
	v := s.services[c.Name]
	if v != nil && v.UID != c.UID { // another one of the same name
		DropService{c.Name}.apply(s)
		v = nil
	}
	if v == nil {
		v = &service{}
		s.services[c.Name] = v
	} else if reflect.DeepEqual(v.Service, c.Service) {
		return
	}
	s.replace(v, c.Service)
	s.touched[v] = true
}

func (c DropService) apply(s *Snapshot) {
	v := s.services[c.Name]
	if v == nil {
		return
	}
	s.replace(v, Service{Name: c.Name})
	delete(s.services, c.Name)
	delete(s.touched, v)
	delete(s.open, v)
}

func (c PutPool) apply(s *Snapshot) {
	if old, ok := s.definition[c.Name]; ok && reflect.DeepEqual(old, c.Pool) {
		return
	}
	s.definition[c.Name] = c.Pool
	s.rebuildPools()
}

func (c DropPool) apply(s *Snapshot) {
	if _, ok := s.definition[c.Name]; ok {
		delete(s.definition, c.Name)
		s.rebuildPools()
	}
}

func (c PutNamespace) apply(s *Snapshot) {
	if old, ok := s.namespaces[c.Name]; ok && maps.Equal(old.Labels, c.Labels) {
		return
	}
	s.namespaces[c.Name] = c.Namespace
	for _, v := range s.services {
		if v.Name.Namespace == c.Name {
			s.touched[v] = true
		}
	}
}

func (c DropNamespace) apply(s *Snapshot) {
	if _, ok := s.namespaces[c.Name]; ok {
		PutNamespace{Namespace{Name: c.Name}}.apply(s) // touches its Services if it had labels
		delete(s.namespaces, c.Name)
	}
}

// poolOf returns the pool whose addresses include a; nil when none does.
func (s *Snapshot) poolOf(a netip.Addr) *pool {
	i, found := slices.BinarySearchFunc(s.spans, a, func(p poolSpan, a netip.Addr) int { return p.first.Compare(a) })
	if !found {
		i--
	}
	if i >= 0 && s.spans[i].contains(a) {
		return s.spans[i].pool
	}
	return nil
}

func (s *Snapshot) poolNamed(name string) *pool {
	if i, ok := slices.BinarySearchFunc(s.pools, name, func(p *pool, n string) int { return strings.Compare(p.Name, n) }); ok {
		return s.pools[i]
	}
	return nil
}

// rebuildPools parses the pools anew and touches the Services whose addresses
// fall under another definition than before.
func (s *Snapshot) rebuildPools() {
	was, before := *s, map[string]*pool{}
	for _, p := range s.pools {
		before[p.Name] = p
	}
	s.pools, s.spans = nil, nil
	for _, name := range slices.Sorted(maps.Keys(s.definition)) {
		s.pools = append(s.pools, parsePool(s.definition[name]))
	}
	settleOverlaps(s.pools)
	same := map[*pool]*pool{}
	for _, p := range s.pools {
		if q := before[p.Name]; q != nil && (q.err == nil) == (p.err == nil) && reflect.DeepEqual(q.Pool, p.Pool) {
			p.cursor = q.cursor
			same[q] = p
		}
		for _, sp := range p.spans {
			s.spans = append(s.spans, poolSpan{sp, p})
		}
	}
	slices.SortFunc(s.spans, func(a, b poolSpan) int { return a.first.Compare(b.first) })
	for a, g := range s.groups {
		old, new := was.poolOf(a), s.poolOf(a)
		if old == nil && new == nil || old != nil && same[old] != nil && same[old] == new {
			if old != nil || s.markedUnchanged(g, a, same, before) {
				continue
			}
		}
		for _, v := range slices.Concat(g.residents, g.kept) {
			s.touched[v] = true
		}
		s.seating.stale[a] = true
	}
}

// markedUnchanged tells, of an address in no pool, whether the pools that its
// holders took it from are as they were: a refused pool keeps its holders.
func (s *Snapshot) markedUnchanged(g *group, a netip.Addr, same map[*pool]*pool, before map[string]*pool) bool {
	for _, v := range g.residents {
		if m := v.mark(a); m != nil {
			old, now := before[m.Pool], s.poolNamed(m.Pool)
			if (old == nil) != (now == nil) || old != nil && same[old] != now {
				return false
			}
		}
	}
	return true
}

// mark returns where the record says that the address came from.
func (v *Service) mark(a netip.Addr) *PoolMark {
	for i := range v.Record.Pools {
		if v.Record.Pools[i].Addr == a {
			return &v.Record.Pools[i]
		}
	}
	return nil
}
