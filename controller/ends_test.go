package controller

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
)

var reasons = map[int]string{401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 503: "ServiceUnavailable"}

// A copy that is told to end leaves for good only where somebody has said so.
func TestEndsForGoodOnlyWhenTold(t *testing.T) {
	const node, pod, set = "/api/v1/nodes/n1", "/api/v1/namespaces/ours/pods/p", "/apis/apps/v1/namespaces/ours/daemonsets/holdfast"
	const owned = `"ownerReferences":[{"kind":"DaemonSet","name":"holdfast","uid":"u1"}]`
	nodeWith := func(metadata, more string) map[string]string {
		return map[string]string{node: `{"kind":"Node","apiVersion":"v1","metadata":{"name":"n1","labels":{"role":"edge"}` + metadata + `}` + more + `}`}
	}
	setWith := func(spec string) map[string]string {
		return map[string]string{set: `{"metadata":{"name":"holdfast","uid":"u1"},"spec":{"template":{"spec":{` + spec + `}}}}`}
	}
	tainted := func(taint string) map[string]string { return nodeWith("", `,"spec":{"taints":[`+taint+`]}`) }
	affine := func(term string) map[string]string {
		return setWith(`"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[` + term + `]}}}`)
	}
	with := func(all ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range all {
			maps.Copy(out, m)
		}
		return out
	}
	calm := with(nodeWith("", ""), setWith(`"nodeSelector":{"role":"edge"}`), map[string]string{
		pod: `{"metadata":{"name":"p","deletionTimestamp":"2030-01-01T00:00:00Z",` + owned + `}}`,
	})
	ended := map[string]string{pod: `{"metadata":{"name":"p",` + owned + `}}`} // by the node, or by itself
	cordoned := nodeWith("", `,"spec":{"unschedulable":true,"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}]}`)
	dedicated := tainted(`{"key":"dedicated","value":"db","effect":"NoSchedule"}`)
	for name, c := range map[string]struct {
		answers map[string]string // those that differ; "": not found; 3 digits: that code
		why     string
	}{
		"a new pod will follow":            {nil, ""},
		"only the container ends":          {ended, ""},
		"updated on a cordoned node":       {cordoned, ""},
		"a cordoned node goes down":        {with(cordoned, ended), "cordoned"},
		"excluded":                         {nodeWith(`,"labels":{"`+allocator.LabelExclude+`":""}`, ""), "excluded"},
		"the node is being deleted":        {nodeWith(`,"deletionTimestamp":"2030-01-01T00:00:00Z"`, ""), "deleted"},
		"the node is deleted":              {map[string]string{node: ""}, "deleted"},
		"shutting down":                    {nodeWith("", `,"status":{"conditions":[{"type":"Ready","status":"False","message":"node is shutting down"}]}`), "shutting down"},
		"not ready for another reason":     {nodeWith("", `,"status":{"conditions":[{"type":"Ready","status":"False","message":"PLEG"}]}`), ""},
		"the DaemonSet is gone":            {map[string]string{set: ""}, "removed"},
		"the DaemonSet is being gone":      {map[string]string{set: `{"metadata":{"uid":"u1","deletionTimestamp":"2030-01-01T00:00:00Z"}}`}, "removed"},
		"another one of the same name":     {map[string]string{set: `{"metadata":{"uid":"u2"}}`}, "removed"},
		"selects the node no more":         {setWith(`"nodeSelector":{"role":"core"}`), "selects"},
		"still has affinity to the node":   {affine(`{},{"matchExpressions":[{"key":"role","operator":"In","values":["edge"]}],"matchFields":[{"key":"metadata.name","operator":"NotIn","values":["n2"]}]}`), ""},
		"has affinity to other labels":     {affine(`{},{"matchExpressions":[{"key":"role","operator":"Exists"},{"key":"role","operator":"NotIn","values":["edge"]}]}`), "nodeAffinity"},
		"has affinity to another node":     {affine(`{"matchFields":[{"key":"metadata.name","operator":"In","values":["n2"]}]}`), "nodeAffinity"},
		"a taint that is not tolerated":    {dedicated, "taint dedicated=db:NoSchedule"},
		"a taint, and the container ends":  {with(dedicated, ended), ""},
		"a taint that is tolerated":        {with(dedicated, setWith(`"tolerations":[{"key":"dedicated","operator":"Exists"}]`)), ""},
		"a taint that all pods tolerate":   {tainted(`{"key":"node.kubernetes.io/unreachable","effect":"NoExecute"}`), ""},
		"a taint that only asks":           {tainted(`{"key":"dedicated","effect":"PreferNoSchedule"}`), ""},
		"no network":                       {tainted(`{"key":"node.kubernetes.io/network-unavailable","effect":"NoSchedule"}`), "taint"},
		"no network, and it needs none":    {with(tainted(`{"key":"node.kubernetes.io/network-unavailable","effect":"NoSchedule"}`), setWith(`"hostNetwork":true`)), ""},
		"out of service":                   {tainted(`{"key":"node.kubernetes.io/out-of-service","effect":"NoExecute"}`), "taint"},
		"the pod cannot be read":           {map[string]string{pod: ""}, ""},
		"the pod cannot be read, excluded": {with(map[string]string{pod: ""}, nodeWith(`,"labels":{"`+allocator.LabelExclude+`":""}`, "")), "excluded"},
		"the pod belongs to nobody":        {map[string]string{pod: `{"metadata":{"name":"p"}}`}, ""},
		"the API is away":                  {map[string]string{node: "503"}, ""},
		"the API answers nonsense":         {map[string]string{node: `what?`}, ""},
		"may not read the pod":             {map[string]string{pod: "403"}, "removed"},
		"may not read the node":            {map[string]string{node: "403"}, "removed"},
		"may not read the DaemonSet":       {map[string]string{set: "403"}, "removed"},
		"is nobody any more":               {map[string]string{pod: "401", node: "401", set: "401"}, "removed"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, differs := c.answers[r.URL.Path]
				if !differs {
					body = calm[r.URL.Path]
				}
				w.Header().Set("Content-Type", "application/json")
				if body == "" {
					body = "404"
				}
				if code, err := strconv.Atoi(body); err == nil {
					w.WriteHeader(code)
					body = fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reasons[code], code)
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
