package allocator_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// Planners and placers by which strangers do harm: the right ones, asked about
// altered facts.

// believing is a planner that takes the facts for others than they are.
func believing(alter func(w *world, f *Facts)) planner {
	return func(w *world) Planned {
		f := w.facts(nil)
		f.Services, f.Pools = slices.Clone(f.Services), slices.Clone(f.Pools)
		alter(w, &f)
		names := map[string]ServiceName{} // a Service's name is unique in all namespaces
		for n := range w.services {
			names[n.Name] = n
		}
		p := Plan(NewSnapshot(f), w.now)
		for i := range p.Decisions {
			p.Decisions[i].Service = names[p.Decisions[i].Service.Name]
		}
		return p
	}
}

// oneNamespace takes all Services for those of one tenant.
func oneNamespace(_ *world, f *Facts) {
	for i := range f.Services {
		f.Services[i].Name.Namespace = "all"
	}
	f.Endpoints = slices.Clone(f.Endpoints)
	for i := range f.Endpoints {
		f.Endpoints[i].Service.Namespace = "all"
	}
	f.Namespaces = append(f.Namespaces, Namespace{Name: "all", Labels: map[string]string{"team": "x"}})
	for i := range f.Pools {
		f.Pools[i].MaxPerNamespace = 0
		if a := f.Pools[i].Allocation; a != nil && len(a.Namespaces) > 0 {
			all := *a
			all.Namespaces = []string{"all"}
			f.Pools[i].Allocation = &all
		}
	}
}

// alwaysAgreed takes every key for the one with which its Service was admitted.
func alwaysAgreed(_ *world, f *Facts) {
	for i, v := range f.Services {
		if !v.Record.IsZero() {
			f.Services[i].Record.Share = shareOf(wishOf(v).key)
		}
	}
}

// byAge takes who is older for who came first.
func byAge(_ *world, f *Facts) {
	for i, v := range f.Services {
		f.Services[i].Record.Pools = slices.Clone(v.Record.Pools)
		for k := range v.Record.Pools {
			f.Services[i].Record.Pools[k].Since = v.Created
		}
	}
}

// hadAll takes every port for one that its Service has had all along.
func hadAll(_ *world, f *Facts) {
	for i, v := range f.Services {
		if len(v.Record.Ports) > 0 {
			f.Services[i].Record.Ports = v.Ports
		}
	}
}

// his record says what the stranger likes: he is older than all, and has had all that
// he has.
func hisRecordIsHis(w *world, f *Facts) {
	for i, v := range f.Services {
		if ofStranger(v.Name) && !v.Record.IsZero() {
			own := &Facts{Services: []Service{v}}
			own.Services[0].Created = noon.Add(-time.Hour)
			hadAll(w, own)
			alwaysAgreed(w, own)
			byAge(w, own)
			f.Services[i] = own.Services[0]
		}
	}
}

func both(a, b func(*world, *Facts)) func(*world, *Facts) {
	return func(w *world, f *Facts) { a(w, f); b(w, f) }
}

// replaced forgets the record of a Service with each edit, and takes one without for
// one that had all its ports.
func replaced(w *world, f *Facts) {
	for i, v := range f.Services {
		if ports := common(v, Service{Ports: v.Record.Ports}); len(ports) < len(v.Ports) {
			f.Services[i].Record.Ports = v.Ports
			own := &Facts{Services: f.Services[i : i+1]}
			byAge(w, own)
		}
	}
}

// placedAs is a placer that takes the facts for others than they are.
func placedAs(alter func(*world, *Facts), choose func(right, wrong Seat) Seat) placer {
	return func(w *world) (p Placement) {
		f := w.facts(nil)
		f.Services, f.Pools = slices.Clone(f.Services), slices.Clone(f.Pools)
		alter(w, &f)
		names := map[string]ServiceName{}
		for n := range w.services {
			names[n.Name] = n
		}
		right := map[netip.Addr]Seat{}
		for _, s := range Place(NewSnapshot(w.facts(nil))).Seats {
			right[s.Addr] = s
		}
		for _, s := range Place(NewSnapshot(f)).Seats {
			s.Services, s.Unserved = slices.Clone(s.Services), slices.Clone(s.Unserved)
			for i := range s.Services {
				s.Services[i] = names[s.Services[i].Name]
			}
			for i := range s.Unserved {
				s.Unserved[i].Service = names[s.Unserved[i].Service.Name]
			}
			p.Seats = append(p.Seats, choose(right[s.Addr], s))
			delete(right, s.Addr)
		}
		for _, a := range slices.SortedFunc(maps.Keys(w.seats), netip.Addr.Compare) {
			if !slices.ContainsFunc(p.Seats, func(s Seat) bool { return s.Addr == a }) {
				p.Gone = append(p.Gone, a)
			}
		}
		return p
	}
}

func allServed(s Seat) bool {
	return !slices.ContainsFunc(s.Unserved, func(u Remark) bool { return u.Reason.Code == NotServed })
}

func TestAlwaysSeesHarmByAStranger(t *testing.T) {
	for _, c := range []struct {
		name string
		planner
		placer
		then bool // seen only by what the others do afterwards
	}{
		{"the largest party counts across namespaces", believing(both(oneNamespace, alwaysAgreed)), rightPlacer, false},
		{"the oldest wins across namespaces", believing(both(alwaysAgreed, byAge)), rightPlacer, false},
		{"nobody knows who changed the key", believing(alwaysAgreed), rightPlacer, false},
		{"keys join across namespaces without consent", believing(func(_ *world, f *Facts) { f.Settings.AcrossNamespaces = true }), rightPlacer, true},
		{"who has no record had its ports", believing(hadAll), rightPlacer, false},
		{"a record is dropped at replace", believing(replaced), rightPlacer, false},
		{"a record is where its user writes", believing(hisRecordIsHis), rightPlacer, false},
		{"the largest set across namespaces", rightPlanner, placedAs(oneNamespace, func(right, wrong Seat) Seat {
			if allServed(wrong) {
				return right
			}
			return wrong
		}), false},
		{"the intersection narrows the first namespace", rightPlanner, placedAs(oneNamespace, func(right, wrong Seat) Seat {
			if allServed(wrong) {
				return wrong
			}
			return right
		}), false},
		{"who is older comes first on an address", rightPlanner, placedAs(byAge, func(_, wrong Seat) Seat { return wrong }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			histories := plots()
			for seed := range 2000 {
				p := histories.Example(seed)
				if c.then {
					p.then = p.afterwards(false)
				}
				if _, err := p.play(c.planner, c.placer); err != nil {
					t.Logf("seen in history %d: %v", seed, err)
					return
				}
			}
			t.Error("not seen")
		})
	}
}
