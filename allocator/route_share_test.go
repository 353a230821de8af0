package allocator_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// fabric is a cluster with n Services on as many addresses, which each of the nodes
// advertises by BGP; one in a hundred is Local, with endpoints on ten nodes.
func fabric(nodes, n int) Facts {
	f := Facts{
		Pools: []Pool{{Name: "home", Addresses: []string{"10.0.0.0/14"}, AutoAssign: true}},
		BGP:   []BGPAdvertisement{{Name: "all", Length4: 32, Length6: 128}, {Name: "wide", Length4: 24, Length6: 64, Peers: []string{"far"}}},
	}
	for i := range nodes {
		f.Nodes = append(f.Nodes, Node{Name: fmt.Sprintf("node-%04d", i)})
	}
	for i := range n {
		v := Service{
			Name: ServiceName{"n", fmt.Sprint("s", i)}, UID: fmt.Sprint(i), Created: noon.Add(time.Duration(i) * time.Second),
			Families: []Family{IPv4}, Ports: []Port{{"TCP", 80}}, Selector: "app=x", Local: i%100 == 0,
			Holds: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})},
		}
		f.Services = append(f.Services, v)
		e := Endpoints{v.Name, "e", nil}
		for j := range 10 {
			e.Nodes = append(e.Nodes, NodeEndpoints{f.Nodes[(i+j*7)%nodes].Name, 1, 0})
		}
		f.Endpoints = append(f.Endpoints, e)
	}
	return f
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// seats places a fabric and returns how many octets stay on the heap for it, after the
// placement has been handed on.
func seats(t testing.TB, s *Snapshot, want int) uint64 {
	before := heap()
	if p := Place(s); len(p.Seats) != want {
		t.Fatalf("%d seats, not %d", len(p.Seats), want)
	}
	return heap() - before
}

// BenchmarkRoutesOf10000: what the seats of 10,000 Services cost that 1,000 nodes
// advertise. MB is what stays on the heap.
func BenchmarkRoutesOf10000(b *testing.B) {
	f := fabric(1000, 10_000)
	b.ReportAllocs()
	var kept uint64
	for b.Loop() {
		s := NewSnapshot(f)
		kept = seats(b, s, 10_000)
		runtime.KeepAlive(s)
	}
	b.ReportMetric(float64(kept)/1e6, "MB")
}

// Seats whose routes are for the same nodes hold one list of them: that does not end
// when nodes come and go, or when advertisements conflict.
func TestAlwaysSharesListsOfNodes(t *testing.T) {
	const nodes, n = 100, 200
	for name, change := range map[string]func(f *Facts){
		"plain":         func(*Facts) {},
		"node selector": func(f *Facts) { f.BGP[1].NodeSelectors = []Selector{{{"rack", In, []string{"1"}}}} },
		"conflicts":     func(f *Facts) { f.BGP[1].Length4, f.BGP[1].LocalPref = 32, 200 },
		"two on each address": func(f *Facts) {
			for i := range f.Services {
				f.Services[i].Local = false
				f.Services[i].Labels = map[string]string{"half": fmt.Sprint(i % 2)}
				f.Services[i].Holds = f.Services[i/2*2].Holds
			}
			f.BGP[1].ServiceSelectors = []Selector{{{"half", In, []string{"1"}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := fabric(nodes, n)
			for i := range f.Nodes {
				f.Nodes[i].Labels = map[string]string{"rack": fmt.Sprint(i % 2)}
			}
			change(&f)
			s := NewSnapshot(f)
			lists := map[netip.Addr][]Route{}
			for round := range 20 {
				for _, seat := range Place(s).Seats {
					lists[seat.Addr] = seat.Routes
				}
				distinct := map[*string]bool{}
				for _, routes := range lists {
					for _, r := range routes {
						if len(r.Nodes) > 10 { // not of a Local Service
							distinct[&r.Nodes[0]] = true
						}
					}
				}
				if len(distinct) > 2 || len(distinct) == 0 {
					t.Fatalf("round %d: %d lists of nodes for 2 advertisements", round, len(distinct))
				}
				node := f.Nodes[round]
				node.Unreachable = round%2 == 0
				s = s.With(PutNode{node})
			}
		})
	}
}
