package controller

import (
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
	stays   int  // how often a node without pods is still seen to announce
	silent  int  // how often nobody says yet that it announces
	late    bool // a node without pods says so later than one with pods
	waiting bool // the Service holds no address
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
		if how == "outrun" {
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
	case strings.HasSuffix(path, "/endpointslices"):
		var endpoints []string
		for _, n := range a.pods {
			endpoints = append(endpoints, fmt.Sprintf(`{"addresses":["10.1.1.1"],"nodeName":%q}`, n))
		}
		fmt.Fprintf(w, `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","items":[{"metadata":{"name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[%s]}]}`, strings.Join(endpoints, ","))
	case strings.HasSuffix(path, "/servicebgpstatuses"):
		var items []string
		if a.silent--; a.silent < 0 {
			items = append(items, status("n1"))
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
			if api.kind == "" {
				api.kind = "LoadBalancer"
			}
			if api.policy == "" {
				api.policy = "Cluster"
			}
			server := httptest.NewServer(api)
			defer server.Close()
			f := Flip{
				REST: &rest.Config{Host: server.URL}, Namespace: "ours", Service: allocator.ServiceName{Namespace: "shop", Name: "web"}, Policy: c.policy,
				Routers: 10 * time.Millisecond, Say: t.Logf,
			}
			ctx := t.Context()
			if strings.Contains(c.err, "waiting") {
				limited, cancel := context.WithTimeout(ctx, 3*flipPoll)
				defer cancel()
				ctx = limited
			}
			err := f.Run(ctx)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, and should be %q", err, c.err)
			}
			if got := strings.Join(api.steps, " "); got != c.steps {
				t.Errorf("steps %q, and should be %q", got, c.steps)
			}
		})
	}
}
