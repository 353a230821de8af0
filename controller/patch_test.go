package controller

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// none is the condition of a Service of which nothing is said about who announces it.
var none = metav1.Condition{Type: conditionAnnounced}

func held(addr string) *allocator.Decision {
	a := netip.MustParseAddr(addr)
	return &allocator.Decision{
		Holds: []netip.Addr{a}, Pool: "p",
		Record: allocator.Record{
			Written: noon.Add(time.Second / 2), Share: "k", Ports: []allocator.Port{{Protocol: "TCP", Number: 80}, {Protocol: "TCP", Number: 443}},
			Pools: []allocator.PoolMark{{Addr: a, Pool: "p", Since: noon}},
		},
		Reasons: []allocator.Reason{{Code: allocator.Held, Addr: a, Pool: "p"}},
		Steps:   []allocator.Reason{{Code: allocator.Given, Addr: a, Pool: "p"}},
	}
}

func text(t testing.TB, p patch) string {
	t.Helper()
	out, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// difference is the patch for what is published on a Service.
func difference(t *testing.T, in *corev1.Service, d *allocator.Decision, announced metav1.Condition, now time.Time) (patch, bool) {
	t.Helper()
	p, conditionsOnly, err := servicePatch(serviceOf(in, ""), d, announced, now)
	if err != nil {
		t.Fatal(err)
	}
	return p, conditionsOnly
}

// apply does to a Service what the API does with a merge patch of its status.
func apply(t testing.TB, in *corev1.Service, p patch) *corev1.Service {
	t.Helper()
	out := in.DeepCopy()
	var body struct {
		Metadata struct{ Annotations map[string]*string }
		Status   map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(text(t, p)), &body); err != nil {
		t.Fatal(err)
	}
	for k, v := range body.Metadata.Annotations {
		if v == nil {
			delete(out.Annotations, k)
			continue
		}
		if out.Annotations == nil {
			out.Annotations = map[string]string{}
		}
		out.Annotations[k] = *v
	}
	if c, ok := body.Status["conditions"]; ok {
		out.Status.Conditions = nil
		if err := json.Unmarshal(c, &out.Status.Conditions); err != nil {
			t.Fatal(err)
		}
	}
	if l, ok := body.Status["loadBalancer"]; ok {
		out.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		if err := json.Unmarshal(l, &out.Status.LoadBalancer); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Invariant 5: all in one write, and none when nothing differs.
func TestPatchIsTheWholeDifferenceOnce(t *testing.T) {
	in := from[corev1.Service](t, `
metadata: {name: a, namespace: n, resourceVersion: "5", annotations: {holdfast.dev/hold: "{}", metallb.universe.tf/ip-allocated-from-pool: q}}
spec: {type: LoadBalancer, clusterIP: 10.0.0.1}
status:
  conditions: [{type: theirs, status: "True", reason: R, message: m, lastTransitionTime: "2026-01-01T00:00:00Z"}]
  loadBalancer: {ingress: [{hostname: old.example}]}
`)
	d := held("192.0.2.1")
	p, conditionsOnly := difference(t, in, d, none, noon)
	if conditionsOnly {
		t.Error("an address was written, too")
	}
	const want = `{"metadata":{"resourceVersion":"5","annotations":{"holdfast.dev/hold":null,"metallb.io/ip-allocated-from-pool":"p","metallb.universe.tf/ip-allocated-from-pool":null}},` +
		`"status":{"conditions":[{"type":"theirs","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"R","message":"m"},` +
		`{"type":"holdfast.dev/AddressHeld","status":"True","lastTransitionTime":"2026-01-02T12:00:00Z","reason":"Held","message":"holds 192.0.2.1 from pool p"},` +
		`{"type":"holdfast.dev/Record","status":"True","lastTransitionTime":"2026-01-02T12:00:00Z","reason":"Recorded",` +
		`"message":"{\"written\":\"2026-01-02T12:00:00.5Z\",\"share\":\"k\",\"ports\":\"TCP/80,443\",\"pools\":[{\"addr\":\"192.0.2.1\",\"pool\":\"p\",\"since\":\"2026-01-02T12:00:00Z\"}]}"}],` +
		`"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`
	if got := text(t, p); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	in = apply(t, in, p)
	p, conditionsOnly = difference(t, in, d, announcedCondition(nil, nil), noon.Add(time.Hour))
	if len(p.Status) != 1 || !conditionsOnly {
		t.Errorf("after it was written: %s", text(t, p))
	}
	in = apply(t, in, p)
	if p, _ = difference(t, in, d, announcedCondition(nil, nil), noon.Add(2*time.Hour)); !p.empty() {
		t.Errorf("nothing differs: %s", text(t, p))
	}
	// Nothing held any more: the fields go.
	p, _ = difference(t, in, &allocator.Decision{Reasons: []allocator.Reason{{Code: allocator.NoPool, Detail: "waits"}}}, announcedCondition(nil, nil), noon)
	in = apply(t, in, p)
	if len(in.Annotations) != 0 || len(in.Status.LoadBalancer.Ingress) != 0 || len(in.Status.Conditions) != 3 {
		t.Errorf("after all was taken: %+v %+v", in.Annotations, in.Status)
	}
	p, _ = difference(t, in, &allocator.Decision{Reasons: []allocator.Reason{{Code: allocator.NoPool, Detail: "waits"}}}, none, noon)
	if in = apply(t, in, p); conditionOf(in.Status.Conditions, conditionAnnounced) != nil {
		t.Error("who holds nothing says nothing of announcing")
	}
}

func TestFarewellTakesOurMarksOnly(t *testing.T) {
	in := from[corev1.Service](t, fullService)
	d := held("192.0.2.1")
	p, _ := difference(t, in, d, none, noon)
	in = apply(t, in, p)
	in.Status.Conditions = append(in.Status.Conditions, metav1.Condition{Type: "theirs"})
	in.Spec.Type = corev1.ServiceTypeClusterIP
	in = apply(t, in, farewellPatch(serviceOf(in, "")))
	if serviceOf(in, "") != nil || len(in.Status.Conditions) != 1 || in.Annotations[fromPoolAnnotation] != "" || in.Annotations["unrelated"] == "" {
		t.Errorf("left: %+v %+v", in.Annotations, in.Status.Conditions)
	}
}

// Events come with what changes, and not again when a new leader finds it so.
func TestEventsAreNewsOnly(t *testing.T) {
	in := from[corev1.Service](t, "metadata: {name: a, namespace: n, resourceVersion: '5'}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1}")
	full := &allocator.Decision{Reasons: []allocator.Reason{{Code: allocator.PoolFull, Detail: "waits for an address"}}}
	steps := []struct {
		d    *allocator.Decision
		want []saying
	}{
		{full, []saying{{true, eventFailed, "waits for an address"}}},
		{full, nil},
		{held("192.0.2.1"), []saying{{false, eventAllocated, `Assigned IP ["192.0.2.1"]: is given 192.0.2.1 from pool p`}}},
	}
	for i, s := range steps {
		view := serviceOf(in, "")
		got := sayings(view, s.d, nil)
		if len(got) != len(s.want) || len(got) > 0 && got[0] != s.want[0] {
			t.Errorf("step %d: %+v, want %+v", i, got, s.want)
		}
		p, _ := difference(t, in, s.d, none, noon)
		in = apply(t, in, p)
	}
	unserved := []allocator.Reason{{Code: allocator.NoEndpoints}, {Code: allocator.NoNode}}
	still := held("192.0.2.1")
	still.Steps = nil
	view := serviceOf(in, "")
	if got := sayings(view, still, unserved); len(got) != 1 || got[0].reason != eventUnserved {
		t.Errorf("not announced: %+v", got)
	}
	p, _ := difference(t, in, still, announcedCondition(unserved, nil), noon)
	in = apply(t, in, p)
	if got := sayings(serviceOf(in, ""), still, unserved); len(got) != 0 {
		t.Errorf("said again: %+v", got)
	}
}

func TestPoolStatusIsWrittenOnce(t *testing.T) {
	in := from[v1beta1.IPAddressPool](t, "metadata: {name: p, generation: 2, resourceVersion: '5'}\nspec: {addresses: [192.0.2.0/24]}")
	o, _ := poolOf(in)
	use := allocator.Use{Available4: 256}
	poolPatch := func(use allocator.Use, now time.Time) patch {
		p := configPatch(&o.object, o.status.Conditions, acceptedCondition(&o.object, nil, nil), now)
		p.count(o, use)
		return p
	}
	p := poolPatch(use, noon)
	const want = `{"metadata":{"resourceVersion":"5"},"status":{"assignedIPv4":0,"assignedIPv6":0,"availableIPv4":256,"availableIPv6":0,` +
		`"conditions":[{"type":"Accepted","status":"True","observedGeneration":2,"lastTransitionTime":"2026-01-02T12:00:00Z","reason":"Accepted","message":"in use as it stands"}]}}`
	if got := text(t, p); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	status, _ := json.Marshal(p.Status)
	if err := json.Unmarshal(status, &in.Status); err != nil {
		t.Fatal(err)
	}
	o, _ = poolOf(in)
	if p := poolPatch(use, noon.Add(time.Hour)); !p.empty() || !o.fact.Accepted {
		t.Errorf("nothing differs: %s", text(t, p))
	}
	use.Assigned4, use.Available4 = 1, 255
	if got := text(t, poolPatch(use, noon)); got != `{"metadata":{"resourceVersion":"5"},"status":{"assignedIPv4":1,"availableIPv4":255}}` {
		t.Errorf("an address was given: %s", got)
	}
}
