package controller

import (
	"context"
	"log/slog"
	"sync"

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
	guard           *guard
	store           *leaseStore
}

func newLeaseAPI(client rest.Interface, namespace string, stats *counters, log *slog.Logger, r *rollback) *leaseAPI {
	a := &leaseAPI{client: client, namespace: namespace, name: LeaseName, stats: stats, store: &leaseStore{}}
	only := fields.OneTermEqualSelector("metadata.name", a.name)
	leases := heed(cache.NewListWatchFromClient(client, "leases", namespace, only), &outage{kind: "leases", log: log})
	a.guard = r.guard("leases", leases, a.store)
	return a
}

func (a *leaseAPI) Get(ctx context.Context) (*coordv1.Lease, error) {
	out := &coordv1.Lease{}
	err := timed(ctx, a.client.Get()).Namespace(a.namespace).Resource("leases").Name(a.name).Do(ctx).Into(out)
	return out, err
}

func (a *leaseAPI) Create(ctx context.Context, l *coordv1.Lease) (*coordv1.Lease, error) {
	out := &coordv1.Lease{}
	err := timed(ctx, a.client.Post()).Namespace(a.namespace).Resource("leases").Body(l).Do(ctx).Into(out)
	return a.answered(out, err)
}

func (a *leaseAPI) Update(ctx context.Context, l *coordv1.Lease) (*coordv1.Lease, error) {
	out := &coordv1.Lease{}
	err := timed(ctx, a.client.Put()).Namespace(a.namespace).Resource("leases").Name(a.name).Body(l).Do(ctx).Into(out)
	return a.answered(out, err)
}

func (a *leaseAPI) answered(out *coordv1.Lease, err error) (*coordv1.Lease, error) {
	a.stats.wrote("lease", err)
	if err == nil {
		a.store.note(out.ResourceVersion)
	}
	return out, err
}

// restored is told that the election has found an older Lease than it believed. The
// store has seen every version that the election has: if it knows of none as high,
// it has begun anew already, and the election follows.
func (a *leaseAPI) restored(believed, found string) {
	if newest, _ := a.store.newest(); !older(newest, believed) {
		a.guard.rollback.prove(a.guard.kind, believed, found)
	}
}

func (a *leaseAPI) Watch(ctx context.Context, seen func(*coordv1.Lease)) {
	a.store.seen = seen
	a.guard.follow(ctx, &coordv1.Lease{})
}

// leaseStore passes on what a reflector brings. It keeps nothing but the version:
// what to believe is the election's.
type leaseStore struct {
	seen func(*coordv1.Lease)

	mu      sync.Mutex
	version string // the highest
	begun   int
}

func (s *leaseStore) note(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !older(version, s.version) {
		s.version = version
	}
}

func (s *leaseStore) Add(o any) error { return s.Update(o) }
func (s *leaseStore) Update(o any) error {
	l := o.(*coordv1.Lease)
	s.note(l.ResourceVersion)
	s.seen(l)
	return nil
}
func (s *leaseStore) Delete(o any) error {
	version := o.(*coordv1.Lease).ResourceVersion
	s.note(version)
	s.seen(lease.Absent(version))
	return nil
}
func (s *leaseStore) Resync() error                    { return nil }
func (s *leaseStore) Transformer() cache.TransformFunc { return nil }
func (s *leaseStore) Bookmark(version string) error    { s.note(version); return nil }
func (s *leaseStore) holds(name, string) bool          { return false }
func (s *leaseStore) Replace(list []any, v string) error {
	_, err := s.take(list, v, false)
	return err
}

func (s *leaseStore) newest() (version string, begun int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, s.begun
}

func (s *leaseStore) take(list []any, version string, anew bool) (bool, error) {
	if anew {
		s.mu.Lock()
		s.version = ""
		s.begun++
		s.mu.Unlock()
	}
	s.note(version)
	for _, o := range list {
		s.seen(o.(*coordv1.Lease))
	}
	if len(list) == 0 {
		s.seen(lease.Absent(version))
	}
	return false, nil
}
