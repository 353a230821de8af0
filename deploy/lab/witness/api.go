package witness

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Follow adds every state of every Service to the history until the context ends.
// listed is called once the first list is in it. While the API server is away it waits;
// a record is dated when it arrived.
func (h *History) Follow(ctx context.Context, core rest.Interface, listed func()) error {
	source := cache.NewListWatchFromClient(core, "services", metav1.NamespaceAll, fields.Everything())
	for whole := time.Now(); ; {
		version, news, err := h.list(ctx, core)
		if err == nil {
			if listed != nil {
				listed()
				listed = nil
			} else if news > 0 { // else nothing has changed meanwhile, and nothing is missing
				h.Break(whole, time.Now(), fmt.Errorf("the watch could not be continued, and %d Services have changed", news))
			}
			whole, err = h.watch(ctx, source, version)
		}
		if ctx.Err() != nil {
			return nil
		}
		if listed != nil {
			return fmt.Errorf("watching Services: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// list adds what differs from what was seen last, and counts it.
func (h *History) list(ctx context.Context, core rest.Interface) (version string, news int, err error) {
	var list corev1.ServiceList
	if err := core.Get().Resource("services").Do(ctx).Into(&list); err != nil {
		return "", 0, fmt.Errorf("listing Services: %w", err)
	}
	now, there := time.Now(), map[string]bool{}
	for i := range list.Items {
		s := serviceOf(&list.Items[i], now)
		there[s.Name] = true
		if last := h.Now(s.Name); last.Gone || last.Version != s.Version {
			h.Add(s)
			news++
		}
	}
	for _, name := range h.missing(there) {
		h.Add(Service{At: now, Name: name, Gone: true})
		news++
	}
	return list.ResourceVersion, news, nil
}

// missing returns Services that were there before and are not in the list.
func (h *History) missing(there map[string]bool) (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, i := range h.latest {
		if !there[name] && !h.records[i].Gone {
			names = append(names, name)
		}
	}
	return names
}

// watch adds what changes from the version on, over any number of connections, and
// returns the time until which nothing is missing.
func (h *History) watch(ctx context.Context, source cache.WatcherWithContext, version string) (whole time.Time, err error) {
	w, err := watchtools.NewRetryWatcherWithContext(ctx, version, source)
	if err != nil {
		return time.Now(), fmt.Errorf("watching Services from version %s: %w", version, err)
	}
	defer w.Stop()
	whole = time.Now()
	for event := range w.ResultChan() {
		now := time.Now()
		switch event.Type {
		case watch.Added, watch.Modified, watch.Deleted:
			if svc, ok := event.Object.(*corev1.Service); ok {
				s := serviceOf(svc, now)
				if s.Gone = event.Type == watch.Deleted; s.Gone {
					s.Addresses = nil
				}
				h.Add(s)
			}
			whole = now
		case watch.Error:
			return whole, fmt.Errorf("watching Services: %w", errorOf(event.Object))
		}
	}
	return whole, context.Cause(ctx)
}

func errorOf(o runtime.Object) error { return apierrors.FromObject(o) }

func serviceOf(svc *corev1.Service, at time.Time) Service {
	s := Service{At: at, Name: svc.Namespace + "/" + svc.Name, Version: svc.ResourceVersion}
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return s
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil {
			s.Addresses = append(s.Addresses, a.Unmap())
		}
	}
	for _, p := range svc.Spec.Ports {
		s.Ports = append(s.Ports, Port{string(p.Protocol), uint16(p.Port)})
	}
	for _, c := range svc.Status.Conditions {
		s.Conditions = append(s.Conditions, Condition{c.Type, string(c.Status), c.Reason, c.Message})
	}
	return s
}
