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
	marks := []PoolMark{{Addr: lost, Pool: "gone", Since: noon.Add(-time.Hour)}}
	type list = []netip.Addr
	from := func(pool string, addrs ...netip.Addr) (marks []PoolMark) {
		for _, a := range addrs {
			marks = append(marks, PoolMark{Addr: a, Pool: pool, Since: noon.Add(-time.Hour)})
		}
		return marks
	}
	for _, c := range []struct {
		name   string
		holds  list   // as published
		record Record // says of each of them that it came by it rightly, unless it says something else
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
		{"an address that no pool gave", list{lost}, Record{Settling: timers(lost, PoolLost, time.Hour), Pools: from("", lost)}, "", Decision{}, false},
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
		{"an address that a node has", nil, Record{}, "", Decision{Holds: list{ip("10.0.0.4")}}, false},
		{"an address that externalIPs name", nil, Record{}, "", Decision{Holds: list{ip("10.0.0.5")}}, false},
		{"an address that its own externalIPs name", nil, Record{}, "", Decision{Holds: list{ip("10.0.0.6")}}, true},
		{"an address that no host can use", nil, Record{}, "", Decision{Holds: list{ip("127.0.0.1")}}, false},
		{"one more than the quota", nil, Record{}, "few", Decision{Holds: list{ip("10.2.0.2")}}, false},
		{"the key of another namespace", nil, Record{}, "", Decision{Holds: list{ip("10.0.0.7")}}, false},
		{"the key of another namespace, where the pool allows it", nil, Record{}, "", Decision{Holds: list{ip("10.3.0.1")}}, true},

		{"what somebody else wrote beside it", list{held, next}, Record{Pools: from("home", held)}, "", Decision{Holds: list{held}}, true},
		{"what somebody else wrote instead", list{next}, Record{Pools: from("home", held)}, "", Decision{Holds: list{held}}, true},
		{"what it came by rightly", list{held, next}, Record{Pools: from("home", held)}, "", Decision{Holds: list{next}}, false},
		{"what the status has, and nobody led", list{held, next}, Record{Pools: from("home", held), Written: noon.Add(-2 * time.Hour)}, "", Decision{Holds: list{held}}, false},
		{"an overlap of which it is not to be believed when it began", list{next, held}, Record{Overlap: timers(held, Surplus, 90*time.Minute)}, "", Decision{Holds: list{next}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, led := ServiceName{"default", "web"}, noon.Add(-time.Hour)
			if c.record.Pools == nil {
				c.record.Pools = from("home", c.holds...)
			}
			if c.record.Written.IsZero() {
				c.record.Written = led
			}
			other := func(name, namespace string, a netip.Addr) Service {
				return Service{
					Name: ServiceName{namespace, name}, Families: []Family{IPv4}, Holds: list{a}, Annotations: map[string]string{PrefixMetalLB + AnnotationShare: "k"},
					Ports: []Port{{"TCP", 443}}, Record: Record{Share: shareOf("k"), Ports: []Port{{"TCP", 443}}, Written: led, Pools: from("home", a)},
				}
			}
			s := NewSnapshot(Facts{
				Settings: Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second, LedSince: led},
				Pools: []Pool{
					{Name: "home", Addresses: []string{"10.0.0.0/29", "127.0.0.0/8"}, AutoAssign: true}, {Name: "lab", Addresses: []string{"10.1.0.0/29"}},
					{Name: "few", Addresses: []string{"10.2.0.0/29"}, MaxPerNamespace: 1}, {Name: "open", Addresses: []string{"10.3.0.0/29"}, AcrossNamespaces: true},
				},
				Nodes: []Node{{Name: "n1", InUse: list{ip("10.0.0.4")}}},
				InUse: []InUse{{"other", ServiceName{"default", "other"}, list{ip("10.0.0.5")}}, {"own", n, list{ip("10.0.0.6")}}},
				Services: []Service{
					{
						Name: n, Families: []Family{IPv4}, Holds: c.holds, Record: c.record, Ports: []Port{{"TCP", 80}},
						Annotations: map[string]string{PrefixMetalLB + AnnotationPool: c.pool, PrefixMetalLB + AnnotationShare: "k"},
					},
					{Name: ServiceName{"default", "other"}, Families: []Family{IPv4}, Holds: list{ip("10.0.0.3")}},
					other("few", "default", ip("10.2.0.1")), other("stranger", "else", ip("10.0.0.7")), other("friend", "else", ip("10.3.0.1")),
				},
			})
			c.after.Service = n
			if err := Check(s, c.after, noon); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
