package apitest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"holdfast.dev/holdfast/allocator"
)

// A request is one line of the audit log.
type request struct {
	Verb      string
	ObjectRef struct{ Resource, Subresource, Namespace, Name string }
	Status    struct{ Code int } `json:"responseStatus"`
}

func (r request) String() string {
	resource := r.ObjectRef.Resource
	if r.ObjectRef.Subresource != "" {
		resource += "/" + r.ObjectRef.Subresource
	}
	return r.Verb + " " + resource
}

// requests returns what holdfast's copies asked for after the first skip lines.
func (s *Server) requests(t testing.TB, skip int) (all []request) {
	t.Helper()
	f, err := os.Open(s.Audit)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		var r request
		if n >= skip && json.Unmarshal(lines.Bytes(), &r) == nil {
			all = append(all, r)
		}
	}
	return all
}

func denied(all []request) (out []string) {
	for _, r := range all {
		if r.Status.Code == 403 && !slices.Contains(out, r.String()) {
			out = append(out, r.String())
		}
	}
	return out
}

const slice = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-1, namespace: default, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.1.0.1], nodeName: node1, conditions: {ready: true}}]
---
`

// exercise runs a copy on an API on which it finds nothing of its own, and has it
// do everything that it ever does; or until enough says that it is enough.
func (s *Server) exercise(t testing.TB, enough func() bool) {
	t.Helper()
	ours := []string{"ipaddresspools/p", "l2advertisements/all", "bgppeers/r", "bgpadvertisements/a", "bfdprofiles/b", "communities/c"}
	s.remove(t, "holdfast-system", append(ours, "secrets/holdfast-membership", "leases/holdfast", "pods/pod-node1")...)
	s.remove(t, "default", "services/a", "endpointslices/a-1")
	s.remove(t, "", "nodes/node1")
	for _, kind := range []string{"servicel2statuses", "servicebgpstatuses"} {
		for _, o := range s.get(t, "holdfast-system", kind) {
			s.remove(t, "holdfast-system", kind+"/"+o.GetName())
		}
	}
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.10/32")+advertisement+fmt.Sprintf(node, "node1")+service("a", "")+fmt.Sprintf(slice, "a")+oneOfEach)
	s.Apply(t, fmt.Sprintf(oldStatus, "L2", "l2", "node1", "a")+fmt.Sprintf(oldStatus, "BGP", "bgp", "node1", "a")+orphan)
	c := s.run(t, "node1")
	defer c.stop()
	a := map[allocator.ServiceName][]string{servicesNamed("a")[0]: {"eth0"}}
	c.announce(a, "node1")
	// What an earlier pod of this node wrote is taken over, then removed, then made anew.
	c.advertise(map[allocator.ServiceName][]string{servicesNamed("a")[0]: {"r"}})
	told := s.statuses(t, "servicel2statuses", []func(){func() { c.announce(nil, "node1") }, func() { c.announce(a, "node1") }}, "node1 a eth0", "", "node1 a eth0")
	toldBGP := s.statuses(t, "servicebgpstatuses", []func(){
		func() { c.advertise(nil) }, func() { c.advertise(map[allocator.ServiceName][]string{servicesNamed("a")[0]: {"r"}}) },
	}, "node1 a r", "", "node1 a r")
	before := len(s.requests(t, 0))
	done := func() bool {
		if !told() || !toldBGP() {
			return false
		}
		if !s.disturbLease(t, before) {
			return false
		}
		if !strings.Contains(c.Ends(t.Context()), "DaemonSet is deleted") {
			return false
		}
		// The Event of an announcement, twice: the second is counted on the first.
		c.Assigned(netip.MustParseAddr("192.0.2.10"), servicesNamed("a"), "layer2")
		c.Assigned(netip.MustParseAddr("192.0.2.10"), servicesNamed("a"), "layer2")
		all := s.shown(t, "default", "services/a") + s.shown(t, "holdfast-system", ours...)
		c.mu.Lock()
		defer c.mu.Unlock()
		return strings.Contains(all, "192.0.2.10 from pool p") && strings.Contains(all, `"reason":"Announced"`) &&
			strings.Count(all, `"type":"Accepted"`) == 6 && strings.Contains(all, "a Secret of type Opaque") &&
			len(c.key) > 0 && c.Stats().Writes["events"] > 2 && c.Stats().Writes["lease"] > 2
	}
	for end := time.Now().Add(2 * time.Minute); !enough() && !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not everything was done within two minutes, and nothing was denied")
		}
	}
}

// disturbLease tells whether the Lease has been read after the first skip lines of the
// audit log: until it has, it changes the Lease so often that a renewal meets a conflict.
func (s *Server) disturbLease(t testing.TB, skip int) bool {
	t.Helper()
	for _, r := range s.requests(t, skip) {
		if r.String() == "get leases" {
			return true
		}
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"disturbed":%q}}}`, time.Now())
		_, err := s.of("leases", "holdfast-system").Patch(t.Context(), "holdfast", types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	return false
}

