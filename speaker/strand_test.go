package speaker

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// An advertisement that names an interface which this node does not have is told,
// once, with the Services that are not announced for it; and the address is
// announced when the interface comes.
func TestAnInterfaceThatIsNotThereIsTold(t *testing.T) {
	addr, name := netip.MustParseAddr("192.0.2.1"), allocator.ServiceName{Namespace: "default", Name: "a"}
	now := time.UnixMilli(0)
	c := newCore("n1", 1, Times{})
	c.know([]string{"n1"})
	c.place(now, allocator.Placement{Seats: []allocator.Seat{{
		Addr: addr, Services: []allocator.ServiceName{name},
		Layer2: []allocator.Candidate{{Node: "n1", Interfaces: []string{"eth7"}}},
	}}})
	var told []note
	run := func(after time.Duration, on bool) {
		now = now.Add(after)
		c.reach(now, map[netip.Addr]bool{addr: on})
		told = append(told, c.decide(now).notes...)
	}
	for range 10 {
		run(time.Second, false)
	}
	if len(told) != 1 || told[0].kind != Stranded || !slices.Equal(told[0].services, []allocator.ServiceName{name}) || !slices.Equal(told[0].interfaces, []string{"eth7"}) {
		t.Fatalf("told %+v", told)
	}
	told = nil
	run(time.Second, true)
	if len(told) != 1 || told[0].kind != Announced {
		t.Errorf("told %+v", told)
	}
}
