package controller

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
)

// A copy that is told to end leaves for good only where somebody has said so.
func TestEndsForGoodOnlyWhenTold(t *testing.T) {
	const node, pod, set = "/api/v1/nodes/n1", "/api/v1/namespaces/ours/pods/p", "/apis/apps/v1/namespaces/ours/daemonsets/holdfast"
	calm := map[string]string{
		node: `{"kind":"Node","apiVersion":"v1","metadata":{"name":"n1","labels":{"role":"edge"}}}`,
		pod:  `{"metadata":{"name":"p","ownerReferences":[{"kind":"DaemonSet","name":"holdfast","uid":"u1"}]}}`,
		set:  `{"metadata":{"name":"holdfast","uid":"u1"},"spec":{"template":{"spec":{"nodeSelector":{"role":"edge"}}}}}`,
	}
	for name, c := range map[string]struct {
		answers map[string]string // those that differ; "": not found
		why     string
	}{
		"a new pod will follow":        {nil, ""},
		"cordoned":                     {map[string]string{node: `{"kind":"Node","apiVersion":"v1","spec":{"unschedulable":true}}`}, "cordoned"},
		"excluded":                     {map[string]string{node: `{"kind":"Node","apiVersion":"v1","metadata":{"labels":{"` + allocator.LabelExclude + `":""}}}`}, "excluded"},
		"deleted":                      {map[string]string{node: `{"kind":"Node","apiVersion":"v1","metadata":{"deletionTimestamp":"2030-01-01T00:00:00Z"}}`}, "deleted"},
		"shutting down":                {map[string]string{node: `{"kind":"Node","apiVersion":"v1","status":{"conditions":[{"type":"Ready","status":"False","message":"node is shutting down"}]}}`}, "shutting down"},
		"not ready for another reason": {map[string]string{node: `{"kind":"Node","apiVersion":"v1","metadata":{"labels":{"role":"edge"}},"status":{"conditions":[{"type":"Ready","status":"False","message":"PLEG"}]}}`}, ""},
		"the DaemonSet is gone":        {map[string]string{set: ""}, "removed"},
		"the DaemonSet is being gone":  {map[string]string{set: `{"metadata":{"uid":"u1","deletionTimestamp":"2030-01-01T00:00:00Z"}}`}, "removed"},
		"another one of the same name": {map[string]string{set: `{"metadata":{"uid":"u2"}}`}, "removed"},
		"selects the node no more":     {map[string]string{set: `{"metadata":{"uid":"u1"},"spec":{"template":{"spec":{"nodeSelector":{"role":"core"}}}}}`}, "selects"},
		"the pod cannot be read":       {map[string]string{pod: ""}, ""},
		"the pod belongs to nobody":    {map[string]string{pod: `{"metadata":{"name":"p"}}`}, ""},
		"the node cannot be read":      {map[string]string{node: ""}, ""},
		"the API answers nonsense":     {map[string]string{node: `what?`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, differs := c.answers[r.URL.Path]
				if !differs {
					body = calm[r.URL.Path]
				}
				w.Header().Set("Content-Type", "application/json")
				if body == "" {
					w.WriteHeader(http.StatusNotFound)
					body = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
				}
				fmt.Fprint(w, body)
			}))
			defer server.Close()
			clients, err := newClients(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			copy := &Controller{Config: Config{Node: "n1", Namespace: "ours", PodName: "p", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, clients: clients}
			got := copy.Ends(t.Context())
			if (got == "") != (c.why == "") || !strings.Contains(got, c.why) {
				t.Errorf("ends for good because %q, and should because %q", got, c.why)
			}
		})
	}
}
