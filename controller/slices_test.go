package controller

import (
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"strconv"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
)

// sliceWorld is EndpointSlices as they are, beside what a shelf makes of them.
type sliceWorld struct {
	shelf   *sliceShelf
	slices  map[name]sliceFact
	matters map[name]bool // Services
	told    map[sliceKey]allocator.Endpoints
	version int
}

// newSliceWorld has hashes of which many are equal if few.
func newSliceWorld(few bool) *sliceWorld {
	w := &sliceWorld{slices: map[name]sliceFact{}, matters: map[name]bool{}, told: map[sliceKey]allocator.Endpoints{}}
	w.shelf = newSliceShelf(func(s name) bool { return w.matters[s] }, func(key any, c allocator.Change) {
		switch c := c.(type) {
		case allocator.PutEndpoints:
			w.told[key.(sliceKey)] = c.Endpoints
		case allocator.DropEndpoints:
			delete(w.told, key.(sliceKey))
		}
	})
	if few {
		w.shelf.hash = func(n name) uint64 { return uint64(len(n.Name)) }
	}
	return w
}

func (w *sliceWorld) want() map[sliceKey]allocator.Endpoints {
	out := map[sliceKey]allocator.Endpoints{}
	for n, f := range w.slices {
		if w.matters[f.service] {
			out[sliceKey{f.service, n}] = f.fact()
		}
	}
	return out
}

func drawSlice(t *rapid.T) sliceFact {
	ns := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace")
	f := sliceFact{
		name:    name{Namespace: ns, Name: rapid.SampledFrom([]string{"web-1", "web-2", "web", "x"}).Draw(t, "slice")},
		service: name{Namespace: ns, Name: rapid.SampledFrom([]string{"web", "web-1", "dns", "w"}).Draw(t, "service")},
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "nodes") {
		f.nodes = append(f.nodes, allocator.NodeEndpoints{
			Node: []string{"", "n1", "n2"}[i], Ready: rapid.IntRange(0, 300).Draw(t, "ready"), Terminating: rapid.IntRange(0, 1).Draw(t, "terminating"),
		})
	}
	return f
}

func (w *sliceWorld) step(t *rapid.T) {
	w.version++
	switch f := drawSlice(t); rapid.IntRange(0, 6).Draw(t, "what") {
	case 0, 1, 2: // a slice is new, or another
		w.slices[f.name] = f
		w.shelf.delivered(strconv.Itoa(w.version), f)
	case 3: // one is gone
		delete(w.slices, f.name)
		w.shelf.delivered(strconv.Itoa(w.version), sliceFact{name: f.name})
	case 4: // a Service comes to matter, or does no more
		w.matters[f.service] = !w.matters[f.service]
		w.shelf.turns(f.service, w.matters[f.service])
	case 5: // the watch broke, and missed much
		for range 3 {
			f := drawSlice(t)
			if w.slices[f.name] = f; f.service.Name == "w" {
				delete(w.slices, f.name)
			}
		}
		var list []sliceFact
		for _, f := range w.slices {
			list = append(list, f)
		}
		w.shelf.listed(strconv.Itoa(w.version), list)
	case 6: // what came late is no news
		w.shelf.delivered(w.shelf.seen, f)
		w.shelf.listed("1", []sliceFact{f})
	}
}

func TestAlwaysTellsTheEndpointsThatMatter(t *testing.T) {
	for what, few := range map[string]bool{"": false, "hashes that are equal": true} {
		t.Run(what, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := newSliceWorld(few)
				w.version = 2
				w.shelf.listed("2", nil)
				for range rapid.IntRange(1, 40).Draw(t, "steps") {
					w.step(t)
					if want := w.want(); !maps.EqualFunc(w.told, want, func(a, b allocator.Endpoints) bool { return reflect.DeepEqual(a, b) }) {
						t.Fatalf("told %v, and there is %v", w.told, want)
					}
				}
				for n := range w.slices {
					w.shelf.remove(w.shelf.find(n))
				}
				if s := w.shelf; len(s.named)+len(s.of)+len(s.words.number) != 0 || len(s.unused) != len(s.records)-1 {
					t.Fatalf("nothing is there, and is kept: %+v", s)
				}
			})
		})
	}
}

func sliceOf(i, nodes int) *discoveryv1.EndpointSlice {
	ready := true
	service := fmt.Sprintf("checkout-worker-%d", i)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprint("team-", i%500), Name: service + "-x7k2p", UID: "0e8ea5ae-9a06-4c53-a4ec-4fd0bf37a8a1", ResourceVersion: strconv.Itoa(1_000_000 + i),
			Labels: map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for j := range nodes {
		node := fmt.Sprintf("worker-%03d.rack-%02d.example.net", (i*7+j)%300, j)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", i>>8&255, i&255, j)}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
		})
	}
	return s
}

func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// BenchmarkEndpointSlices: 100,000 EndpointSlices of ten endpoints, of which those of
// 1,000 Services matter: what they cost on the heap, the belief and a snapshot of it
// taken together, MB is of the whole process. ns/op is of one change of a slice that
// does not matter.
func BenchmarkEndpointSlices(b *testing.B) {
	const all, ours = 100_000, 1_000
	belief := newBelief(options{})
	keeping := sliceKeeping{belief}
	for i := range ours {
		s := sliceOf(i*97, 0)
		n := name{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
		belief.services.put(n, "1", ptr(&service{name: n, fact: &allocator.Service{Name: n, Created: time.Unix(0, 0)}}))
	}
	func() {
		objects := make([]any, all)
		for i := range objects {
			objects[i], _ = sliceFactOf(sliceOf(i, 10))
		}
		if err := keeping.Replace(objects, "2000000"); err != nil {
			b.Fatal(err)
		}
	}()
	facts := belief.facts()
	if len(facts.Endpoints) != ours {
		b.Fatal(len(facts.Endpoints))
	}
	snapshot := allocator.NewSnapshot(*facts)
	facts = nil
	runtime.KeepAlive(snapshot)
	changes := []*discoveryv1.EndpointSlice{sliceOf(1, 9), sliceOf(1, 10)}
	version := 2_000_000
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		version++
		c := changes[i%2]
		c.ResourceVersion = strconv.Itoa(version)
		if err := keeping.Update(c); err != nil {
			b.Fatal(err)
		}
	}
	mb := heapInUse()
	b.ReportMetric(mb, "MB")
	if mb > 25 {
		b.Errorf("the heap is %.0f MB, not 25 at most", mb)
	}
	runtime.KeepAlive(belief)
}

func ptr[T any](v T) *T { return &v }
