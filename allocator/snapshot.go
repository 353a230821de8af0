package allocator

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
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
	InUse          []InUse
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
	PutInUse      struct{ InUse }
	DropInUse     struct{ By string }
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
	keyed      map[string]*keyed // sharing key: the addresses that are held under it
	tenants    map[string]tenant // by namespace
	limited    bool              // a pool has a limit for each namespace
	used       usage

	agenda agenda // what Plan must decide anew, and when

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
	turn    uint8        // when it is decided about
	gave    bool         // it no longer claims a port with which it was admitted
	comes   []netip.Addr // addresses planned for it that are not published yet
	flight  *Decision    // the latest decision, while it is not what is published
	waits   []waited     // what it waits for, if anything
	queues  []*queue     // where it waits for a free address
}

// equal tells whether two facts about a Service are the same.
func (v *Service) equal(o *Service) bool {
	return v.Name == o.Name && v.UID == o.UID && v.Created.Equal(o.Created) && v.Foreign == o.Foreign &&
		maps.Equal(v.Labels, o.Labels) && maps.Equal(v.Annotations, o.Annotations) && v.LoadBalancerIP == o.LoadBalancerIP &&
		v.FamilyPolicy == o.FamilyPolicy && slices.Equal(v.Families, o.Families) && slices.Equal(v.Ports, o.Ports) &&
		v.Local == o.Local && v.Selector == o.Selector && v.HealthPort == o.HealthPort &&
		slices.Equal(v.Holds, o.Holds) && v.Record.Written.Equal(o.Record.Written) && v.Record.Equal(o.Record)
}

// older orders Services by age, then by name.
func older(a, b *service) int {
	return cmp.Or(a.Created.Compare(b.Created), a.Name.Compare(b.Name))
}

// NewSnapshot makes a snapshot from nothing but facts.
func NewSnapshot(f Facts) *Snapshot {
	s := &Snapshot{
		settings:   f.Settings,
		services:   make(map[ServiceName]*service, len(f.Services)),
		namespaces: map[string]Namespace{},
		definition: map[string]Pool{},
		groups:     make(map[netip.Addr]*group, len(f.Services)),
		keyed:      map[string]*keyed{},
		tenants:    map[string]tenant{},
		used:       newUsage(),
		agenda:     newAgenda(len(f.Services)),
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
		PutNode{n}.apply(s)
	}
	for _, u := range f.InUse {
		PutInUse{u}.apply(s)
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

// Holders returns the Services that hold the address as published, who came first first.
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

func (c PutSettings) apply(s *Snapshot) {
	if s.settings == c.Settings {
		return
	}
	led := s.settings.LedSince.Equal(c.LedSince)
	s.settings = c.Settings
	for v := range s.agenda.open {
		s.touch(v)
	}
	if led {
		return
	}
	for _, g := range s.groups { // which records count is another matter now
		g.said = nil
	}
	for _, v := range s.services {
		s.touch(v)
	}
}

func (c PutService) apply(s *Snapshot) {
	v := s.services[c.Name]
	if v != nil && v.UID != c.UID { // another one of the same name
		DropService{c.Name}.apply(s)
		v = nil
	}
	if v == nil {
		v = &service{}
		s.services[c.Name] = v
	} else if v.Service.equal(&c.Service) {
		return
	}
	// Who has less than it wants comes before newcomers now, whose decisions are not
	// published yet.
	confirmed := v.confirmedBy(&c.Service) && len(v.waits)+len(v.queues) == 0
	s.replace(v, c.Service)
	if confirmed && !s.invites(v) {
		s.agenda.touched[v] = true // nobody else has to think again
	} else {
		s.touch(v)
	}
}

// invites tells whether somebody whose decision is not published yet would rather join
// v, now that it is known where v is.
func (s *Snapshot) invites(v *service) bool {
	if v.request.share == "" {
		return false
	}
	for r := range s.agenda.flight {
		if r != v && r.request.share == v.request.share {
			return true
		}
	}
	return false
}

// confirmedBy tells whether all that is new of v is that what was decided for it has
// been published.
func (v *service) confirmedBy(now *Service) bool {
	d := v.flight
	if d == nil || !slices.Equal(d.Holds, now.Holds) || !d.Record.Equal(now.Record) {
		return false
	}
	was := *now
	was.Holds, was.Record = v.Holds, v.Record
	return v.Service.equal(&was)
}

func (c DropService) apply(s *Snapshot) {
	v := s.services[c.Name]
	if v == nil {
		return
	}
	s.replace(v, Service{Name: c.Name})
	delete(s.services, c.Name)
	s.agenda.forget(v)
	s.agenda.real = true
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
	s.touchNamespace(c.Name)
}

func (c DropNamespace) apply(s *Snapshot) {
	if _, ok := s.namespaces[c.Name]; ok {
		delete(s.namespaces, c.Name)
		s.touchNamespace(c.Name)
	}
}

func (s *Snapshot) touchNamespace(name string) {
	for _, v := range s.services {
		if v.Name.Namespace == name {
			s.touch(v)
		}
	}
}
