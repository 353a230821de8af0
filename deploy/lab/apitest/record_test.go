package apitest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// sharer is a Service that shares under the key k.
func sharer(name, ports string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default, annotations: {metallb.io/allow-shared-ip: k}}
spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, selector: {app: a}, ports: [%s]}
---
`, name, ports)
}

// crowd runs a copy and has the Services share the only address there is, who comes
// first first.
func (s *Server) crowd(t *testing.T, manifests map[string]string, names ...string) {
	t.Helper()
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.10/32")+advertisement+fmt.Sprintf(node, "node1"))
	s.run(t, "node1")
	for _, n := range names {
		s.Apply(t, manifests[n])
		eventually(t, n+" has its address", func() bool { return s.address(t, n) == "192.0.2.10" })
	}
}

// merge does what the administrator may and a tenant may not where sub is status.
func (s *Server) merge(t *testing.T, service, sub string, change any) error {
	t.Helper()
	body, err := json.Marshal(change)
	if err != nil {
		t.Fatal(err)
	}
	var subs []string
	if sub != "" {
		subs = []string{sub}
	}
	_, err = s.API.CoreV1().Services("default").Patch(t.Context(), service, types.MergePatchType, body, metav1.PatchOptions{}, subs...)
	return err
}

// keeps waits until one has left and tells if the other ever was without its address.
func (s *Server) keeps(t *testing.T, victim, leaves string, edit func()) {
	t.Helper()
	tape := s.record(t)
	edit()
	eventually(t, leaves+" leaves", func() bool { return s.address(t, leaves) == "" })
	if s.address(t, victim) != "192.0.2.10" || strings.Contains(fmt.Sprint(tape.of(victim)), "[]") {
		t.Errorf("%s holds %q, after %v", victim, s.address(t, victim), tape.of(victim))
	}
}

// A manifest that is replaced takes the record of nothing: who adds the port of another
// one leaves, though it is older.
func TestReplacedManifestThrowsNobodyOut(t *testing.T) {
	s := Start(t)
	s.crowd(t, map[string]string{"older": sharer("older", "{name: a, port: 80}"), "victim": sharer("victim", "{name: a, port: 443}")}, "older", "victim")
	s.keeps(t, "victim", "older", func() {
		if out, err := s.Try(sharer("older", "{name: a, port: 80}, {name: b, port: 443}"), "replace", "-f", "-"); err != nil {
			t.Fatal(out, err)
		}
	})
}

// Annotations that are full keep nobody from being written.
func TestFullAnnotationsKeepNoPort(t *testing.T) {
	s := Start(t)
	s.crowd(t, map[string]string{"victim": sharer("victim", "{name: a, port: 443}"), "x": sharer("x", "{name: a, port: 80}")}, "victim", "x")
	v, err := s.API.CoreV1().Services("default").Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const most = 256 << 10 // bytes of names and values, by the API's own rules
	room := most - len("fill")
	for k, a := range v.Annotations {
		room -= len(k) + len(a)
	}
	s.keeps(t, "victim", "x", func() {
		if err := s.merge(t, "x", "", map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{"fill": strings.Repeat("x", room)}},
			"spec":     map[string]any{"ports": []map[string]any{{"name": "a", "port": 80}, {"name": "b", "port": 443}}},
		}); err != nil {
			t.Fatal(err)
		}
	})
	// And one that is full from the beginning is given an address, without our annotation.
	full := map[string]any{"apiVersion": "v1", "kind": "Service", "spec": map[string]any{"type": "LoadBalancer", "ports": []map[string]any{{"port": 81}}},
		"metadata": map[string]any{"name": "full", "namespace": "default", "annotations": map[string]any{
			"metallb.io/allow-shared-ip": "k", "fill": strings.Repeat("x", most-len("fill")-len("metallb.io/allow-shared-ip")-1)}}}
	body, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.Try(string(body), "create", "-f", "-"); err != nil {
		t.Fatal(out, err)
	}
	eventually(t, "full has its address", func() bool { return s.address(t, "full") == "192.0.2.10" })
}

// A Service of thousands of ports is written, and so is who clashes with it.
func TestServiceOfThousandsOfPortsIsWritten(t *testing.T) {
	s := Start(t)
	ports := func(from, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "{name: p%d, port: %d},", i, from+2*i)
		}
		return b.String()
	}
	s.crowd(t, map[string]string{"victim": sharer("victim", ports(1000, 7900)), "x": sharer("x", "{name: a, port: 80}")}, "victim", "x")
	s.keeps(t, "victim", "x", func() { s.Apply(t, sharer("x", ports(1000, 7900))) })
}

// Times that somebody writes into the annotation of earlier versions are nobody's word.
func TestForgedAnnotationKeepsNothing(t *testing.T) {
	s := Start(t)
	s.crowd(t, map[string]string{"a": sharer("a", "{name: a, port: 80}")}, "a")
	const forged = `{"pools":[{"addr":"192.0.2.10","pool":"p"}],"settling":[{"addr":"192.0.2.10","code":"PoolLost","since":"2099-01-01T00:00:00Z"}]}`
	forge := func() {
		if err := s.merge(t, "a", "", map[string]any{"metadata": map[string]any{"annotations": map[string]any{"holdfast.dev/hold": forged}}}); err != nil {
			t.Fatal(err)
		}
	}
	forge()
	s.remove(t, "holdfast-system", "ipaddresspools/p")
	forge()
	eventually(t, "the address of the pool that is gone is given up", func() bool { return s.address(t, "a") == "" })
}

// What others write into the status is put right, and an address that it lost comes back
// though a lower one is free.
func TestStatusThatOthersWriteIsPutRight(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+advertisement+fmt.Sprintf(node, "node1")+service("lower", ""))
	s.run(t, "node1")
	eventually(t, "lower", func() bool { return s.address(t, "lower") == "192.0.2.0" })
	s.Apply(t, service("a", ""))
	eventually(t, "a", func() bool { return s.address(t, "a") == "192.0.2.1" })
	s.remove(t, "default", "services/lower")
	right := func(what string) {
		t.Helper()
		eventually(t, what+" is put right", func() bool {
			v, err := s.API.CoreV1().Services("default").Get(t.Context(), "a", metav1.GetOptions{})
			if err != nil || len(v.Status.LoadBalancer.Ingress) != 1 {
				return false
			}
			i := v.Status.LoadBalancer.Ingress[0]
			return i.IP == "192.0.2.1" && i.Hostname == "" && len(i.Ports) == 0 && i.IPMode != nil && *i.IPMode == "VIP" && len(v.Status.Conditions) > 1
		})
	}
	right("nothing")
	for _, status := range []string{
		`{"loadBalancer":{"ingress":null}}`,
		`{"loadBalancer":{"ingress":[{"ip":"198.51.100.7"}]}}`,
		`{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"},{"hostname":"a.example"}]}}`,
		`{"loadBalancer":{"ingress":[{"ip":"192.0.2.1","ipMode":"Proxy"}]}}`,
		`{"conditions":[]}`,
	} {
		if err := s.merge(t, "a", "status", map[string]any{"status": json.RawMessage(status)}); err != nil {
			t.Fatal(err)
		}
		right(status)
	}
}
