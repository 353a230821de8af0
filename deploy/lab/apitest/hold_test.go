package apitest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A tape is what a watch showed of the addresses of each Service, in order.
type tape struct {
	mu    sync.Mutex
	shown map[string][]string
}

func (s *Server) record(t *testing.T) *tape {
	t.Helper()
	w, err := s.API.CoreV1().Services("default").Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	tp := &tape{shown: map[string][]string{}}
	go func() {
		for e := range w.ResultChan() {
			if v, ok := e.Object.(*corev1.Service); ok {
				tp.add(v.Name, addresses(v))
			}
		}
	}()
	return tp
}

func (tp *tape) add(service, addresses string) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if s := tp.shown[service]; len(s) == 0 || s[len(s)-1] != addresses {
		tp.shown[service] = append(s, addresses)
	}
}

// of returns what was shown of a Service, states parted by commas.
func (tp *tape) of(service string) string {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return strings.Join(tp.shown[service], ", ")
}

func (s *Server) rekey(t *testing.T, service, key string) {
	t.Helper()
	s.Kubectl(t, "annotate", "--overwrite", "service", service, "metallb.io/allow-shared-ip="+key)
}

// Two that share an address are given another key one after the other, left half
// done, and their pool goes and comes, while the leader changes: the watch must
// never show a Service without an address, and only what must move moves.
func TestNeverAStatusWithoutAnAddress(t *testing.T) {
	s := Start(t)
	pools := fmt.Sprintf(pool, "p", "192.0.2.0/24")
	s.Apply(t, pools+advertisement+fmt.Sprintf(node, "node1"))
	copies := []*instance{s.run(t, "node1"), s.run(t, "node2")}
	for i, n := range []string{"a", "b"} {
		s.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default, annotations: {metallb.io/allow-shared-ip: k}}
spec: {type: LoadBalancer, selector: {app: a}, ports: [{port: %d}]}
`, n, 80+i))
		eventually(t, n+" holds the address", func() bool { return s.address(t, n) == "192.0.2.0" })
	}
	tp := s.record(t)
	s.rekey(t, "a", "k2")
	time.Sleep(time.Second) // less than settle
	s.rekey(t, "b", "k2")
	time.Sleep(3 * time.Second)
	if a, b := tp.of("a"), tp.of("b"); a != "192.0.2.0" || b != "192.0.2.0" {
		t.Fatalf("after both were given another key: a: %s; b: %s", a, b)
	}
	s.Kubectl(t, "delete", "-n", "holdfast-system", "ipaddresspool/p")
	eventually(t, "a about to leave", func() bool {
		return strings.Contains(s.shown(t, "default", "services/a"), `"reason":"PoolLost"`)
	})
	for _, c := range copies {
		if c.Stats().Leads {
			c.stop() // the next leader carries on
			break
		}
	}
	s.Apply(t, pools)
	time.Sleep(4 * time.Second)
	if a, b := tp.of("a"), tp.of("b"); a != "192.0.2.0" || b != "192.0.2.0" {
		t.Fatalf("after the pool went and came: a: %s; b: %s", a, b)
	}
	s.rekey(t, "b", "k3")
	eventually(t, "b has moved", func() bool { return s.address(t, "b") == "192.0.2.1" })
	if a, b := tp.of("a"), tp.of("b"); a != "192.0.2.0" || b != "192.0.2.0, 192.0.2.1 192.0.2.0, 192.0.2.1" {
		t.Fatalf("after the half-done change: a: %s; b: %s", a, b)
	}
	t.Log(s.Kubectl(t, "get", "events", "-o", "custom-columns=R:.reason,O:.involvedObject.name,M:.message", "--sort-by=.metadata.name"))
}
