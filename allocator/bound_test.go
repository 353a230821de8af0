package allocator_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// What a user writes costs others no more than its first words, whatever its size.
func TestNeverRepeatsLongTexts(t *testing.T) {
	long := strings.Repeat("\x01é", 100_000)
	w := newWorld(rightPlanner, Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second})
	w.change(PutPool{Pool{Name: "p", Addresses: []string{"10.0.0.1/32"}, AutoAssign: true}}, PutAdvertisement{Advertisement{Name: "a"}}, PutNode{Node{Name: "n"}})
	put := func(name string, port uint16, annotations map[string]string, spec string, holds ...netip.Addr) {
		n := ServiceName{"default", name}
		w.change(PutService{Service{
			Name: n, UID: name, Created: noon, Families: []Family{IPv4}, Ports: []Port{{"TCP", port}}, Annotations: annotations, LoadBalancerIP: spec, Holds: holds,
		}}, PutEndpoints{Endpoints{n, "e", []NodeEndpoints{{"n", 1, 0}}}})
	}
	ip := netip.MustParseAddr("10.0.0.1")
	put("first", 1, map[string]string{PrefixMetalLB + AnnotationShare: long, AnnotationAnnounceAs: long}, "", ip)
	put("sharer", 2, map[string]string{PrefixMetalLB + AnnotationShare: long + "x"}, "", ip)
	put("same", 3, map[string]string{PrefixMetalLB + AnnotationShare: long}, "")
	for name, a := range map[string]string{"addresses": AnnotationAddresses, "pool": AnnotationPool} {
		put(name, 4, map[string]string{PrefixMetalLB + a: long}, "")
		put("old "+name, 4, map[string]string{PrefixMetalLBOld + a: long}, "")
		put(name+" held", 5, map[string]string{PrefixMetalLB + a: long, PrefixMetalLB + AnnotationShare: long}, "", ip)
	}
	put("spec", 6, nil, long)
	put("names", 7, map[string]string{PrefixMetalLB + AnnotationShare: long, PrefixMetalLB + AnnotationAddresses: "10.0.0.1"}, "")
	for range 3 {
		w.writeAll()
		w.now = w.now.Add(31 * time.Second)
	}
	count := 0
	for n, d := range w.latest {
		for _, r := range slices.Concat(d.Reasons, d.Steps, w.snapshot.Remarks(n)) {
			count++
			if text := r.String(); len(text) > 700 {
				t.Errorf("%s: %d bytes are said: %.200q", n, len(text), text)
			}
		}
		if record := fmt.Sprint(d.Record); len(record) > 1000 {
			t.Errorf("%s: %d bytes are recorded", n, len(record))
		}
	}
	if count < len(w.services) {
		t.Errorf("only %d things are said", count)
	}
}

// Of two long keys that begin and end alike, each is another one.
func TestAlwaysTellsLongKeysApart(t *testing.T) {
	a, b := strings.Repeat("k", 5000)+"a"+strings.Repeat("k", 5000), strings.Repeat("k", 5000)+"b"+strings.Repeat("k", 5000)
	if shareOf(a) == shareOf(b) || shareOf(a) != shareOf(strings.Clone(a)) {
		t.Errorf("%.40q and %.40q are recorded as %q and %q", a, b, shareOf(a), shareOf(b))
	}
}
