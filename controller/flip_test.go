package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
)

// flipAPI is an API server with one Service, whose nodes withdraw it some time after
// it was narrowed.
type flipAPI struct {
	mu      sync.Mutex
	policy  string
	narrow  string // the annotation
	version int
	pods    []string
	stays   int    // how often a node without pods is still seen to announce
	silent  int    // how often nobody says yet that it announces
	mute    bool   // a node with pods never says it
	late    bool   // a node without pods says so later than one with pods
	waiting bool   // the Service holds no address
	dead    string // what the Node n2 is: gone, or the status of its condition Ready; "": True; forbidden: nobody may list nodes
	busy    bool   // somebody else is always faster to change the Service, before the policy can be
	steps   []string
	kind    string

	fails map[int]string // patches by number: refused (403), lost (done, no answer), away (not done) or outrun (by another change)
	tried int
}

func (a *flipAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(node string) string {
		return fmt.Sprintf(`{"metadata":{"name":"s-%s"},"status":{"node":%q,"serviceName":"web","serviceNamespace":"shop"}}`, node, node)
	}
	fail := func(code int, reason, message string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, message, code)
	}
	switch path := r.URL.Path; {
	case r.Method == http.MethodPatch:
		a.tried++
		how := a.fails[a.tried]
		body, _ := io.ReadAll(r.Body)
		var p struct {
			Metadata struct {
				ResourceVersion string
				Annotations     map[string]*string
			}
			Spec struct{ ExternalTrafficPolicy string }
		}
		err := json.Unmarshal(body, &p)
		if how == "outrun" || a.busy && p.Spec.ExternalTrafficPolicy != "" {
			a.version++
		}
		switch {
		case err != nil:
			fail(http.StatusBadRequest, "BadRequest", err.Error())
			return
		case how == "refused":
			fail(http.StatusForbidden, "Forbidden", "not yours")
			return
		case how == "away":
			fail(http.StatusServiceUnavailable, "ServiceUnavailable", "not now")
			return
		case p.Metadata.ResourceVersion != "" && p.Metadata.ResourceVersion != fmt.Sprint(a.version):
			fail(http.StatusConflict, "Conflict", "the object has been modified")
			return
		}
		a.version++
		if v, named := p.Metadata.Annotations[allocator.AnnotationAnnounceAs]; named {
			if a.narrow = ""; v != nil {
				a.narrow = *v
			}
		}
		if p.Spec.ExternalTrafficPolicy != "" {
			a.policy = p.Spec.ExternalTrafficPolicy
		}
		a.steps = append(a.steps, a.policy+"+"+a.narrow)
		if how == "lost" {
			fail(http.StatusGatewayTimeout, "Timeout", "no answer")
			return
		}
		fmt.Fprint(w, `{"kind":"Service","apiVersion":"v1"}`)
	case strings.HasSuffix(path, "/services/web"):
		annotations, ingress := "{}", `[{"ip":"192.0.2.1"}]`
		if a.narrow != "" {
			annotations = fmt.Sprintf(`{%q:%q}`, allocator.AnnotationAnnounceAs, a.narrow)
		}
		if a.waiting {
			ingress = "[]"
		}
		fmt.Fprintf(w, `{"kind":"Service","apiVersion":"v1","metadata":{"name":"web","resourceVersion":"%d","annotations":%s},"spec":{"type":%q,"externalTrafficPolicy":%q},"status":{"loadBalancer":{"ingress":%s}}}`,
			a.version, annotations, a.kind, a.policy, ingress)
	case strings.HasSuffix(path, "/nodes"):
		if a.dead == "forbidden" {
			fail(http.StatusForbidden, "Forbidden", "nodes are not yours")
			return
		}
		items := []string{`{"metadata":{"name":"n1"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, `{"metadata":{"name":"n3"}}`}
		if a.dead != "gone" {
			items = append(items, fmt.Sprintf(`{"metadata":{"name":"n2"},"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":%q}]}}`, cmp.Or(a.dead, "True")))
		}
		fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","items":[%s]}`, strings.Join(items, ","))
	case strings.HasSuffix(path, "/endpointslices"):
		var endpoints []string
		for _, n := range a.pods {
			endpoints = append(endpoints, fmt.Sprintf(`{"addresses":["10.1.1.1"],"nodeName":%q}`, n))
		}
		fmt.Fprintf(w, `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","items":[{"metadata":{"name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[%s]}]}`, strings.Join(endpoints, ","))
	case strings.HasSuffix(path, "/servicebgpstatuses"):
		var items []string
		if a.silent--; a.silent < 0 {
			if !a.mute {
				items = append(items, status("n1"))
			}
			if a.narrow == "" && a.policy == "Cluster" || a.stays > 0 {
				items = append(items, status("n2"))
			}
			if a.narrow != "" {
				if a.stays--; a.late {
					a.stays = 1 << 30
				}
			}
		}
		fmt.Fprintf(w, `{"kind":"ServiceBGPStatusList","apiVersion":"metallb.io/v1beta1","items":[%s]}`, strings.Join(items, ","))
	case strings.HasSuffix(path, "/servicel2statuses"):
		fmt.Fprint(w, `{"kind":"ServiceL2StatusList","apiVersion":"metallb.io/v1beta1","items":[]}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// run runs a flip, and returns what it says.
func (a *flipAPI) run(t *testing.T, ctx context.Context, policy string, after time.Duration) (said []string, err error) {
	a.kind, a.policy = cmp.Or(a.kind, "LoadBalancer"), cmp.Or(a.policy, "Cluster")
	server := httptest.NewServer(a)
	defer server.Close()
	f := Flip{
		REST: &rest.Config{Host: server.URL}, Namespace: "ours", Service: allocator.ServiceName{Namespace: "shop", Name: "web"}, Policy: policy,
		Routers: 10 * time.Millisecond, down: down{after: after},
		Say: func(format string, args ...any) {
			said = append(said, fmt.Sprintf(format, args...))
			t.Logf(format, args...)
		},
	}
	return said, f.Run(ctx)
}

func TestFlipNarrowsBeforeThePolicyDoes(t *testing.T) {
	const undone, never = "Cluster+Local Cluster+", 1 << 30
	for name, c := range map[string]struct {
		api    *flipAPI
		policy string
		steps  string
		err    string
	}{
		"to Local":              {&flipAPI{pods: []string{"n1"}, stays: 2}, "Local", "Cluster+Local Local+", ""},
		"everybody has pods":    {&flipAPI{pods: []string{"n1", "n2"}}, "Local", "Cluster+Local Local+", ""},
		"to Cluster":            {&flipAPI{policy: "Local", pods: []string{"n1"}}, "Cluster", "Cluster+", ""},
		"it is so already":      {&flipAPI{policy: "Local", pods: []string{"n1"}}, "Local", "", ""},
		"so but for the rest":   {&flipAPI{policy: "Local", narrow: "Local", pods: []string{"n1"}}, "Local", "Local+", ""},
		"left half done":        {&flipAPI{narrow: "Local", pods: []string{"n1"}}, "Cluster", "Cluster+", ""},
		"holds no address":      {&flipAPI{waiting: true, silent: never}, "Local", "Local+", ""},
		"nobody has pods":       {&flipAPI{}, "Local", "", "no ready endpoint"},
		"a node never gives up": {&flipAPI{pods: []string{"n1"}, stays: never}, "Local", undone, "announced as before: waiting for n2 to withdraw"},
		"not a load balancer":   {&flipAPI{kind: "NodePort"}, "Local", "", "of type NodePort"},
		"another word":          {&flipAPI{}, "local", "", "can be Cluster or Local"},

		// A Service that has just joined an address: who announces it is not said yet.
		"it joined just now":        {&flipAPI{pods: []string{"n1"}, silent: 2, stays: 2}, "Local", "Cluster+Local Local+", ""},
		"nobody announces it":       {&flipAPI{pods: []string{"n1", "n3"}, silent: never}, "Local", undone, "waiting for a node with endpoints (n1, n3) to announce it: no ServiceBGPStatus"},
		"others say it later":       {&flipAPI{pods: []string{"n1"}, late: true}, "Local", undone, "waiting for n2 to withdraw it"},
		"only one without does say": {&flipAPI{pods: []string{"n3"}, stays: never}, "Local", undone, "waiting for n1, n2 to withdraw it"},

		// Whatever fails after the first step, it is undone, unless all was done.
		"not allowed":                    {&flipAPI{pods: []string{"n1"}, fails: map[int]string{1: "refused"}}, "Local", "", "not yours"},
		"no answer to the first step":    {&flipAPI{pods: []string{"n1"}, fails: map[int]string{1: "lost"}}, "Local", undone, "announced as before: changing Service shop/web: no answer"},
		"the policy is refused":          {&flipAPI{pods: []string{"n1"}, fails: map[int]string{2: "refused"}}, "Local", undone, "announced as before: changing Service shop/web: not yours"},
		"no answer, and it is done":      {&flipAPI{pods: []string{"n1"}, fails: map[int]string{2: "lost"}}, "Local", "Cluster+Local Local+", ""},
		"somebody else was faster":       {&flipAPI{pods: []string{"n1"}, fails: map[int]string{2: "outrun"}}, "Local", "Cluster+Local Local+", ""},
		"to undo it takes several tries": {&flipAPI{pods: []string{"n1"}, fails: map[int]string{2: "away", 3: "away", 4: "outrun"}}, "Local", undone, "announced as before: changing Service shop/web: not now"},
	} {
		t.Run(name, func(t *testing.T) {
			api := c.api
			ctx := t.Context()
			if strings.Contains(c.err, "waiting") {
				limited, cancel := context.WithTimeout(ctx, 3*flipPoll)
				defer cancel()
				ctx = limited
			}
			_, err := api.run(t, ctx, c.policy, 0)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, and should be %q", err, c.err)
			}
			if got := strings.Join(api.steps, " "); got != c.steps {
				t.Errorf("steps %q, and should be %q", got, c.steps)
			}
		})
	}
}

// What a dead node said stays until its Node is deleted: a flip does not wait for that.
func TestFlipDoesNotWaitForTheDead(t *testing.T) {
	const ignoring = "ignoring that n2 should announce it: not Ready, or not a node any more"
	for dead, said := range map[string]string{"False": ignoring, "Unknown": ignoring, "gone": ignoring, "True": "", "forbidden": "it cannot be told which of them are down: listing nodes: nodes are not yours"} {
		t.Run(dead, func(t *testing.T) {
			api := &flipAPI{pods: []string{"n1"}, stays: 1 << 30, dead: dead}
			limit := 3 * flipPoll
			if said == ignoring {
				limit = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			got, err := api.run(t, ctx, "Local", time.Millisecond)
			if steps := strings.Join(api.steps, " "); (err == nil) != (said == ignoring) || (steps == "Cluster+Local Local+") != (err == nil) {
				t.Errorf("steps %s, error %v", steps, err)
			}
			if n := strings.Count(strings.Join(got, "\n"), said); said != "" && n != 1 || said == "" && strings.Contains(strings.Join(got, "\n"), "ignoring") {
				t.Errorf("it says %q, and should say %q once", got, said)
			}
		})
	}
	// A node that is not Ready, and lives, has time to withdraw.
	api := &flipAPI{pods: []string{"n1"}, stays: 3, dead: "Unknown"}
	if said, err := api.run(t, t.Context(), "Local", time.Minute); err != nil || api.stays >= 0 || strings.Contains(strings.Join(said, "\n"), "ignoring") {
		t.Errorf("it lives: %v, %v", err, said)
	}
	// Where only the dead announce it, nobody does.
	api = &flipAPI{pods: []string{"n1"}, stays: 1 << 30, dead: "gone", mute: true}
	limited, cancel := context.WithTimeout(t.Context(), 3*flipPoll)
	defer cancel()
	if _, err := api.run(t, limited, "Local", time.Millisecond); err == nil || !strings.Contains(err.Error(), "waiting for a node with endpoints (n1) to announce it") {
		t.Errorf("only a dead node announces it: %v", err)
	}
}

// Somebody who is always faster gets no storm of writes from us.
func TestFlipLeavesOthersTime(t *testing.T) {
	api := &flipAPI{pods: []string{"n1"}, busy: true}
	limited, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := api.run(t, limited, "Local", 0)
	if err == nil || !strings.Contains(err.Error(), "announced as before: somebody else changes it all the time") {
		t.Errorf("error %v", err)
	}
	if steps := strings.Join(api.steps, " "); steps != "Cluster+Local Cluster+" || api.tried < 3 || api.tried > 10 {
		t.Errorf("%d patches in half a second, steps %s", api.tried, steps)
	}
}
