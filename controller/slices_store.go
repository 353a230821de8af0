package controller

import (
	"fmt"
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// A sliceKeeping puts EndpointSlices on their shelf, as keeping does for other kinds.
type sliceKeeping struct{ belief *belief }

// Transformer has a reflector keep no more of a list that is on its way than matters.
func (k sliceKeeping) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return sliceFactOf(o) }
}

func (k sliceKeeping) Resync() error   { return nil }
func (k sliceKeeping) Add(o any) error { return k.Update(o) }

// sliceFactOf reduces an EndpointSlice to what matters; once is as good as twice. A
// slice of no Service has an empty Service.
func sliceFactOf(o any) (sliceFact, error) {
	switch in := o.(type) {
	case sliceFact:
		return in, nil
	case *discoveryv1.EndpointSlice:
		f := sliceFact{name: nameOf(in), servers: apiAddresses(in)}
		if e, ok := endpointsFact(in); ok {
			f.service, f.nodes = e.Service, e.Nodes
		}
		return f, nil
	}
	return sliceFact{}, fmt.Errorf("taking one of endpointslices: it is a %T", o)
}

func (k sliceKeeping) Update(o any) error {
	f, err := sliceFactOf(o)
	if err != nil {
		return err
	}
	return k.delivered(o, f)
}

func (k sliceKeeping) Delete(o any) error {
	f, err := sliceFactOf(o)
	if err != nil {
		return err
	}
	f.service, f.servers = name{}, nil
	return k.delivered(o, f)
}

// delivered takes a slice from the watch; one of no Service is one that is gone.
func (k sliceKeeping) delivered(o any, f sliceFact) error {
	in, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return fmt.Errorf("taking one of endpointslices from a watch: it is a %T", o)
	}
	k.belief.mu.Lock()
	if after(in.ResourceVersion, k.belief.endpoints.seen) {
		k.belief.apiServers(map[name][]netip.Addr{f.name: f.servers}, false)
	}
	k.belief.endpoints.delivered(in.ResourceVersion, f)
	k.belief.mu.Unlock()
	k.belief.wake()
	return nil
}

func (k sliceKeeping) Replace(objects []any, version string) error {
	_, err := k.take(objects, version, false)
	return err
}

// take believes in a whole list. No object in it can prove that versions went back:
// theirs are not kept.
func (k sliceKeeping) take(objects []any, version string, anew bool) (back bool, err error) {
	list := make([]sliceFact, 0, len(objects))
	servers := map[name][]netip.Addr{}
	for _, o := range objects {
		f, err := sliceFactOf(o)
		if err != nil {
			return false, err
		}
		if f.service != (name{}) {
			list = append(list, f)
		}
		if len(f.servers) > 0 {
			servers[f.name] = f.servers
		}
	}
	k.belief.mu.Lock()
	if anew || !older(version, k.belief.endpoints.seen) {
		k.belief.apiServers(servers, true)
	}
	if anew {
		k.belief.endpoints.begin(version, list)
	} else {
		k.belief.endpoints.listed(version, list)
	}
	k.belief.listedFirst(slicesKind)
	k.belief.mu.Unlock()
	k.belief.wake()
	return false, nil
}

func (k sliceKeeping) newest() (version string, begun int) {
	k.belief.mu.Lock()
	defer k.belief.mu.Unlock()
	return k.belief.endpoints.seen, k.belief.endpoints.begun
}

// holds: nobody here writes EndpointSlices, so no write of one is refused.
func (k sliceKeeping) holds(name, string) bool { return false }

// Bookmark: the watch has delivered everything up to the version.
func (k sliceKeeping) Bookmark(version string) error {
	k.belief.mu.Lock()
	defer k.belief.mu.Unlock()
	if s := k.belief.endpoints; after(version, s.seen) {
		s.seen = version
	}
	return nil
}

// answered: nobody here writes EndpointSlices.
func (k sliceKeeping) answered(runtime.Object) {}
