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
	pods    []string
	stays   int // how often a node without pods is still seen to announce
	steps   []string
	refused bool // patches are
	kind    string
}

func (a *flipAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(node string) string {
		return fmt.Sprintf(`{"metadata":{"name":"s-%s"},"status":{"node":%q,"serviceName":"web","serviceNamespace":"shop"}}`, node, node)
	}
	switch path := r.URL.Path; {
	case r.Method == http.MethodPatch:
		if a.refused {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"not yours","code":403}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		var p struct {
			Metadata struct{ Annotations map[string]*string }
			Spec     struct{ ExternalTrafficPolicy string }
		}
		if err := json.Unmarshal(body, &p); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if v, named := p.Metadata.Annotations[allocator.AnnotationAnnounceAs]; named {
			if a.narrow = ""; v != nil {
				a.narrow = *v
			}
		}
		if p.Spec.ExternalTrafficPolicy != "" {
			a.policy = p.Spec.ExternalTrafficPolicy
		}
		a.steps = append(a.steps, a.policy+"+"+a.narrow)
		fmt.Fprint(w, `{"kind":"Service","apiVersion":"v1"}`)
	case strings.HasSuffix(path, "/services/web"):
		annotations := "{}"
		if a.narrow != "" {
			annotations = fmt.Sprintf(`{%q:%q}`, allocator.AnnotationAnnounceAs, a.narrow)
		}
		fmt.Fprintf(w, `{"kind":"Service","apiVersion":"v1","metadata":{"name":"web","annotations":%s},"spec":{"type":%q,"externalTrafficPolicy":%q}}`, annotations, a.kind, a.policy)
	case strings.HasSuffix(path, "/endpointslices"):
		var endpoints []string
		for _, n := range a.pods {
			endpoints = append(endpoints, fmt.Sprintf(`{"addresses":["10.1.1.1"],"nodeName":%q}`, n))
		}
		fmt.Fprintf(w, `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","items":[{"metadata":{"name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[%s]}]}`, strings.Join(endpoints, ","))
	case strings.HasSuffix(path, "/servicebgpstatuses"):
		items := []string{status("n1")}
		if a.narrow == "" && a.policy == "Cluster" || a.stays > 0 {
			items = append(items, status("n2"))
		}
		if a.narrow != "" {
			a.stays--
		}
		fmt.Fprintf(w, `{"kind":"ServiceBGPStatusList","apiVersion":"metallb.io/v1beta1","items":[%s]}`, strings.Join(items, ","))
	case strings.HasSuffix(path, "/servicel2statuses"):
		fmt.Fprint(w, `{"kind":"ServiceL2StatusList","apiVersion":"metallb.io/v1beta1","items":[]}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestFlipNarrowsBeforeThePolicyDoes(t *testing.T) {
	for name, c := range map[string]struct {
		api    *flipAPI
		policy string
		steps  string
		err    string
	}{
		"to Local":              {&flipAPI{policy: "Cluster", pods: []string{"n1"}, stays: 2}, "Local", "Cluster+Local Local+", ""},
		"everybody has pods":    {&flipAPI{policy: "Cluster", pods: []string{"n1", "n2"}}, "Local", "Cluster+Local Local+", ""},
		"to Cluster":            {&flipAPI{policy: "Local", pods: []string{"n1"}}, "Cluster", "Cluster+", ""},
		"it is so already":      {&flipAPI{policy: "Local", pods: []string{"n1"}}, "Local", "", ""},
		"left half done":        {&flipAPI{policy: "Cluster", narrow: "Local", pods: []string{"n1"}}, "Cluster", "Cluster+", ""},
		"nobody has pods":       {&flipAPI{policy: "Cluster"}, "Local", "", "no ready endpoint"},
		"a node never gives up": {&flipAPI{policy: "Cluster", pods: []string{"n1"}, stays: 1 << 30}, "Local", "Cluster+Local Cluster+", "announced as before: waiting for n2"},
		"not allowed":           {&flipAPI{policy: "Cluster", pods: []string{"n1"}, refused: true}, "Local", "", "not yours"},
		"not a load balancer":   {&flipAPI{policy: "Cluster", kind: "NodePort"}, "Local", "", "of type NodePort"},
		"another word":          {&flipAPI{policy: "Cluster"}, "local", "", "can be Cluster or Local"},
	} {
		t.Run(name, func(t *testing.T) {
			api := c.api
			if api.kind == "" {
				api.kind = "LoadBalancer"
			}
			server := httptest.NewServer(api)
			defer server.Close()
			f := Flip{
				REST: &rest.Config{Host: server.URL}, Namespace: "ours", Service: allocator.ServiceName{Namespace: "shop", Name: "web"}, Policy: c.policy,
				Routers: 10 * time.Millisecond, Say: t.Logf,
			}
			ctx := t.Context()
			if strings.Contains(c.err, "waiting") {
				limited, cancel := context.WithTimeout(ctx, time.Second)
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