// oneOfEach are the kinds of BGP, with a password that is in the wrong place.
const oneOfEach = `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: r, namespace: holdfast-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, bfdProfile: b, passwordSecret: {name: wrong}}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: a, namespace: holdfast-system}
spec: {communities: [blue]}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: b, namespace: holdfast-system}
spec: {}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: c, namespace: holdfast-system}
spec: {communities: [{name: blue, value: "64512:1"}]}
---
apiVersion: v1
kind: Secret
metadata: {name: wrong, namespace: holdfast-system}
stringData: {password: hush}
---
`

// orphan is the pod of a DaemonSet that is not there any more.
const orphan = `
apiVersion: v1
kind: Pod
metadata:
  name: pod-node1
  namespace: holdfast-system
  ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: holdfast, uid: gone}]
spec: {serviceAccountName: holdfast, containers: [{name: holdfast, image: holdfast}]}
`

const oldStatus = `---
apiVersion: metallb.io/v1beta1
kind: Service%[1]sStatus
metadata:
  name: %[2]s-old
  namespace: holdfast-system
  labels: {metallb.io/node: %[3]s, metallb.io/service-name: %[4]s, metallb.io/service-namespace: default}
  ownerReferences: [{apiVersion: v1, kind: Pod, name: old, uid: old}]
---
`

// said is what a node says of a Service: the status of both kinds.
type said struct {
	Node, ServiceName string
	Interfaces        []struct{ Name string }
	Peers             []string
}

func (o said) String() string {
	words := []string{o.Node, o.ServiceName}
	for _, i := range o.Interfaces {
		words = append(words, i.Name)
	}
	return strings.TrimSpace(strings.Join(append(words, o.Peers...), " "))
}

// statuses returns a function that tells whether the objects of a kind have been, one
// after the other, what wants says: NODE SERVICE INTERFACES-OR-PEERS. Between two of
// them it does what then says.
func (s *Server) statuses(t testing.TB, kind string, then []func(), wants ...string) func() bool {
	return func() bool {
		for len(wants) > 0 {
			var lines []string
			for line := range strings.Lines(s.shown(t, "holdfast-system", kind)) {
				var o struct{ Status said }
				if err := json.Unmarshal([]byte(line), &o); err != nil {
					t.Fatal(err)
				}
				lines = append(lines, o.Status.String())
			}
			slices.Sort(lines)
			if strings.Join(lines, "\n") != wants[0] {
				return false
			}
			if wants = wants[1:]; len(then) > 0 {
				then[0]()
				then = then[1:]
			}
		}
		return true
	}
}

// The roles hold what is used, and nothing that is not.
func TestRolesHoldWhatIsUsedAndNothingMore(t *testing.T) {
	s := Start(t)
	before := len(s.requests(t, 0))
	s.exercise(t, func() bool { return false })
	if d := denied(s.requests(t, before)); len(d) > 0 {
		t.Fatalf("denied with the roles as they are: %v", d)
	}
	used := map[string]bool{}
	for _, r := range s.requests(t, before) {
		used[r.String()] = true
	}
	for _, role := range []string{"clusterroles/holdfast", "roles/holdfast"} {
		var r rbacv1.ClusterRole // a Role has the same rules
		if err := json.Unmarshal([]byte(s.shown(t, namespaceOf(role), role)), &r); err != nil {
			t.Fatal(err)
		}
		for i, rule := range r.Rules {
			for j, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					// Lists are for an API that cannot stream them.
					if verb != "list" && !used[verb+" "+resource] {
						t.Errorf("%s allows %s %s, which nobody uses", role, verb, resource)
					}
				}
				rules := slices.Clone(r.Rules)
				rules[i].Resources = slices.Delete(slices.Clone(rule.Resources), j, j+1)
				if len(rules[i].Resources) == 0 {
					rules = slices.Delete(rules, i, i+1)
				}
				less := rule
				less.Resources = []string{resource}
				s.without(t, role, r.Rules, rules, less)
			}
		}
	}
}

