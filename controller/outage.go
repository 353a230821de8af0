package controller

import (
	"context"
	"log/slog"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// An outage notes whether one kind can be watched, and says so when that changes:
// one line for an outage, however long it lasts, and one for its end.
type outage struct {
	kind string
	log  *slog.Logger

	mu       sync.Mutex
	failures int // in a row
}

// heed returns a ListWatch that does what lw does, and tells the outage.
func heed(lw *cache.ListWatch, kind string, log *slog.Logger) *cache.ListWatch {
	o := &outage{kind: kind, log: log}
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

func (o *outage) note(ctx context.Context, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err == nil:
		if o.failures > 1 {
			o.log.Info("watched again", "kind", o.kind)
		}
		o.failures = 0
	default:
		// The first may be a watch that ran out, or a way to list that this API
		// does not know; another is tried at once.
		if o.failures++; o.failures == 2 {
			o.log.Warn("cannot be watched: what was last known holds, and if nothing was known yet, nothing is announced", "kind", o.kind, "err", err)
		}
	}
}
