package apitest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A script that writes the status of a Service of ours every 200 ms, as another load
// balancer would, is noticed, named and answered with growing pauses. A new leader's
// writes are nobody else's.
func TestAnotherWriterIsNamedAndNotAnsweredEachTime(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+advertisement)
	first := s.run(t, "node1")
	s.Apply(t, service("a", ", loadBalancerIP: 192.0.2.7"))
	eventually(t, "a holds the address", func() bool { return s.address(t, "a") == "192.0.2.7" })
	time.Sleep(2 * time.Second)
	writes := func() (n int) {
		for _, r := range s.requests(t, 0) {
			if r.Verb == "patch" && r.ObjectRef.Resource == "services" && r.ObjectRef.Name == "a" {
				n++
			}
		}
		return n
	}
	before, theirs := writes(), 0
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		_, err := s.of("services", "default").Patch(context.Background(), "a", types.MergePatchType,
			[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.9"}]}}}`), metav1.PatchOptions{FieldManager: "servicelb"}, "status")
		if err != nil {
			t.Fatal(err)
		}
		theirs++
	}
	ours := writes() - before
	t.Logf("%d writes of another, %d of ours", theirs, ours)
	if ours < 2 || ours > 8 {
		t.Errorf("%d writes of another were answered with %d", theirs, ours)
	}
	eventually(t, "a holds its address again", func() bool { return s.address(t, "a") == "192.0.2.7" })
	if shown := s.shown(t, "default", "services/a"); !strings.Contains(shown, `"reason":"OtherWriter"`) || !strings.Contains(shown, `\"servicelb\", last at`) {
		t.Errorf("the condition does not name it: %s", shown)
	}
	eventually(t, "told by an Event", func() bool {
		return strings.Contains(s.shown(t, "default", "events"), `"reason":"OtherWriter"`)
	})
	first.stop()
	second := s.run(t, "node2")
	eventually(t, "another copy leads", func() bool { return second.Stats().Leads })
	eventually(t, "and says nothing of it", func() bool {
		return !strings.Contains(s.shown(t, "default", "services/a"), `"reason":"OtherWriter"`)
	})
}
