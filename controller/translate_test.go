package controller

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// from reads an object as a user would write it.
func from[T any](t *testing.T, text string) *T {
	t.Helper()
	out := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out
}

const fullService = `
metadata:
  name: web
  namespace: shop
  uid: u1
  resourceVersion: "7"
  creationTimestamp: "2026-01-02T03:04:05Z"
  labels: {tier: front}
  annotations:
    metallb.io/allow-shared-ip: k
    metallb.universe.tf/address-pool: p
    unrelated: x
    holdfast.dev/hold: '{"ports":[{"protocol":"TCP","number":443}],"pools":[{"addr":"192.0.2.7","pool":"p"}]}'
    metallb.io/ip-allocated-from-pool: p
spec:
  type: LoadBalancer
  loadBalancerIP: 192.0.2.9
  clusterIPs: [10.0.0.1, "fd00::1"]
  ipFamilyPolicy: PreferDualStack
  externalTrafficPolicy: Local
  healthCheckNodePort: 31000
  selector: {b: "2", a: "1"}
  ports: [{port: 80}, {port: 53, protocol: UDP}]
status:
  loadBalancer: {ingress: [{ip: 192.0.2.1}, {ip: "2001:db8::1"}]}
  conditions:
  - {type: holdfast.dev/AddressHeld, status: "True", reason: Held, message: m, lastTransitionTime: "2026-01-02T03:04:06Z"}
  - type: holdfast.dev/Record
    status: "True"
    reason: Recorded
    message: '{"written":"2026-01-02T03:04:06Z","ports":"TCP/80","settling":[{"addr":"192.0.2.1","code":"PoolLost","since":"2026-01-02T03:05:00Z"}]}'
    lastTransitionTime: "2026-01-02T03:04:06Z"
`

func TestServiceIsTranslatedWhole(t *testing.T) {
	s := serviceOf(from[corev1.Service](t, fullService), "")
	want := allocator.Service{
		Name: name{Namespace: "shop", Name: "web"}, UID: "u1", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Labels:         map[string]string{"tier": "front"},
		Annotations:    map[string]string{"metallb.io/allow-shared-ip": "k", "metallb.universe.tf/address-pool": "p"},
		LoadBalancerIP: "192.0.2.9", FamilyPolicy: allocator.PreferDualStack,
		Families: []allocator.Family{allocator.IPv4, allocator.IPv6},
		Ports:    []allocator.Port{{Protocol: "TCP", Number: 80}, {Protocol: "UDP", Number: 53}},
		Local:    true, Selector: "a=1,b=2", HealthPort: 31000,
		Holds: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Record: allocator.Record{
			Written: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
			Ports:   []allocator.Port{{Protocol: "TCP", Number: 80}},
			Settling: []allocator.Timer{{
				Addr: netip.MustParseAddr("192.0.2.1"), Code: allocator.PoolLost,
				Since: time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC),
			}},
		},
	}
	if !reflect.DeepEqual(*s.fact, want) {
		t.Errorf("got  %+v\nwant %+v", *s.fact, want)
	}
	if s.version != "7" || s.fromPool != "p" || s.odd || !s.recorded || !s.oldRecord || len(s.conditions) != 1 {
		t.Errorf("published: %+v", s)
	}
}

// Trimming takes away nothing that translation reads.
func TestTrimmedServiceTranslatesTheSame(t *testing.T) {
	whole, trimmed := from[corev1.Service](t, fullService), from[corev1.Service](t, fullService)
	trimmed.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	for range 2 {
		if _, err := trim(trimmed); err != nil {
			t.Fatal(err)
		}
	}
	if trimmed.ManagedFields != nil || trimmed.Annotations["unrelated"] != "" {
		t.Error("not trimmed")
	}
	if a, b := serviceOf(whole, ""), serviceOf(trimmed, ""); !reflect.DeepEqual(a, b) {
		t.Errorf("whole   %+v\ntrimmed %+v", a, b)
	}
}

