package apitest

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What a node says is about one node and one Service for as long as the object is
// there: the API refuses to make it about another. The rest of it may change.
func TestStatusIsAboutOneNodeAndOneService(t *testing.T) {
	s := Start(t)
	for kind, rest := range map[string]string{"ServiceBGPStatus": `"peers":["r1"]`, "ServiceL2Status": `"interfaces":[{"name":"eth0"}]`} {
		resource := strings.ToLower(kind) + "es"
		s.Apply(t, fmt.Sprintf("apiVersion: metallb.io/v1beta1\nkind: %s\nmetadata: {name: s, namespace: holdfast-system}\n", kind))
		write := func(status string) error {
			_, err := s.of(resource, "holdfast-system").Patch(t.Context(), "s", types.MergePatchType, []byte(`{"status":{`+status+`}}`), metav1.PatchOptions{}, "status")
			return err
		}
		if err := write(`"node":"n1","serviceName":"web","serviceNamespace":"shop"`); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, field := range []string{"node", "serviceName", "serviceNamespace"} {
			err := write(fmt.Sprintf(`%q:"other"`, field))
			if err == nil || !strings.Contains(err.Error(), "status."+field) || !strings.Contains(err.Error(), "Value is immutable") {
				t.Errorf("%s: another %s: %v", kind, field, err)
			}
		}
		if err := write(`"node":"n1",` + rest); err != nil {
			t.Errorf("%s: the same node, and %s: %v", kind, rest, err)
		}
		if got := s.shown(t, "holdfast-system", resource+"/s"); !strings.Contains(got, rest) || strings.Contains(got, "other") {
			t.Errorf("%s: it is %s", kind, got)
		}
	}
}
