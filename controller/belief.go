package controller

import (
	"net/netip"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// A name is that of any object; cluster-wide ones have no namespace.
type name = allocator.ServiceName

// A belief is what this copy takes the API to hold: what its watches have
// delivered, and the answers to its own writes that no watch has shown yet. Of
// every object the newest version counts, wherever it came from, so that no
// plan is made from an older one: resourceVersions of one kind can be compared
// as numbers (a guarantee of Kubernetes' conformance).
//
// It notes what changes, for each of its readers to take. A relist is a
// difference, too.
type belief struct {
	options
	ready   chan struct{} // closed when every kind has been listed
	planned chan struct{} // closed when what is written about BGP has been resolved once

	mu    sync.Mutex
	waits map[string]bool // kinds not listed yet
	feeds []*feed         // not changed once made
	ours  int             // Services whose addresses are for us to decide

	// What package peering made of what is written about BGP, and of which state of it.
	peeringState, resolvedState uint64
	resolved                    *peering.Plan
	unusable                    []string // Secrets that peers name and that hold no password

	services   *shelf[*service]
	pools      *shelf[*pool]
	ads        *shelf[*advertisement]
	nodes      *shelf[allocator.Node]
	endpoints  *sliceShelf
	namespaces *shelf[allocator.Namespace]
	keys       *shelf[[]byte]

	inUse   map[string]allocator.InUse // by who uses addresses beside our Services
	servers map[name][]netip.Addr      // by EndpointSlice: the API servers that it names

	peers       *shelf[*written[peering.Peer]]
	routes      *shelf[*written[peering.Advertisement]]
	profiles    *shelf[*written[peering.Profile]]
	communities *shelf[*written[peering.Community]]
	passwords   *shelf[peering.Secret]
	// strangers are the types of Secrets that peers name and that are not among the
	// passwords, as far as they were looked at; "": there is none.
	strangers map[string]string
}

// options are what translation depends on.
type options struct {
	class         string // --lb-class
	ignoreExclude bool   // --ignore-exclude-label
	namespace     string // our own
}

// A pool is what is believed of an IPAddressPool. Values are not changed once made.
type pool struct {
	object
	fact   allocator.Pool
	status v1beta1.IPAddressPoolStatus // as published
}

// An advertisement is what is believed of an L2Advertisement.
type advertisement struct {
	object
	fact       allocator.Advertisement
	conditions []metav1.Condition // as published
}

// An object is what pools and advertisements have in common.
type object struct {
	name, version string
	uid           string // of an object about BGP
	generation    int64
	refused       error // why translation refuses it
}

// newBelief returns a belief in nothing.
func newBelief(o options) *belief {
	b := &belief{
		options: o, ready: make(chan struct{}), planned: make(chan struct{}), waits: map[string]bool{},
		inUse: map[string]allocator.InUse{}, servers: map[name][]netip.Addr{},
	}
	b.services = newShelf(b, "services", b.serviceDiffers)
	b.pools = newShelf(b, "ipaddresspools", b.poolDiffers)
	b.ads = newShelf(b, "l2advertisements", b.advertisementDiffers)
	b.nodes = newShelf(b, "nodes", b.nodeDiffers)
	b.namespaces = newShelf(b, "namespaces", b.namespaceDiffers)
	b.endpoints = newSliceShelf(b.mattersFor, b.factDiffers)
	b.waits[slicesKind] = true
	b.keys = newShelf(b, "secrets", func(name, *[]byte, *[]byte) { b.note(func(c *changes) { c.keys = true }) })
	delete(b.waits, b.keys.kind) // addresses are held and announced without a key, too
	b.peers = newShelf(b, "bgppeers", writtenDiffers[peering.Peer](b))
	b.routes = newShelf(b, "bgpadvertisements", writtenDiffers[peering.Advertisement](b))
	b.profiles = newShelf(b, "bfdprofiles", writtenDiffers[peering.Profile](b))
	b.communities = newShelf(b, "communities", writtenDiffers[peering.Community](b))
	b.passwords = newShelf(b, "passwords", b.passwordDiffers)
	return b
}

// facts returns all facts. It is called under the lock.
func (b *belief) facts() *allocator.Facts {
	facts := &allocator.Facts{}
	for _, s := range b.services.items {
		if s.fact.fact != nil {
			facts.Services = append(facts.Services, *s.fact.fact)
		}
		if s.fact.ours() {
			facts.Endpoints = b.endpoints.facts(s.fact.name, facts.Endpoints)
		}
	}
	for _, p := range b.pools.items {
		facts.Pools = append(facts.Pools, p.fact.fact)
	}
	for _, a := range b.ads.items {
		if a.fact.refused == nil {
			facts.Advertisements = append(facts.Advertisements, a.fact.fact)
		}
	}
	if b.resolved != nil {
		facts.BGP = b.resolved.Advertisements
	}
	for _, n := range b.nodes.items {
		facts.Nodes = append(facts.Nodes, n.fact)
	}
	for _, n := range b.namespaces.items {
		facts.Namespaces = append(facts.Namespaces, n.fact)
	}
	for _, u := range b.inUse {
		facts.InUse = append(facts.InUse, u)
	}
	return facts
}

// written returns what package peering decides from, and which state of it this is.
func (b *belief) written() (f peering.Facts, state uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f.Peers, f.Advertisements = factsOf(b.peers), factsOf(b.routes)
	f.Profiles, f.Communities = factsOf(b.profiles), factsOf(b.communities)
	for _, s := range b.passwords.items {
		f.Secrets = append(f.Secrets, s.fact)
	}
	for n, kind := range b.strangers {
		if kind != "" && !b.usable(n) {
			f.Secrets = append(f.Secrets, peering.Secret{Name: n, Type: kind})
		}
	}
	for _, p := range b.pools.items {
		f.Pools = append(f.Pools, p.fact.fact)
	}
	for _, n := range b.nodes.items {
		f.Nodes = append(f.Nodes, n.fact)
	}
	return f, b.peeringState
}

// resolve takes what came of a state of what is written about BGP, for the readers
// other than the loop that resolved it: what became of its advertisements, and which
// Secrets are not usable.
func (b *belief) resolve(by *feed, plan *peering.Plan, state uint64, became []allocator.Change, unusable []string) {
	b.mu.Lock()
	first := b.resolved == nil
	b.resolved, b.resolvedState, b.unusable = plan, state, unusable
	for _, f := range b.feeds {
		if f == by {
			continue
		}
		f.note(func(c *changes) {
			c.configs, c.resolved, c.unusable = true, plan, unusable
			for _, fact := range became {
				c.add(becameOf(fact), fact)
			}
		})
	}
	b.mu.Unlock()
	if first {
		close(b.planned)
	}
	b.wake()
}

// becameOf is the key of a change of a BGPAdvertisement.
func becameOf(fact allocator.Change) changed {
	switch c := fact.(type) {
	case allocator.PutBGPAdvertisement:
		return changed{"bgpadvertisement", name{Name: c.BGPAdvertisement.Name}}
	case allocator.DropBGPAdvertisement:
		return changed{"bgpadvertisement", name{Name: c.Name}}
	}
	panic("controller: what package peering decides became a change of something else")
}

// peeringDiffers notes that package peering has to decide anew.
func (b *belief) peeringDiffers() {
	b.peeringState++
	b.note(func(c *changes) { c.peering = true })
}

// usable tells whether there is a Secret of that name with a password.
func (b *belief) usable(secret string) bool {
	_, ok := b.passwords.items[name{Namespace: b.namespace, Name: secret}]
	return ok
}

// lookedAt tells whether it can be said what is wrong with a Secret, if anything.
func (b *belief) lookedAt(secret string) bool {
	_, looked := b.strangers[secret]
	return looked || b.usable(secret)
}

func factsOf[F any](s *shelf[*written[F]]) (facts []F) {
	for _, w := range s.items {
		facts = append(facts, w.fact.fact)
	}
	return facts
}

// listedFirst notes that a kind has been listed.
func (b *belief) listedFirst(kind string) {
	if !b.waits[kind] {
		return
	}
	delete(b.waits, kind)
	if len(b.waits) == 0 {
		close(b.ready)
	}
}

// missing names the kinds that have not been listed yet.
func (b *belief) missing() (kinds []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.waits {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}
