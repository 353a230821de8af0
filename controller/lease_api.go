package controller

import (
	"context"
	"log/slog"

	coordv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"holdfast.dev/holdfast/controller/lease"
)

// leaseAPI reaches the Lease over REST.
type leaseAPI struct {
	client          rest.Interface
	namespace, name string
	stats           *counters
	log             *slog.Logger
}

func (a *leaseAPI) Create(ctx context.Context, l *coordv1.Lease) (*coordv1.Lease, error) {
	out := &coordv1.Lease{}
	err := timed(ctx, a.client.Post()).Namespace(a.namespace).Resource("leases").Body(l).Do(ctx).Into(out)
	a.stats.wrote("lease", err)
	return out, err
}

func (a *leaseAPI) Update(ctx context.Context, l *coordv1.Lease) (*coordv1.Lease, error) {
	out := &coordv1.Lease{}
	err := timed(ctx, a.client.Put()).Namespace(a.namespace).Resource("leases").Name(a.name).Body(l).Do(ctx).Into(out)
	a.stats.wrote("lease", err)
	return out, err
}

func (a *leaseAPI) Watch(ctx context.Context, seen func(*coordv1.Lease)) {
	only := fields.OneTermEqualSelector("metadata.name", a.name)
	leases := heed(cache.NewListWatchFromClient(a.client, "leases", a.namespace, only), &outage{kind: "leases", log: a.log})
	follow(ctx, leases, &coordv1.Lease{}, "lease", leaseStore(seen))
}

// leaseStore passes on what a reflector brings.
type leaseStore func(*coordv1.Lease)

func (s leaseStore) Add(o any) error    { return s.Update(o) }
func (s leaseStore) Update(o any) error { s(o.(*coordv1.Lease)); return nil }
func (s leaseStore) Delete(o any) error {
	s(lease.Absent(o.(*coordv1.Lease).ResourceVersion))
	return nil
}
func (s leaseStore) Resync() error { return nil }

func (s leaseStore) Replace(list []any, version string) error {
	for _, o := range list {
		s(o.(*coordv1.Lease))
	}
	if len(list) == 0 {
		s(lease.Absent(version))
	}
	return nil
}
