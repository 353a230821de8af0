package script

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestDeniedRequestsAreSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if all, err := denied(path, auditEnd(path)); err != nil || all != nil {
		t.Fatalf("no log: %v, %v", all, err)
	}
	const before = `{"verb":"get","requestURI":"/api/v1/nodes","responseStatus":{"code":403}}` + "\n"
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	from := auditEnd(path)
	const after = before + `{"verb":"list","requestURI":"/api/v1/pods?limit=500","responseStatus":{"code":403}}
{"verb":"list","requestURI":"/api/v1/pods?limit=1","responseStatus":{"code":403}}
{"verb":"watch","requestURI":"/api/v1/nodes","responseStatus":{"code":200}}
{"verb":"watch","requestURI":"/api/v1/services","responseStatus":{"code":403,"message":"rbac: clusterrole.rbac.authorization.k8s.io \"holdfast\" not found"}}
{"verb":"list","requestURI":"/api/v1/sec`
	if err := os.WriteFile(path, []byte(after), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := denied(path, from)
	if err != nil || !slices.Equal(all, []string{"list /api/v1/pods"}) {
		t.Errorf("%v, %v", all, err)
	}
}
