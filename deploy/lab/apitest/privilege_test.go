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

	rbacv1 "k8s.io/api/rbac/v1"

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
	s.Kubectl(t, "delete", "-n", "holdfast-system", "--ignore-not-found", "secret/holdfast-membership", "lease/holdfast", "ipaddresspool/p", "l2advertisement/all")
	s.Kubectl(t, "delete", "--ignore-not-found", "service/a", "endpointslice/a-1", "node/node1")
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.10/32")+advertisement+fmt.Sprintf(node, "node1")+service("a", "")+fmt.Sprintf(slice, "a"))
	s.Kubectl(t, "delete", "-n", "holdfast-system", "--ignore-not-found", "servicel2statuses", "--all")
	s.Apply(t, fmt.Sprintf(oldStatus, "node1", "a"))
	c := s.run(t, "node1")
	defer c.stop()
	a := map[allocator.ServiceName][]string{servicesNamed("a")[0]: {"eth0"}}
	c.announce(a, "node1")
	// What an earlier pod of this node wrote is taken over, then removed, then made anew.
	told := s.statuses(t, []func(){func() { c.announce(nil, "node1") }, func() { c.announce(a, "node1") }}, "node1 a eth0", "", "node1 a eth0")
	done := func() bool {
		if !told() {
			return false
		}
		// The Event of an announcement, twice: the second is counted on the first.
		c.Assigned(netip.MustParseAddr("192.0.2.10"), servicesNamed("a"))
		c.Assigned(netip.MustParseAddr("192.0.2.10"), servicesNamed("a"))
		all := s.Kubectl(t, "get", "-n", "default", "service/a", "-o", "yaml") +
			s.Kubectl(t, "get", "-n", "holdfast-system", "ipaddresspool/p", "l2advertisement/all", "-o", "yaml")
		c.mu.Lock()
		defer c.mu.Unlock()
		return strings.Contains(all, "192.0.2.10 from pool p") && strings.Contains(all, "reason: Announced") &&
			strings.Count(all, "type: Accepted") == 2 && len(c.key) > 0 && c.Stats().Writes["events"] > 2 && c.Stats().Writes["lease"] > 2
	}
	for end := time.Now().Add(30 * time.Second); !enough() && !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not everything was done within 30 s, and nothing was denied")
		}
	}
}

const oldStatus = `
apiVersion: metallb.io/v1beta1
kind: ServiceL2Status
metadata:
  name: l2-old
  namespace: holdfast-system
  labels: {metallb.io/node: %[1]s, metallb.io/service-name: %[2]s, metallb.io/service-namespace: default}
  ownerReferences: [{apiVersion: v1, kind: Pod, name: old, uid: old}]
---
`

// statuses returns a function that tells whether the ServiceL2Status objects have been,
// one after the other, what wants says: NODE SERVICE INTERFACES. Between two of them
// it does what then says.
func (s *Server) statuses(t testing.TB, then []func(), wants ...string) func() bool {
	return func() bool {
		for len(wants) > 0 {
			out := s.Kubectl(t, "get", "-n", "holdfast-system", "servicel2statuses",
				"-o", `jsonpath={range .items[*]}{.status.node} {.status.serviceName} {.status.interfaces[*].name}{"\n"}{end}`)
			var lines []string
			for line := range strings.Lines(out) {
				lines = append(lines, strings.TrimSpace(line))
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
	for _, role := range []string{"clusterrole/holdfast", "role/holdfast"} {
		whole := s.Kubectl(t, "get", "-n", "holdfast-system", role, "-o", "json")
		var r rbacv1.ClusterRole // a Role has the same rules
		if err := json.Unmarshal([]byte(whole), &r); err != nil {
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
				s.without(t, role, r.Rules, rules, strings.Join(rule.Verbs, ",")+" "+resource)
			}
		}
	}
}

// without runs a copy with fewer rules, and wants something to be denied.
func (s *Server) without(t *testing.T, role string, whole, rules []rbacv1.PolicyRule, what string) {
	set := func(rules []rbacv1.PolicyRule) {
		patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/rules", "value": rules}})
		if err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "patch", "-n", "holdfast-system", role, "--type=json", "-p", string(patch))
	}
	before := len(s.requests(t, 0))
	set(rules)
	time.Sleep(200 * time.Millisecond) // the authorizer watches, too
	var d []string
	s.exercise(t, func() bool { d = denied(s.requests(t, before)); return len(d) > 0 })
	if len(d) == 0 {
		t.Errorf("%s: nobody misses %s", role, what)
	}
	t.Logf("%s without %s: denied %v", role, what, d)
	set(whole)
	time.Sleep(200 * time.Millisecond)
}

// Invariant 5 of package controller: where nothing happens, nothing is written but
// the Lease.
func TestSteadyStateWritesNothingButTheLease(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+advertisement+fmt.Sprintf(node, "node1"))
	for i := range 30 {
		name := fmt.Sprint("s", i)
		s.Apply(t, service(name, "")+fmt.Sprintf(slice, name))
	}
	one, two := s.run(t, "node1"), s.run(t, "node2")
	eventually(t, "30 addresses announced", func() bool {
		return strings.Count(s.Kubectl(t, "get", "services", "-o", "yaml"), "reason: Announced") == 30
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
