package controller

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// An outage notes whether one kind can be watched, and says so when that changes:
// one line for an outage, however long it lasts, and one for its end.
type outage struct {
	kind   string
	log    *slog.Logger
	absent func() // may be called more than once; nil: the kind must be there

	mu       sync.Mutex
	failures int // in a row
	absences int // in a row
}

// A kind that is not there is asked for seldom: it takes an operator to bring it.
const (
	absencesBelieved = 3 // in a row: an API that was just started may not know its kinds yet
	absencePause     = 30 * time.Second
)

// heed returns a ListWatch that does what lw does, and tells the outage.
func heed(lw *cache.ListWatch, o *outage) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContext(ctx, options)
			o.note(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchWithContext(ctx, options)
			o.note(ctx, err)
			return w, err
		},
	}
}

// note counts what was answered. Where the kind is not there it takes its time.
func (o *outage) note(ctx context.Context, err error) {
	if o.absent != nil && ctx.Err() == nil && (apierrors.IsNotFound(err) || apierrors.IsForbidden(err)) {
		o.miss(ctx, err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err == nil:
		if o.failures > 1 || o.absences >= absencesBelieved {
			o.log.Info("watched again", "kind", o.kind)
		}
		o.failures, o.absences = 0, 0
	default:
		// The first may be a watch that ran out, or a way to list that this API
		// does not know; another is tried at once.
		if o.failures++; o.failures == 2 {
			o.log.Warn("cannot be watched: what was last known holds, and if nothing was known yet, nothing is announced", "kind", o.kind, "err", err)
		}
	}
}

// miss counts that the kind is not there, or not to be read, and after a few times
// believes it.
func (o *outage) miss(ctx context.Context, err error) {
	o.mu.Lock()
	o.absences++
	absences := o.absences
	o.mu.Unlock()
	if absences < absencesBelieved {
		return
	}
	if absences == absencesBelieved {
		o.log.Warn("is not there or may not be read, and is done without: apply the manifests of this version, CRDs and roles too", "kind", o.kind, "err", err)
	}
	o.absent()
	select {
	case <-ctx.Done():
	case <-time.After(absencePause + rand.N(absencePause)):
	}
}
