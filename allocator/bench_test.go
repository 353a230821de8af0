package allocator_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// town is a cluster with n Services, of which five in ten share an address, with
// endpoints on two of 100 nodes each.
func town(n int) Facts {
	f := Facts{
		Settings:       Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second},
		Pools:          []Pool{{Name: "home", Addresses: []string{"10.0.0.0/14", "fd00::/64"}, AutoAssign: true}},
		Advertisements: []Advertisement{{Name: "all"}},
	}
	const nodes = 100
	for i := range nodes {
		f.Nodes = append(f.Nodes, Node{Name: fmt.Sprint("node-", i)})
	}
	for i := range n {
		v := Service{
			Name: ServiceName{fmt.Sprint("n", i%50), fmt.Sprint("s", i)}, UID: fmt.Sprint(i), Created: noon.Add(time.Duration(i) * time.Second),
			Families: []Family{IPv4}, Ports: []Port{{"TCP", uint16(80 + i%5)}}, Selector: "app=x", Local: i%2 == 0,
		}
		if i%10 < 5 {
			v.Annotations = map[string]string{PrefixMetalLB + AnnotationShare: fmt.Sprint("k", i/10)}
		}
		f.Services = append(f.Services, v)
		f.Endpoints = append(f.Endpoints, Endpoints{v.Name, "e", []NodeEndpoints{{fmt.Sprint("node-", i%nodes), 1, 0}, {fmt.Sprint("node-", (i+1)%nodes), 1, 0}}})
	}
	return f
}

// settled is the town with everything published.
func settled(b *testing.B, n int) (*Snapshot, Facts) {
	f := town(n)
	planned := Plan(NewSnapshot(f), noon)
	for i, d := range planned.Decisions { // oldest first, as the town
		if len(d.Holds) == 0 || d.Service != f.Services[i].Name {
			b.Fatalf("%+v", d)
		}
		f.Services[i].Holds, f.Services[i].Record = d.Holds, d.Record
	}
	s := NewSnapshot(f)
	Plan(s, noon)
	Place(s)
	return s, f
}

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := town(n)
			b.ReportAllocs()
			for b.Loop() {
				Plan(NewSnapshot(f), noon)
			}
		})
	}
}

// BenchmarkPlanOneChange: a new port on one of 10,000 Services that hold all they want.
func BenchmarkPlanOneChange(b *testing.B) {
	s, f := settled(b, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v := f.Services[i%len(f.Services)]
		v.Ports = []Port{{"TCP", uint16(1000 + i%1000)}}
		s = s.With(PutService{v})
		Plan(s, noon)
		s = s.With(PutService{f.Services[i%len(f.Services)]})
		Plan(s, noon)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/change")
}

// BenchmarkPlanNewcomer: the 10,001st Service comes, takes an address, and goes.
func BenchmarkPlanNewcomer(b *testing.B) {
	s, _ := settled(b, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := ServiceName{"new", fmt.Sprint(i)}
		s = s.With(PutService{Service{Name: n, UID: n.Name, Created: noon, Families: []Family{IPv4}}})
		if p := Plan(s, noon); len(p.Decisions) != 1 || len(p.Decisions[0].Holds) != 1 {
			b.Fatal(p)
		}
		s = s.With(DropService{n})
		Plan(s, noon)
	}
}

// BenchmarkPlanOneChangeFullPool: one change beside 1,000 Services that wait.
func BenchmarkPlanOneChangeFullPool(b *testing.B) {
	f := town(1000)
	f.Pools[0].Addresses = []string{"192.0.2.1/32"}
	s := NewSnapshot(f)
	Plan(s, noon)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v := f.Services[i%len(f.Services)]
		v.Ports = []Port{{"TCP", uint16(1000 + i%1000)}}
		s = s.With(PutService{v})
		Plan(s, noon)
	}
}

// BenchmarkPlaceOneChange: the endpoints of one of 10,000 Services move.
func BenchmarkPlaceOneChange(b *testing.B) {
	s, f := settled(b, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := f.Endpoints[i%len(f.Endpoints)]
		e.Nodes = []NodeEndpoints{{fmt.Sprint("node-", i%7), 1, 0}}
		s = s.With(PutEndpoints{e})
		Place(s)
	}
}

// BenchmarkPlaceOneNode: a node is lost, with 10,000 Services in the cluster.
func BenchmarkPlaceOneNode(b *testing.B) {
	s, f := settled(b, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := f.Nodes[i%len(f.Nodes)]
		n.Unreachable = i%2 == 0
		s = s.With(PutNode{n})
		Place(s)
	}
}

func BenchmarkOwner(b *testing.B) {
	var seat Seat
	for i := range 100 {
		seat.Layer2 = append(seat.Layer2, Candidate{Node: fmt.Sprint("node-", i)})
	}
	seat.Addr = netip.MustParseAddr("10.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		seat.Owner(func(string) bool { return true }, "", func(string) int { return 7 })
	}
}
