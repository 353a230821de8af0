package script

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestDeniedRequestsAreSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	at := func(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }
	r := &run{starts: []time.Time{at(0)}, removed: []span{{at(20), at(30)}}}
	if all, err := denied(path, auditEnd(path), r.excused); err != nil || all != nil {
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
{"verb":"watch","requestURI":"/api/v1/nodes","requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z","responseStatus":{"code":403}}
{"verb":"get","requestURI":"/api/v1/nodes/node1","requestReceivedTimestamp":"2026-01-02T03:04:25.000000Z","responseStatus":{"code":403}}
{"verb":"create","requestURI":"/api/v1/events","responseStatus":{"code":403,"message":"forbidden because it is being terminated"}}
{"verb":"watch","requestURI":"/api/v1/endpoints","requestReceivedTimestamp":"2026-01-02T03:04:55.000000Z","responseStatus":{"code":403}}
{"verb":"list","requestURI":"/api/v1/sec`
	if err := os.WriteFile(path, []byte(after), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := denied(path, from, r.excused)
	if err != nil || !slices.Equal(all, []string{"list /api/v1/pods", "watch /api/v1/endpoints"}) {
		t.Errorf("%v, %v", all, err)
	}
	r.removed = []span{{from: at(50)}} // and not back yet
	if all, err := denied(path, from, r.excused); err != nil || !slices.Equal(all, []string{"list /api/v1/pods", "get /api/v1/nodes/node1"}) {
		t.Errorf("%v, %v", all, err)
	}
}
