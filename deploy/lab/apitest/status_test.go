package apitest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

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

// A Service says who announces it, by the word of who does: not at once when nobody
// does, and never that somebody does who is dead.
func TestAlwaysSaysWhoAnnounces(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.10/32")+advertisement+fmt.Sprintf(node, "node1")+fmt.Sprintf(node, "node2")+service("a", "")+fmt.Sprintf(slice, "a"))
	one, two := s.run(t, "node1"), s.run(t, "node2")
	says := func(status, text string) {
		t.Helper()
		eventually(t, text, func() bool {
			var o corev1.Service
			if err := json.Unmarshal([]byte(s.shown(t, "default", "services/a")), &o); err != nil {
				t.Fatal(err)
			}
			for _, c := range o.Status.Conditions {
				if c.Type == "holdfast.dev/Announced" && string(c.Status) == status && strings.Contains(c.Message, text) {
					return true
				}
			}
			return false
		})
	}
	says("False", "192.0.2.10 is announced by nobody, though it may be by node1, node2 (layer 2)")
	a := servicesNamed("a")[0]
	both := []string{"node1", "node2", "node3"}
	one.announce(map[allocator.ServiceName][]string{a: {"eth0"}}, both...)
	says("True", "192.0.2.10 is announced by node1 (layer 2)")
	two.announce(nil, both...)
	two.advertise(map[allocator.ServiceName][]string{a: {"r1"}})
	says("True", "192.0.2.10 is announced by node1 (layer 2) and by BGP from node2")
	two.advertise(nil)
	says("True", "192.0.2.10 is announced by node1 (layer 2)")
	// The machine of node1 is off: its object stays, and nobody may take its word.
	one.stop()
	two.announce(nil, "node2", "node3")
	says("False", "192.0.2.10 is announced by nobody")
}