func TestWhoseServiceItIs(t *testing.T) {
	for _, c := range []struct{ spec, status, class, want string }{
		{"type: ClusterIP", "", "", "nothing"},
		{"type: LoadBalancer", "", "", "ours"},
		{"type: LoadBalancer", "", "mine", "nothing"},
		{"type: LoadBalancer, loadBalancerClass: mine", "", "mine", "ours"},
		{"type: LoadBalancer, loadBalancerClass: mine", "", "", "nothing"},
		{"type: LoadBalancer, loadBalancerClass: other", "loadBalancer: {ingress: [{ip: 192.0.2.1}]}", "mine", "foreign"},
		{"type: LoadBalancer", "loadBalancer: {ingress: [{ip: 192.0.2.1}]}", "mine", "foreign"},
		{"type: ClusterIP", "conditions: [{type: holdfast.dev/AddressHeld, status: 'True', reason: Held, message: m, lastTransitionTime: null}]", "", "marked"},
		{"type: ClusterIP", "conditions: [{type: other, status: 'True', reason: Held, message: m, lastTransitionTime: null}]", "", "nothing"},
	} {
		in := from[corev1.Service](t, "spec: {"+c.spec+"}\nstatus: {"+c.status+"}")
		got := "nothing"
		switch s := serviceOf(in, c.class); {
		case s == nil:
		case s.fact == nil:
			got = "marked"
		case s.fact.Foreign:
			got = "foreign"
		default:
			got = "ours"
		}
		if got != c.want {
			t.Errorf("spec {%s} status {%s} class %q: %s, want %s", c.spec, c.status, c.class, got, c.want)
		}
	}
}

func TestEndpointsAreCounted(t *testing.T) {
	in := from[discoveryv1.EndpointSlice](t, `
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: []
endpoints:
- {addresses: [10.1.0.1], nodeName: n2}
- {addresses: [10.1.0.2], nodeName: n1, conditions: {ready: true}}
- {addresses: [10.1.0.3], nodeName: n1, conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.1.0.4], nodeName: n1, conditions: {ready: false, serving: false, terminating: true}}
- {addresses: [10.1.0.5], nodeName: n3, conditions: {ready: false}}
- {addresses: [10.1.0.6], conditions: {ready: true}}
- {addresses: [], nodeName: n1}
`)
	got, of := endpointsFact(in)
	want := allocator.Endpoints{Service: name{Namespace: "shop", Name: "web"}, Slice: "web-1", Nodes: []allocator.NodeEndpoints{
		{Node: "", Ready: 1}, {Node: "n1", Ready: 1, Terminating: 1}, {Node: "n2", Ready: 1},
	}}
	if !of || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, of := endpointsFact(&discoveryv1.EndpointSlice{}); of {
		t.Error("a slice without the label is of a Service")
	}
}

func TestNodeIsTranslated(t *testing.T) {
	in := from[corev1.Node](t, `
metadata: {name: n1, labels: {zone: a, node.kubernetes.io/exclude-from-external-load-balancers: ""}}
status:
  addresses: [{type: InternalIP, address: 10.0.0.1}, {type: Hostname, address: n1}, {type: InternalIP, address: "fd00::1"}]
  conditions: [{type: Ready, status: "False"}, {type: NetworkUnavailable, status: "True"}]
`)
	got := nodeFact(in, false)
	want := allocator.Node{
		Name: "n1", Labels: in.Labels, Excluded: true, Unreachable: true,
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
	}
	want.InUse = want.Addresses
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if nodeFact(in, true).Excluded {
		t.Error("the label was to be ignored")
	}
}

