package controller

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// What is proof that a belief is wrong, and what is not.
func TestWhatProvesThatTheStorageWentBack(t *testing.T) {
	list := func(versions ...string) (out []any) {
		for i, v := range versions {
			out = append(out, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i), ResourceVersion: v}})
		}
		return out
	}
	for what, c := range map[string]struct {
		asked    asked
		during   string // what is seen of n0 while the list is on its way
		objects  []any
		version  string
		proof    bool
		believed string // of n0 in the end
	}{
		"a newer list":                                    {asked{true, "20", 0}, "", list("25"), "30", false, "25"},
		"an older one that may be cached":                 {asked{false, "20", 0}, "", list("5"), "10", false, "15"},
		"an older one, by a quorum":                       {asked{true, "20", 0}, "", list("5"), "10", true, "5"},
		"one that has no object any more":                 {asked{true, "20", 0}, "", list(), "10", true, ""},
		"one that was overtaken":                          {asked{true, "20", 0}, "40", list("15"), "30", false, "40"},
		"one asked for before all was forgotten":          {asked{true, "90", 1}, "", list("5"), "10", false, "15"},
		"a newer list with an older object, from a cache": {asked{false, "20", 0}, "", list("7"), "30", true, "7"},
		"versions that cannot be compared":                {asked{true, "20", 0}, "", list("b"), "a", false, "b"},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBelief(options{})
			store := keepOf(b, b.namespaces, func(in *corev1.Namespace) (allocator.Namespace, bool) { return namespaceFact(in), true })
			if err := store.Replace(list("15"), "20"); err != nil {
				t.Fatal(err)
			}
			r := newRollback(quiet)
			g := r.guard("namespaces", nil, store)
			proven := r.proven()
			if c.during != "" {
				store.Update(list(c.during)[0])
			}
			if _, err := g.take(c.objects, c.version, c.asked, false); err != nil {
				t.Fatal(err)
			}
			proof := false
			select {
			case <-proven:
				proof = true
			default:
			}
			if got := b.namespaces.items[name{Name: "n0"}].version; proof != c.proof || got != c.believed {
				t.Errorf("proof: %t; n0 is believed as of %q", proof, got)
			}
		})
	}
}

// A watch that ends by its own timeout costs no read; one that breaks costs a read of
// one object of its kind, and no list of all.
func TestWatchesCostNoListAndFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI()
		api.apply(t, manifest+serviceManifest("a", "node1"))
		c := start(t, api, "node1")
		defer c.stop()
		time.Sleep(10 * time.Second) // no watch ends by itself within the first five minutes
		api.forget()
		api.breakWatches()
		time.Sleep(time.Minute)
		if n := api.requests("probe"); n["services"] != 1 || n["endpointslices"] != 1 || n["secrets"] != 2 || len(n) != 12 {
			t.Errorf("reads after the API server was started anew: %v", n)
		}
		if n := api.requests("list"); len(n) > 0 {
			t.Errorf("lists after the API server was started anew: %v", n)
		}
		if n := api.requests("watch"); n["services"] != 1 {
			t.Errorf("watches: %v", n)
		}
		api.forget()
		time.Sleep(time.Hour)
		if n := api.requests("watch"); n["services"] < 5 {
			t.Errorf("watches within an hour: %v", n)
		}
		if n := api.requests("probe"); len(n) > 0 {
			t.Errorf("reads within an hour: %v", n)
		}
		if c.logged(saidBack) > 0 {
			t.Error(c.log())
		}
	})
}

// A conflict that no watch explains is a reason to read the kind, and no more: the
// watch was deaf, and nothing has gone back.
func TestConflictThatNoWatchExplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI()
		api.apply(t, manifest+serviceManifest("a", "node1"))
		c := start(t, api, "node1")
		defer c.stop()
		says := func(text string) func() bool {
			return func() bool { return strings.Contains(string(encode(api.get("services/default/a"))), text) }
		}
		within(t, 5*time.Second, "an address", says(`"ip":"192.0.2.0"`))
		time.Sleep(10 * time.Second) // what is said of the announcement, too
		api.hold("services")
		api.apply(t, strings.Split(serviceManifest("a", "node1"), "---")[0]) // another version
		api.remove("endpointslices/default/a-1")
		within(t, 6*time.Second, "that it has no endpoints", says(`"reason":"NoEndpoints"`))
		if c.logged(saidBack) > 0 {
			t.Error(c.log())
		}
	})
}
