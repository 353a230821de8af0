package allocator_test

import (
	"fmt"
	"slices"
	"testing"

	. "holdfast.dev/holdfast/allocator"
)

// Crowds: many Services that wait, that share a key or an address, or that have many
// ports. What is about somebody else must not cost more beside them.

// A crowd is a cluster with a bystander, who holds an address of a pool of his own.
func inCrowd(pool string, services []Service) Facts {
	f := Facts{Pools: []Pool{
		{Name: "crowd", Addresses: []string{pool}, AutoAssign: true},
		{Name: "others", Addresses: []string{"10.9.0.0/24"}, AutoAssign: false},
	}}
	f.Services = append(services, Service{
		Name: ServiceName{"default", "bystander"}, UID: "b", Created: noon, Families: []Family{IPv4}, Ports: []Port{{"TCP", 80}},
		Annotations: map[string]string{PrefixMetalLB + AnnotationPool: "others"},
	})
	return f
}

func crowdOf(n int, each func(i int, v *Service)) (out []Service) {
	for i := range n {
		v := Service{
			Name: ServiceName{"crowd", fmt.Sprint("s", i)}, UID: fmt.Sprint(i), Created: noon, Families: []Family{IPv4}, Ports: []Port{{"TCP", 80}},
			Annotations: map[string]string{},
		}
		each(i, &v)
		out = append(out, v)
	}
	return out
}

func keyed(v *Service) { v.Annotations[PrefixMetalLB+AnnotationShare] = "k" }

func ports(from, n int) (out []Port) {
	for i := range n {
		out = append(out, Port{"TCP", uint16(from + i)})
	}
	return out
}

var crowds = []struct {
	name string
	Facts
	waiting int
}{
	{"10000Waiting", inCrowd("10.0.0.1/32", crowdOf(10_001, func(int, *Service) {})), 10_000},
	{"4000OnOneKeyHalfWaiting", inCrowd("10.0.0.0-10.0.7.207", crowdOf(4000, func(_ int, v *Service) { keyed(v) })), 2000},
	{"4000OnOneAddress", inCrowd("10.0.0.1/32", crowdOf(4000, func(i int, v *Service) { keyed(v); v.Ports = ports(1000+i, 1) })), 0},
	{"21Of7000Ports", inCrowd("10.0.0.1-10.0.0.2", crowdOf(21, func(i int, v *Service) { keyed(v); v.Ports = ports(1000+i%2, 7000) })), 19},
}

// BenchmarkPlanCrowdFirst: the crowd comes, all at once.
func BenchmarkPlanCrowdFirst(b *testing.B) {
	for _, c := range crowds {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				Plan(NewSnapshot(c.Facts), noon)
			}
		})
	}
}

// BenchmarkPlanBesideCrowd: a bystander is edited.
func BenchmarkPlanBesideCrowd(b *testing.B) {
	for _, c := range crowds {
		b.Run(c.name, func(b *testing.B) {
			s, waiting := NewSnapshot(c.Facts), 0
			decided := map[ServiceName]Decision{}
			for _, d := range Plan(s, noon).Decisions {
				if decided[d.Service] = d; len(d.Holds) == 0 {
					waiting++
				}
			}
			if waiting != c.waiting {
				b.Fatalf("%d wait, and %d should", waiting, c.waiting)
			}
			f := c.Facts
			f.Services = nil
			for _, v := range c.Services {
				d := decided[v.Name]
				v.Holds, v.Record = d.Holds, d.Record
				f.Services = append(f.Services, v)
			}
			s = NewSnapshot(f)
			Plan(s, noon)
			v := f.Services[len(f.Services)-1]
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				v.Ports = ports(2000+i%1000, 1)
				s = s.With(PutService{v})
				Plan(s, noon)
			}
		})
	}
}

// BenchmarkPlanBesideHisCrowd: what one tenant may do that must not cost others much.
func BenchmarkPlanBesideHisCrowd(b *testing.B) {
	other := Service{Name: ServiceName{"default", "n"}, UID: "n", Created: noon, Families: []Family{IPv4}, Ports: ports(1, 1)}
	b.Run("10000OverQuota", func(b *testing.B) { // an address of the pool becomes free
		f := inCrowd("10.0.0.0/16", crowdOf(10_000, func(int, *Service) {}))
		f.Pools[0].MaxPerNamespace = 2
		for _, d := range Plan(NewSnapshot(f), noon).Decisions {
			if i := slices.IndexFunc(f.Services, func(v Service) bool { return v.Name == d.Service }); len(d.Holds) > 0 {
				f.Services[i].Holds, f.Services[i].Record = d.Holds, d.Record
			}
		}
		s := NewSnapshot(f)
		Plan(s, noon)
		for b.Loop() {
			s = s.With(PutService{other})
			Plan(s, noon)
			s = s.With(DropService{other.Name})
			Plan(s, noon)
		}
	})
	b.Run("7000Beside7000Ports", func(b *testing.B) { // who names an address of as many ports
		f := inCrowd("10.0.0.1/32", crowdOf(1, func(_ int, v *Service) { v.Ports = ports(1000, 7000); v.Holds = addresses("10.0.0.1") }))
		s, v := NewSnapshot(f), other
		Plan(s, noon)
		v.Annotations = map[string]string{PrefixMetalLB + AnnotationAddresses: "10.0.0.1"}
		for i := 0; b.Loop(); i++ {
			v.Ports = ports(10_000+i%2, 7000)
			s = s.With(PutService{v})
			Plan(s, noon)
		}
	})
	b.Run("50000ExternalIPs", func(b *testing.B) {
		s := NewSnapshot(inCrowd("10.0.0.0/16", nil))
		use := InUse{By: "x"}
		for a := addresses("10.0.0.0")[0]; len(use.Addrs) < 50_000; a = a.Next() {
			use.Addrs = append(use.Addrs, a)
		}
		for i := 0; b.Loop(); i++ {
			s = s.With(PutInUse{InUse{By: "x", Addrs: use.Addrs[i%2:]}})
			Plan(s, noon)
		}
	})
}