func namespaceOf(role string) string {
	if strings.HasPrefix(role, "clusterroles/") {
		return ""
	}
	return "holdfast-system"
}

// without runs a copy with fewer rules, and wants something to be denied.
func (s *Server) without(t *testing.T, role string, whole, rules []rbacv1.PolicyRule, less rbacv1.PolicyRule) {
	resource, name, _ := strings.Cut(role, "/")
	what := strings.Join(less.Verbs, ",") + " " + less.Resources[0]
	set := func(rules []rbacv1.PolicyRule, allowed bool) {
		patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/rules", "value": rules}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.of(resource, namespaceOf(role)).Patch(t.Context(), name, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		// The authorizer watches, too.
		eventually(t, fmt.Sprintf("%s allowed: %t", what, allowed), func() bool { return s.allows(t, less) == allowed })
	}
	before := len(s.requests(t, 0))
	set(rules, false)
	var d []string
	s.exercise(t, func() bool { d = denied(s.requests(t, before)); return len(d) > 0 })
	if len(d) == 0 {
		t.Errorf("%s: nobody misses %s", role, what)
	}
	t.Logf("%s without %s: denied %v", role, what, d)
	set(whole, true)
}

// allows tells whether the API lets holdfast's copies do what a rule about one resource allows first.
func (s *Server) allows(t testing.TB, rule rbacv1.PolicyRule) bool {
	t.Helper()
	ask := authorizationv1.ResourceAttributes{Namespace: "holdfast-system", Verb: rule.Verbs[0], Group: rule.APIGroups[0]}
	ask.Resource, ask.Subresource, _ = strings.Cut(rule.Resources[0], "/")
	if len(rule.ResourceNames) > 0 {
		ask.Name = rule.ResourceNames[0]
	}
	answer, err := s.API.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: ServiceAccount, ResourceAttributes: &ask},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// Invariant 5 of package controller: where nothing happens, nothing is written but
// the Lease.
func TestSteadyStateWritesNothingButTheLease(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+advertisement+fmt.Sprintf(node, "node1")+oneOfEach)
	var manifests strings.Builder
	for i := range 30 {
		name := fmt.Sprint("s", i)
		manifests.WriteString(service(name, "") + fmt.Sprintf(slice, name))
	}
	s.Apply(t, manifests.String())
	one, two := s.run(t, "node1").follow(), s.run(t, "node2").follow()
	eventually(t, "30 addresses announced", func() bool {
		return strings.Count(s.shown(t, "default", "services"), `"reason":"Announced"`) == 30
	})
	time.Sleep(3 * time.Second) // the last conditions and pool counters
	before := len(s.requests(t, 0))
	time.Sleep(10 * time.Second)
	s.quiet(t, before, "in the steady state")

	// A new leader finds all as it should be.
	before = len(s.requests(t, 0))
	one.stop()
	two.stop()
	three := s.run(t, "node3")
	eventually(t, "a new leader", func() bool { return three.Stats().Leads && three.Stats().Plan.Count > 0 })
	time.Sleep(3 * time.Second)
	s.quiet(t, before, "after a change of leader")
}

func (s *Server) quiet(t *testing.T, before int, when string) {
	t.Helper()
	renewals := 0
	for _, r := range s.requests(t, before) {
		switch r.Verb {
		case "list", "watch", "get":
		default:
			if renewals++; r.ObjectRef.Resource != "leases" {
				t.Errorf("%s: %s %s/%s", when, r, r.ObjectRef.Namespace, r.ObjectRef.Name)
			}
		}
	}
	if renewals == 0 {
		t.Errorf("%s: not even the Lease was written", when)
	}
}
