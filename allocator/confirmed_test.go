package allocator_test

import (
	"testing"

	. "holdfast.dev/holdfast/allocator"
)

// TestHolderBeforeANewcomerInFlight: once the first of its addresses is published, a
// Service holds one, and takes its second before a newcomer whose decision is not
// published yet (invariant 10: as a new leader would have it).
func TestHolderBeforeANewcomerInFlight(t *testing.T) {
	w := newWorld(rightPlanner, Settings{})
	both := func(n string, families ...Family) Service {
		return Service{Name: ServiceName{"default", n}, UID: n, Created: noon, Families: families, FamilyPolicy: PreferDualStack, Ports: []Port{{"TCP", 80}}}
	}
	w.change(PutPool{Pool{Name: "p", Addresses: []string{"10.0.0.1/32", "fd00::/64"}, AutoAssign: true}})
	w.change(PutService{both("a", IPv4)}, PutService{both("b", IPv6, IPv4)})
	w.plan()
	w.write(w.latest[ServiceName{"default", "b"}])
	w.plan()
	if err := w.sameAsFromNothing(1); err != nil {
		t.Fatal(err)
	}
}
