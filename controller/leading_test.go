package controller

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/holdfast/allocator"
)

const othersLease = `
kind: Lease
apiVersion: coordination.k8s.io/v1
metadata: {name: holdfast, namespace: holdfast-system}
spec: {holderIdentity: other, leaseDurationSeconds: 15}
`

// Invariant 4: what the leader before has written last, and no watch has shown yet,
// counts in the first plan.
func TestNeverGivesWhatTheLeaderBeforeHasJustGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI()
		api.apply(t, manifest+othersLease+"---\n"+serviceManifest("a", "node1")+serviceManifest("b", "node1"))
		c := start(t, api, "node1")
		defer c.stop()
		time.Sleep(2 * time.Second)
		api.hold("services")
		api.apply(t, strings.TrimSuffix(strings.Split(serviceManifest("b", "node1"), "---")[0], "\n")+
			"\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.0}]}}\n")
		within(t, 30*time.Second, "a term", func() bool { return c.Stats().Leads })
		for range 500 {
			if got := api.addresses("a"); got != "" && got != "192.0.2.1" {
				t.Fatalf("a was given %s, which b has held for %s", got, "a while")
			}
			time.Sleep(10 * time.Millisecond)
		}
		api.hold("")
		within(t, 5*time.Second, "an address for a", func() bool { return api.addresses("a") == "192.0.2.1" })
		if got := api.addresses("b"); got != "192.0.2.0" {
			t.Errorf("b has %s", got)
		}
	})
}

// Invariant 8: with a plan that takes an address away for no reason, the Service
// keeps the address, it is counted, and said once.
func TestNeverWritesWhatCheckRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI()
		api.apply(t, manifest+serviceManifest("a", "node1")+serviceManifest("b", "node1"))
		var bad atomic.Bool
		c := prepare(t, api, "node1", 0)
		c.plan = func(s *allocator.Snapshot, now time.Time) allocator.Planned {
			p := allocator.Plan(s, now)
			if bad.Load() {
				p.Decisions = []allocator.Decision{{Service: name{Namespace: "default", Name: "a"}}}
			}
			return p
		}
		c.start(t)
		defer c.stop()
		both := func() string { return api.addresses("a") + ", " + api.addresses("b") }
		within(t, 5*time.Second, "addresses", func() bool { return both() == "192.0.2.0, 192.0.2.1" })
		time.Sleep(5 * time.Second)
		bad.Store(true)
		for range 10 {
			api.apply(t, sliceManifest("a", "node2")) // something to plan about
			time.Sleep(500 * time.Millisecond)
			api.apply(t, sliceManifest("a", "node1"))
			time.Sleep(500 * time.Millisecond)
			if both() != "192.0.2.0, 192.0.2.1" {
				t.Fatalf("addresses: %s", both())
			}
		}
		if n, said := c.Stats().Refused, c.logged("a decision was refused"); n != 1 || said != 1 {
			t.Errorf("counted %d times, said %d times", n, said)
		}
	})
}

// The next term of the same copy plans anew, from what is so then: what the last one
// could not write, and what came while nobody led.
func TestNextTermPlansFromWhatIsSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI()
		api.apply(t, manifest+serviceManifest("a", "node1"))
		api.refusing(func(r *http.Request) int {
			if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/services/") {
				return http.StatusInternalServerError
			}
			return 0
		})
		c := start(t, api, "node1")
		defer c.stop()
		within(t, 5*time.Second, "a term", func() bool { return c.Stats().Leads })
		time.Sleep(5 * time.Second)
		api.apply(t, "kind: Namespace\napiVersion: v1\nmetadata: {name: other}\n") // of which no plan of a follows
		time.Sleep(time.Second)
		api.refusing(func(r *http.Request) int { // nothing can be written, the Lease neither
			if r.Method != http.MethodGet {
				return http.StatusInternalServerError
			}
			return 0
		})
		within(t, 15*time.Second, "the end of the term", func() bool { return !c.Stats().Leads })
		if api.addresses("a") != "" {
			t.Fatal("it could be written")
		}
		api.apply(t, serviceManifest("b", "node1")) // while nobody leads
		time.Sleep(20 * time.Second)
		api.refusing(nil)
		within(t, 5*time.Second, "addresses in the next term", func() bool {
			return api.addresses("a") == "192.0.2.0" && api.addresses("b") == "192.0.2.1"
		})
	})
}

// Invariant 4: likewise the addresses of a node that has just come.
func TestNeverGivesTheAddressOfANodeThatHasJustCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI()
		api.apply(t, manifest+othersLease+"---\n"+serviceManifest("a", "node1"))
		c := start(t, api, "node1")
		defer c.stop()
		time.Sleep(2 * time.Second)
		api.hold("nodes")
		api.apply(t, "kind: Node\napiVersion: v1\nmetadata: {name: new}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.0}]}\n")
		within(t, 30*time.Second, "an address", func() bool { return api.addresses("a") != "" })
		if got := api.addresses("a"); got != "192.0.2.1" {
			t.Errorf("a was given %s", got)
		}
		api.hold("")
	})
}
