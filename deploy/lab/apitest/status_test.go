package apitest

import (
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// Every node says for which Services it answers, says it once, and takes away what a
// dead node says of those that it has taken over.
func TestAlwaysSaysWhoAnswers(t *testing.T) {
	s := Start(t)
	a, b := servicesNamed("a")[0], servicesNamed("b")[0]
	one, two := s.run(t, "node1"), s.run(t, "node2")
	one.announce(map[allocator.ServiceName][]string{a: nil, b: {"eth0", "eth1"}}, "node1", "node2")
	two.announce(map[allocator.ServiceName][]string{a: nil}, "node1", "node2") // one of its two addresses
	seen := func(what, want string) {
		t.Helper()
		eventually(t, what, s.statuses(t, "servicel2statuses", nil, want))
	}
	seen("both say it", "node1 a\nnode1 b eth0 eth1\nnode2 a")
	if labels := s.Kubectl(t, "get", "-n", "holdfast-system", "servicel2statuses", "-o", "yaml", "-l", "metallb.io/node=node2"); !strings.Contains(labels, "metallb.io/service-name: a") ||
		!strings.Contains(labels, "uid: uid-node2") || !strings.Contains(labels, "serviceNamespace: default") {
		t.Errorf("the object of node2: %s", labels)
	}

	one.announce(map[allocator.ServiceName][]string{a: nil, b: nil}, "node1", "node2")
	seen("no limit any more", "node1 a\nnode1 b\nnode2 a")
	one.announce(map[allocator.ServiceName][]string{a: nil, b: {"eth0", "eth1"}}, "node1", "node2")
	one.advertise(map[allocator.ServiceName][]string{a: {"r1", "r2"}})
	two.advertise(map[allocator.ServiceName][]string{a: {"r1"}, b: {"r1"}})
	eventually(t, "both say what they advertise", s.statuses(t, "servicebgpstatuses", nil, "node1 a r1 r2\nnode2 a r1\nnode2 b r1"))
	two.advertise(map[allocator.ServiceName][]string{a: nil})
	eventually(t, "less is advertised", s.statuses(t, "servicebgpstatuses", nil, "node1 a r1 r2\nnode2 a"))
	seen("limits again", "node1 a\nnode1 b eth0 eth1\nnode2 a")

	before := len(s.requests(t, 0))
	for range 5 {
		one.Announcing()
		one.Advertising()
		two.Announcing()
	}
	time.Sleep(time.Second)
	for _, r := range s.requests(t, before) {
		if r.ObjectRef.Resource == "servicel2statuses" || r.ObjectRef.Resource == "servicebgpstatuses" {
			t.Errorf("nothing changed, and somebody asked for %s", r)
		}
	}

	one.stop() // and is out of sight: node2 takes a over wholly, and b
	two.announce(map[allocator.ServiceName][]string{a: nil, b: {"eth0"}}, "node2")
	seen("the dead node's words are gone", "node2 a\nnode2 b eth0")
}
