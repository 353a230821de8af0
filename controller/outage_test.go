package controller

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// A kind that is not there is done without after a few answers that say so, and asked
// for seldom from then on; one that may not be missing, and an API that is away, is
// never done without.
func TestKindThatIsNotThereIsDoneWithout(t *testing.T) {
	resource := schema.GroupResource{Group: "metallb.io", Resource: "bgppeers"}
	for name, c := range map[string]struct {
		answer   error
		optional bool
		without  bool
	}{
		"no CRD":           {apierrors.NewNotFound(resource, ""), true, true},
		"old roles":        {apierrors.NewForbidden(resource, "", nil), true, true},
		"API away":         {apierrors.NewServiceUnavailable("later"), true, false},
		"needed, and gone": {apierrors.NewNotFound(resource, ""), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var text bytes.Buffer
				without, answer := false, c.answer
				o := &outage{kind: "bgppeers", log: slog.New(slog.NewTextHandler(&text, nil))}
				if c.optional {
					o.absent = func() { without = true }
				}
				lists := heed(&cache.ListWatch{ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
					return &metav1.List{}, answer
				}}, o)
				began := time.Now()
				for i := range 10 {
					if without != (c.without && i >= absencesBelieved) {
						t.Errorf("after %d answers: without it: %v", i, without)
					}
					if _, err := lists.ListWithContext(context.Background(), metav1.ListOptions{}); err != answer {
						t.Errorf("the answer was not passed on: %v", err)
					}
				}
				if took := time.Since(began); c.without != (took > 8*absencePause-time.Second) || !c.without && took != 0 {
					t.Errorf("asked ten times within %s", took)
				}
				answer = nil
				lists.ListWithContext(context.Background(), metav1.ListOptions{})
				if n := strings.Count(text.String(), "\n"); n != 2 || !strings.Contains(text.String(), "watched again") {
					t.Errorf("said: %s", &text)
				}
			})
		})
	}
}
