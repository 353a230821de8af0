package script

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/lab/witness"
)

func TestWhatConditionsSay(t *testing.T) {
	for _, c := range []struct{ claim, want string }{
		{"is says a Announced True", ""},
		{"is says a holdfast.dev/Announced True node1 'layer 2'", ""},
		{"is says a Announced False", `a: condition holdfast.dev/Announced is "True" "Announced" (172.30.0.200 by node1, layer 2), want False`},
		{"is says a Announced True node1 node2", `not a word of "node2"`},
		{"is says a AddressHeld True", `condition holdfast.dev/AddressHeld is "" ""`},
		{"is says a Announced yes", `"yes": want True or False`},
		{"is says a Announced", "want a Service, a type and True or False"},
	} {
		r := testRun(t, c.claim)
		r.history.Add(witness.Service{At: r.begun, Name: "default/a", Conditions: []witness.Condition{
			{Type: "holdfast.dev/Announced", Status: "True", Reason: "Announced", Message: "172.30.0.200 by node1, layer 2"}}})
		failures := r.lines(t.Context())
		if c.want == "" && len(failures) > 0 || c.want != "" && (len(failures) != 1 || !strings.Contains(failures[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.claim, failures, c.want)
		}
	}
}

func TestAStatusIsOverwritten(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	for args, want := range map[string]rewriter{
		"a 192.0.2.1":                  {"a", []netip.Addr{addr}, 1, 30 * time.Second},
		"a 192.0.2.1 times=2 for=5s":   {"a", []netip.Addr{addr}, 2, 5 * time.Second},
		"s/a 192.0.2.1 fd00::1 for=1m": {"s/a", []netip.Addr{addr, netip.MustParseAddr("fd00::1")}, 0, time.Minute},
	} {
		got, err := parseRewriter(strings.Fields(args))
		if err != nil || got.service != want.service || len(got.addrs) != len(want.addrs) || got.most != want.most || got.long != want.long {
			t.Errorf("%s: %+v, %v, want %+v", args, got, err, want)
		}
	}
	for _, args := range []string{"a", "a x", "a 192.0.2.1 times=x", "a 192.0.2.1 for=x", "a 192.0.2.1 often=2"} {
		if _, err := parseRewriter(strings.Fields(args)); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
	// A status that stays as it was written is not written again.
	r := testRun(t, "overwrite a 192.0.2.1 times=1 for=20ms")
	r.history.Add(witness.Service{At: r.begun, Name: "default/a", Addresses: []netip.Addr{addr}})
	if failures := r.lines(t.Context()); len(failures) != 1 || !strings.Contains(failures[0], "stayed as it was written: 0 of 1") {
		t.Errorf("%q", failures)
	}
}

// What a scenario gives a pool by an option, the API has as an annotation; an empty
// one takes it away.
func TestPoolAnnotations(t *testing.T) {
	for args, want := range map[string]string{
		"p 192.0.2.0/24":                        "map[]",
		"p 192.0.2.0/24 across-namespaces=true": "map[holdfast.dev/share-across-namespaces:true]",
		"p 192.0.2.0/24 max-per-namespace=3":    "map[holdfast.dev/max-per-namespace:3]",
		"p 192.0.2.0/24 max-per-namespace=":     "map[]",
	} {
		o, err := poolObject(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(o["metadata"].(object)["annotations"]); got != want {
			t.Errorf("%s: annotations %s, want %s", args, got, want)
		}
	}
}
