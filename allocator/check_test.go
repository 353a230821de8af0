package allocator_test

import (
	"net/netip"
	"testing"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// Single steps, each beside one that differs in what Check must look at.
func TestCheckTellsStepsApart(t *testing.T) {
	ip := netip.MustParseAddr
	held, next, lost, far := ip("10.0.0.1"), ip("10.0.0.2"), ip("10.9.0.1"), ip("10.1.0.1")
	timers := func(a netip.Addr, c Code, ago time.Duration) []Timer { return []Timer{{a, c, noon.Add(-ago)}} }
	marks := []PoolMark{{Addr: lost, Pool: "gone"}}
	type list = []netip.Addr
	for _, c := range []struct {
		name   string
		holds  list // as published
		record Record
		pool   string // that the Service asks for
		after  Decision
		ok     bool
	}{
		{"an overlap that is over", list{next, held}, Record{Overlap: timers(held, Surplus, 30*time.Second)}, "", Decision{Holds: list{next}}, true},
		{"an overlap that is not over", list{next, held}, Record{Overlap: timers(held, Surplus, 29*time.Second)}, "", Decision{Holds: list{next}}, false},
		{"no overlap", list{next, held}, Record{}, "", Decision{Holds: list{next}}, false},
		{"the successor goes instead", list{next, held}, Record{Overlap: timers(held, Surplus, time.Hour)}, "", Decision{Holds: list{}}, false},
		{"a successor that nobody has seen", list{held}, Record{Overlap: timers(held, Surplus, time.Hour)}, "", Decision{Holds: list{next}}, false},

		{"a lost pool, settled", list{lost}, Record{Settling: timers(lost, PoolLost, 30*time.Second), Pools: marks}, "", Decision{}, true},
		{"a lost pool, not settled", list{lost}, Record{Settling: timers(lost, PoolLost, 29*time.Second), Pools: marks}, "", Decision{}, false},
		{"settled for another reason", list{lost}, Record{Settling: timers(lost, Disagreement, time.Hour), Pools: marks}, "", Decision{}, false},
		{"an address that no pool gave", list{lost}, Record{Settling: timers(lost, PoolLost, time.Hour)}, "", Decision{}, false},
		{"a pool that is there", list{held}, Record{Settling: timers(held, PoolLost, time.Hour), Pools: []PoolMark{{Addr: held, Pool: "home"}}}, "", Decision{}, false},
		{"a lost pool, replaced without an overlap", list{lost}, Record{Settling: timers(lost, PoolLost, time.Hour), Pools: marks}, "", Decision{Holds: list{next}}, false},
		{"a lost pool, replaced with one", list{lost}, Record{Settling: timers(lost, PoolLost, time.Hour), Pools: marks}, "",
			Decision{Holds: list{next, lost}, Record: Record{Overlap: timers(lost, PoolLost, 0)}}, true},

		{"a request that is met", list{held}, Record{}, "lab", Decision{Holds: list{far, held}, Record: Record{Overlap: timers(held, OtherWanted, 0)}}, true},
		{"a request that is not met by it", list{held}, Record{}, "lab", Decision{Holds: list{next, held}, Record: Record{Overlap: timers(held, OtherWanted, 0)}}, false},
		{"no request", list{held}, Record{}, "", Decision{Holds: list{far, held}, Record: Record{Overlap: timers(held, OtherWanted, 0)}}, false},
		{"an overlap without a successor", list{held}, Record{}, "lab", Decision{Holds: list{held}, Record: Record{Overlap: timers(held, OtherWanted, 0)}}, false},

		{"the same address twice", list{held}, Record{}, "", Decision{Holds: list{held, held}}, false},
		{"an address in no pool", nil, Record{}, "", Decision{Holds: list{lost}}, false},
		{"an address that is taken", nil, Record{}, "", Decision{Holds: list{ip("10.0.0.3")}}, false},
		{"an address that is free", nil, Record{}, "", Decision{Holds: list{next}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := ServiceName{"default", "web"}
			s := NewSnapshot(Facts{
				Settings: Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second},
				Pools:    []Pool{{Name: "home", Addresses: []string{"10.0.0.0/29"}, AutoAssign: true}, {Name: "lab", Addresses: []string{"10.1.0.0/29"}}},
				Services: []Service{
					{Name: n, Families: []Family{IPv4}, Holds: c.holds, Record: c.record, Annotations: map[string]string{PrefixMetalLB + AnnotationPool: c.pool}},
					{Name: ServiceName{"default", "other"}, Families: []Family{IPv4}, Holds: list{ip("10.0.0.3")}},
				},
			})
			c.after.Service = n
			if err := Check(s, c.after, noon); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