func TestPoolIsTranslatedWhole(t *testing.T) {
	in := from[v1beta1.IPAddressPool](t, `
metadata: {name: p, generation: 3, labels: {l: v}}
spec:
  addresses: [192.0.2.0/28]
  autoAssign: false
  avoidBuggyIPs: true
  serviceAllocation:
    priority: 5
    namespaces: [shop]
    namespaceSelectors: [{matchLabels: {team: x}}]
    serviceSelectors: [{matchExpressions: [{key: tier, operator: In, values: [front, back]}]}, {}]
status:
  assignedIPv4: 0
  assignedIPv6: 0
  availableIPv4: 0
  availableIPv6: 0
  conditions: [{type: Accepted, status: "True", reason: Accepted, message: "", observedGeneration: 3, lastTransitionTime: null}]
`)
	got, err := poolFact(in)
	want := allocator.Pool{
		Name: "p", Labels: map[string]string{"l": "v"}, Created: in.CreationTimestamp.UTC(), Accepted: true,
		Addresses: []string{"192.0.2.0/28"}, AvoidBuggyIPs: true,
		Allocation: &allocator.Allocation{
			Priority: 5, Namespaces: []string{"shop"},
			NamespaceSelectors: []allocator.Selector{{{Key: "team", Operator: allocator.In, Values: []string{"x"}}}},
			ServiceSelectors:   []allocator.Selector{{{Key: "tier", Operator: allocator.In, Values: []string{"back", "front"}}}, nil},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	in.Generation = 4
	if got, _ := poolFact(in); got.Accepted {
		t.Error("another definition than the accepted one counts as accepted")
	}
}

// Invariant 7: who is refused is told what is wrong, and where.
func TestBadSelectorsAreRefusedByField(t *testing.T) {
	for field, spec := range map[string]string{
		"spec.serviceAllocation.serviceSelectors[1]":   "serviceAllocation: {serviceSelectors: [{}, {matchExpressions: [{key: a, operator: Near}]}]}",
		"spec.serviceAllocation.namespaceSelectors[0]": "serviceAllocation: {namespaceSelectors: [{matchLabels: {'a b': c}}]}",
	} {
		fact, err := poolFact(from[v1beta1.IPAddressPool](t, "metadata: {name: p}\nspec: {addresses: [192.0.2.0/24], "+spec+"}"))
		if err == nil || !strings.HasPrefix(err.Error(), field+": ") || fact.Addresses != nil {
			t.Errorf("%s: %v %v", field, err, fact.Addresses)
		}
	}
	for field, spec := range map[string]string{
		"spec.ipAddressPoolSelectors[0]":            "ipAddressPoolSelectors: [{matchLabels: {a: 'b c'}}]",
		"spec.nodeSelectors[0]":                     "nodeSelectors: [{matchExpressions: [{key: a, operator: In}]}]",
		"spec.serviceSelectors[0]":                  "serviceSelectors: [{matchExpressions: [{key: a, operator: Exists, values: [x]}]}]",
		"spec.preferredNodeSelectors[0].preference": "preferredNodeSelectors: [{weight: 1, preference: {matchLabels: {'': x}}}]",
	} {
		_, err := advertisementFact(from[v1beta1.L2Advertisement](t, "metadata: {name: a}\nspec: {"+spec+"}"))
		if err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestAdvertisementIsTranslatedWhole(t *testing.T) {
	got, err := advertisementFact(from[v1beta1.L2Advertisement](t, `
metadata: {name: a}
spec:
  ipAddressPools: [p]
  interfaces: [eth0]
  nodeSelectors: [{matchExpressions: [{key: gpu, operator: DoesNotExist}]}]
  preferredNodeSelectors: [{weight: 50, preference: {matchLabels: {zone: a}}}]
`))
	want := allocator.Advertisement{
		Name: "a", Pools: []string{"p"}, Interfaces: []string{"eth0"},
		NodeSelectors: []allocator.Selector{{{Key: "gpu", Operator: allocator.DoesNotExist}}},
		Preferences:   []allocator.Preference{{Weight: 50, Selector: allocator.Selector{{Key: "zone", Operator: allocator.In, Values: []string{"a"}}}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}
