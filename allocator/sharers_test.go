package allocator_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// sharers are two Services on the only address of a pool.
func sharers(t *testing.T) (w *world, web, dns ServiceName) {
	web, dns = ServiceName{"default", "web"}, ServiceName{"default", "dns"}
	w = newWorld(rightPlanner, Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second})
	w.change(PutPool{Pool{Name: "home", Addresses: []string{"10.0.0.1/32"}, AutoAssign: true}})
	for i, n := range []ServiceName{web, dns} {
		w.change(PutService{Service{
			Name: n, UID: n.Name, Created: noon.Add(time.Duration(i) * time.Minute), Families: []Family{IPv4},
			Ports: allPorts[i : i+1], Selector: "app=a", Annotations: map[string]string{PrefixMetalLB + AnnotationShare: "k"},
		}})
	}
	if err := w.rest(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	onOne(t, w)
	return w, web, dns
}

func onOne(t *testing.T, w *world) {
	t.Helper()
	for n, v := range w.services {
		if !slices.Equal(v.Holds, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
			t.Fatalf("%s holds %v\n%s", n, v.Holds, w.published())
		}
	}
}

// The two halves of a change that costs an address when one Service is treated at
// a time (the bug that made this project): in every order, Plan moves nobody, and
// the wrong planner's first step is refused by Check and seen by the oracle.
func TestNeverLosesASharedAddressToTheFirstHalfOfAChange(t *testing.T) {
	for name, edit := range map[string]func(*Service){
		"re-key":                func(v *Service) { v.Annotations = map[string]string{PrefixMetalLB + AnnotationShare: "l"} },
		"flip Cluster to Local": func(v *Service) { v.Local, v.HealthPort = true, 30000 },
	} {
		for _, first := range []int{0, 1} {
			t.Run(name, func(t *testing.T) {
				w, web, dns := sharers(t)
				order := []ServiceName{web, dns}
				if first == 1 {
					slices.Reverse(order)
				}
				for i, n := range order {
					v := w.services[n]
					edit(&v)
					w.change(PutService{v})
					if i == 0 {
						mustBeSeen(t, w)
					}
					w.writeAll()
					onOne(t, w)
					w.now = w.now.Add(3 * time.Second)
				}
				if err := w.rest(func() error { onOne(t, w); return nil }); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// mustBeSeen lets the wrong planner decide, and nobody write.
func mustBeSeen(t *testing.T, w *world) {
	t.Helper()
	wrong := *w
	wrong.planner, wrong.latest = oneAtATime, map[ServiceName]Decision{}
	wrong.plan()
	if len(wrong.pending()) == 0 {
		t.Fatal("the wrong planner does nothing")
	}
	for what, look := range map[string]func(*world) error{"Check": agreed, "the oracle": justified} {
		if err := look(&wrong); err == nil {
			t.Errorf("%s does not see %+v", what, wrong.pending())
		}
	}
}
