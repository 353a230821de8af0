package controller

import (
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

// A source brings the objects of one kind to their shelf: by watching, and, for a
// leader's first plan, by one consistent read.
type source struct {
	kind     string
	plans    bool // what is planned follows from it
	lists    *cache.ListWatch
	expected runtime.Object
	store    store
}

// A store takes what a reflector, a consistent read or an answer brings.
type store interface {
	believing
	answered(runtime.Object)
}

// sources names every kind that is watched. Pools, advertisements and the key
// are looked for in our own namespace only.
func sources(c *clients, b *belief, namespace string) []source {
	everywhere := func(r rest.Interface, resource string) *cache.ListWatch {
		return cache.NewListWatchFromClient(r, resource, metav1.NamespaceAll, fields.Everything())
	}
	at := func(r rest.Interface, resource string) *cache.ListWatch {
		return cache.NewListWatchFromClient(r, resource, namespace, fields.Everything())
	}
	return []source{
		{"services", true, everywhere(c.core, "services"), &corev1.Service{}, keepOf(b, b.services,
			func(in *corev1.Service) (*service, bool) {
				s := serviceOf(in, b.class)
				return s, s != nil
			})},
		{"ipaddresspools", true, at(c.metallb, "ipaddresspools"), &v1beta1.IPAddressPool{}, keepOf(b, b.pools, poolOf)},
		{"l2advertisements", true, at(c.metallb, "l2advertisements"), &v1beta1.L2Advertisement{}, keepOf(b, b.ads, advertisementOf)},
		{"namespaces", true, everywhere(c.core, "namespaces"), &corev1.Namespace{}, keepOf(b, b.namespaces,
			func(in *corev1.Namespace) (allocator.Namespace, bool) { return namespaceFact(in), true })},
		{"nodes", true, everywhere(c.core, "nodes"), &corev1.Node{}, keepOf(b, b.nodes,
			func(in *corev1.Node) (allocator.Node, bool) { return nodeFact(in, b.ignoreExclude), true })},
		{slicesKind, false, everywhere(c.discovery, slicesKind), &discoveryv1.EndpointSlice{}, sliceKeeping{b}},
		{"secrets", false, cache.NewListWatchFromClient(c.core, "secrets", namespace, fields.OneTermEqualSelector("metadata.name", keySecret)), &corev1.Secret{},
			keepOf(b, b.keys, func(in *corev1.Secret) ([]byte, bool) { return in.Data[keyEntry], true })},
		{"bgppeers", false, at(c.metallb2, "bgppeers"), &v1beta2.BGPPeer{}, keepOf(b, b.peers, peerOf)},
		{"bgpadvertisements", false, at(c.metallb, "bgpadvertisements"), &v1beta1.BGPAdvertisement{}, keepOf(b, b.routes, routeAdvertisementOf)},
		{"bfdprofiles", false, at(c.metallb, "bfdprofiles"), &v1beta1.BFDProfile{}, keepOf(b, b.profiles, profileOf)},
		{"communities", false, at(c.metallb, "communities"), &v1beta1.Community{}, keepOf(b, b.communities, communityOf)},
		{"passwords", false, cache.NewListWatchFromClient(c.core, "secrets", namespace, fields.OneTermEqualSelector("type", peering.SecretType)), &corev1.Secret{},
			keepOf(b, b.passwords, func(in *corev1.Secret) (peering.Secret, bool) { return secretFact(in), true })},
	}
}

// store returns the shelf of a kind.
func (c *Controller) store(kind string) store {
	return c.sources[slices.IndexFunc(c.sources, func(s source) bool { return s.kind == kind })].store
}

// optional tells whether a cluster may do without a kind: one where an older version
// was installed has neither the kinds of BGP nor the right to read them.
func optional(kind string) bool {
	switch kind {
	case "bgppeers", "bgpadvertisements", "bfdprofiles", "communities", "passwords":
		return true
	}
	return false
}

func poolOf(in *v1beta1.IPAddressPool) (*pool, bool) {
	out := &pool{object: object{name: in.Name, version: in.ResourceVersion, generation: in.Generation}, status: in.Status}
	out.fact, out.refused = poolFact(in)
	return out, true
}

func advertisementOf(in *v1beta1.L2Advertisement) (*advertisement, bool) {
	out := &advertisement{object: object{name: in.Name, version: in.ResourceVersion, generation: in.Generation}, conditions: in.Status.Conditions}
	out.fact, out.refused = advertisementFact(in)
	return out, true
}

// keeping puts the objects of one kind on their shelf, reduced by read to what
// matters; false: the object does not.
type keeping[O metav1.Object, F any] struct {
	belief *belief
	shelf  *shelf[F]
	reduce func(O) (F, bool)
}

func keepOf[O metav1.Object, F any](b *belief, s *shelf[F], reduce func(O) (F, bool)) store {
	return &keeping[O, F]{b, s, reduce}
}

func (k *keeping[O, F]) Transformer() cache.TransformFunc { return trim }
func (k *keeping[O, F]) Resync() error                    { return nil }
func (k *keeping[O, F]) Add(o any) error                  { return k.Update(o) }

func (k *keeping[O, F]) Update(o any) error {
	n, version, fact, err := k.reduced(o)
	if err != nil {
		return err
	}
	k.belief.mu.Lock()
	k.shelf.delivered(n, version, fact)
	k.belief.mu.Unlock()
	k.belief.wake()
	return nil
}

func (k *keeping[O, F]) Delete(o any) error {
	in, ok := o.(O)
	if !ok {
		return fmt.Errorf("taking the end of one of %s: it is a %T", k.shelf.kind, o)
	}
	k.belief.mu.Lock()
	k.shelf.delivered(nameOf(in), in.GetResourceVersion(), nil)
	k.belief.mu.Unlock()
	k.belief.wake()
	return nil
}

func (k *keeping[O, F]) Replace(objects []any, version string) error {
	_, err := k.take(objects, version, false)
	return err
}

func (k *keeping[O, F]) take(objects []any, version string, anew bool) (back bool, err error) {
	list := make(map[name]item[F], len(objects))
	for _, o := range objects {
		n, v, fact, err := k.reduced(o)
		if err != nil {
			return false, err
		}
		if fact != nil {
			list[n] = item[F]{v, *fact}
		}
	}
	k.belief.mu.Lock()
	if anew {
		k.shelf.begin(version, list, func(a, b F) bool { return reflect.DeepEqual(a, b) })
	} else {
		back = k.shelf.listed(version, list)
	}
	k.belief.listedFirst(k.shelf.kind)
	k.belief.mu.Unlock()
	k.belief.wake()
	return back, nil
}

func (k *keeping[O, F]) newest() (version string, begun int) {
	k.belief.mu.Lock()
	defer k.belief.mu.Unlock()
	return k.shelf.newest, k.shelf.begun
}

func (k *keeping[O, F]) holds(n name, version string) bool {
	k.belief.mu.Lock()
	defer k.belief.mu.Unlock()
	i, ok := k.shelf.items[n]
	return ok && i.version == version
}

// Bookmark: the watch has delivered everything up to the version.
func (k *keeping[O, F]) Bookmark(version string) error {
	k.belief.mu.Lock()
	defer k.belief.mu.Unlock()
	if after(version, k.shelf.seen) {
		k.shelf.saw(version)
	}
	return nil
}

func (k *keeping[O, F]) answered(o runtime.Object) {
	n, version, fact, err := k.reduced(o)
	if err != nil {
		return
	}
	k.belief.mu.Lock()
	k.shelf.answered(n, version, fact)
	k.belief.mu.Unlock()
	k.belief.wake()
}

func (k *keeping[O, F]) reduced(o any) (n name, version string, fact *F, err error) {
	if o, err = trim(o); err != nil {
		return n, "", nil, err
	}
	in, ok := o.(O)
	if !ok {
		return n, "", nil, fmt.Errorf("taking one of %s: it is a %T", k.shelf.kind, o)
	}
	if f, matters := k.reduce(in); matters {
		fact = &f
	}
	return nameOf(in), in.GetResourceVersion(), fact, nil
}

func nameOf(o metav1.Object) name { return name{Namespace: o.GetNamespace(), Name: o.GetName()} }
