package controller

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"holdfast.dev/holdfast/allocator"
)

// usedBy is what a belief has to say of who uses addresses.
func usedBy(b *belief) (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for by, u := range b.inUse {
		out = append(out, fmt.Sprint(by, " ", u.Addrs))
	}
	slices.Sort(out)
	return out
}

func TestKnowsWhoUsesAddressesBesideServices(t *testing.T) {
	b := newBelief(options{})
	services := keepOf(b, b.services, func(in *corev1.Service) (*service, bool) { s := serviceOf(in, ""); return s, s != nil })
	endpoints := sliceKeeping{b}
	feed := b.subscribe(false)
	feed.take()
	expect := func(when string, want ...string) {
		t.Helper()
		if got := usedBy(b); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		b.mu.Lock()
		facts := b.facts()
		b.mu.Unlock()
		if len(facts.InUse) != len(want) {
			t.Errorf("%s: %d facts, want %d", when, len(facts.InUse), len(want))
		}
	}
	put := func(version, kind, ips string) {
		t.Helper()
		in := from[corev1.Service](t, "metadata: {name: s, namespace: ns, resourceVersion: '"+version+"'}\nspec: {type: "+kind+", externalIPs: ["+ips+"]}")
		if err := services.Update(in); err != nil {
			t.Fatal(err)
		}
	}
	put("1", "ClusterIP", "192.0.2.1, nonsense")
	expect("a Service of another type", "spec.externalIPs of Service ns/s [192.0.2.1]")
	put("2", "LoadBalancer", `192.0.2.1, "2001:db8::1"`)
	expect("one of ours", "spec.externalIPs of Service ns/s [192.0.2.1 2001:db8::1]")
	put("3", "LoadBalancer", "")
	expect("no more")
	slice := from[discoveryv1.EndpointSlice](t, "metadata: {name: kubernetes, namespace: default, resourceVersion: '4', labels: {kubernetes.io/service-name: kubernetes}}\n"+
		"addressType: IPv4\nendpoints: [{addresses: [192.0.2.8]}, {addresses: [192.0.2.7]}]")
	forged := from[discoveryv1.EndpointSlice](t, "metadata: {name: mine, namespace: default, resourceVersion: '5', labels: {kubernetes.io/service-name: kubernetes}}\n"+
		"addressType: IPv4\nendpoints: [{addresses: [192.0.2.9]}]")
	for _, s := range []*discoveryv1.EndpointSlice{slice, forged} {
		if err := endpoints.Update(s); err != nil {
			t.Fatal(err)
		}
	}
	expect("API servers", "the API server [192.0.2.7 192.0.2.8]")
	if err := endpoints.Replace(nil, "3"); err != nil {
		t.Fatal(err)
	}
	expect("an older list, from a copy of the API that lags", "the API server [192.0.2.7 192.0.2.8]")
	if err := endpoints.Replace(nil, "9"); err != nil {
		t.Fatal(err)
	}
	expect("none listed")
	if changes, _ := feed.take(); !slices.ContainsFunc(changes.facts, func(c allocator.Change) bool { return c == allocator.Change(allocator.DropInUse{By: byAPIServer}) }) {
		t.Errorf("who places and plans is told %+v", changes.facts)
	}
	node := nodeFact(from[corev1.Node](t, "metadata: {name: m}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.3}, {type: ExternalIP, address: 198.51.100.3}, {type: Hostname, address: m}]}"), false)
	if fmt.Sprint(node.InUse, node.Addresses) != "[192.0.2.3 198.51.100.3] [192.0.2.3]" {
		t.Errorf("a node has %v, of which peers are found at %v", node.InUse, node.Addresses)
	}
}
