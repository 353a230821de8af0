package controller

import (
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
// It notes what changes, for the loop to take. A relist is a difference, too.
type belief struct {
	options
	ready chan struct{} // closed when every kind has been listed
	news  chan struct{} // holds one item while there is something to take

	mu      sync.Mutex
	waits   map[string]bool // kinds not listed yet
	changes changes

	services   *shelf[*service]
	pools      *shelf[*pool]
	ads        *shelf[*advertisement]
	nodes      *shelf[allocator.Node]
	endpoints  *sliceShelf
	namespaces *shelf[allocator.Namespace]
	keys       *shelf[[]byte]

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

// changes are what happened since they were last taken.
type changes struct {
	facts    []allocator.Change
	at       map[any]int       // where in facts the latest change of an object is
	services map[name]*service // seen anew; nil: gone
	configs  bool              // a pool, an advertisement or an object about BGP was seen anew
	nodes    bool              // a Node was seen anew
	keys     bool              // the Secret was seen anew
	peering  bool              // what package peering decides from is another
}

func (c *changes) add(key any, fact allocator.Change) {
	if i, ok := c.at[key]; ok {
		c.facts[i] = fact // the latest of an object is all that matters
		return
	}
	c.at[key] = len(c.facts)
	c.facts = append(c.facts, fact)
}

// newBelief returns a belief in nothing.
func newBelief(o options) *belief {
	b := &belief{options: o, ready: make(chan struct{}), news: make(chan struct{}, 1), waits: map[string]bool{}}
	b.changes = emptyChanges()
	b.services = newShelf(b, "services", b.serviceDiffers)
	b.pools = newShelf(b, "ipaddresspools", b.poolDiffers)
	b.ads = newShelf(b, "l2advertisements", b.advertisementDiffers)
	b.nodes = newShelf(b, "nodes", b.nodeDiffers)
	b.namespaces = newShelf(b, "namespaces", b.namespaceDiffers)
	b.endpoints = newSliceShelf(b.mattersFor, func(key any, fact allocator.Change) { b.changes.add(key, fact) })
	b.waits[slicesKind] = true
	b.keys = newShelf(b, "secrets", func(name, *[]byte, *[]byte) { b.changes.keys = true })
	delete(b.waits, b.keys.kind) // addresses are held and announced without a key, too
	b.peers = newShelf(b, "bgppeers", writtenDiffers[peering.Peer](b))
	b.routes = newShelf(b, "bgpadvertisements", writtenDiffers[peering.Advertisement](b))
	b.profiles = newShelf(b, "bfdprofiles", writtenDiffers[peering.Profile](b))
	b.communities = newShelf(b, "communities", writtenDiffers[peering.Community](b))
	b.passwords = newShelf(b, "passwords", b.passwordDiffers)
	return b
}

func emptyChanges() changes {
	return changes{at: map[any]int{}, services: map[name]*service{}}
}

// take returns what changed since it was last called. With whole it returns all
// facts besides.
func (b *belief) take(whole bool) (changes, *allocator.Facts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.changes
	b.changes = emptyChanges()
	if !whole {
		return taken, nil
	}
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
	for _, n := range b.nodes.items {
		facts.Nodes = append(facts.Nodes, n.fact)
	}
	for _, n := range b.namespaces.items {
		facts.Namespaces = append(facts.Namespaces, n.fact)
	}
	return taken, facts
}

// written returns what package peering decides from.
func (b *belief) written() (f peering.Facts) {
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
	return f
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

// wake tells the loop that there is something to take.
func (b *belief) wake() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}
