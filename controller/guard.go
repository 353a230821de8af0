package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// A guard stands between the reflector of one kind and the API, and sees to it
// that a belief which is wrong does not last.
//
// A watch from a resourceVersion that the API has not reached (again) is accepted
// and deaf: it shows nothing until that version is reached, and then only what
// comes after. So before a watch goes on from a version although the one before
// it did not end by its own timeout, the guard reads one object, by a quorum: if
// the version of that list is older than what was believed when it was asked for,
// the API's storage has gone back. It then has the reflector list everything by a
// quorum, and the store take that list whatever the versions. A list that need not
// be consistent proves nothing by being old: that API server may lag.
type guard struct {
	kind     string
	lists    *cache.ListWatch
	store    believing
	rollback *rollback

	mu      sync.Mutex
	watch   watch.Interface // the one under way, or the last
	until   time.Time       // when it was to end by itself
	failed  bool            // a request was not answered since
	stale   bool            // the reflector must list everything by a quorum
	anew    bool            // and the store take that whatever the versions
	list    asked           // the last list
	doubted bool            // a conflict waits for its explanation
}

// asked is what is to be remembered of a list that was asked for.
type asked struct {
	consistent bool // by a quorum of the API's storage
	newest     string
	begun      int
}

// believing is what a guard must know of a store.
type believing interface {
	cache.TransformingStore
	Bookmark(version string) error
	// newest returns the highest version that was taken, "" if none was, and how
	// often versions were forgotten.
	newest() (version string, begun int)
	// holds tells whether an object is still believed as of that version.
	holds(n name, version string) bool
	// take is Replace; it tells whether the list proves that versions have gone
	// back. With anew the list counts whatever the versions.
	take(objects []any, version string, anew bool) (back bool, err error)
}

// watchSlack is how much earlier than asked for a watch ends that ends by itself.
const watchSlack = 2 * time.Second

// guard returns the guard of one more kind.
func (r *rollback) guard(kind string, lists *cache.ListWatch, store believing) *guard {
	g := &guard{kind: kind, lists: lists, store: store, rollback: r}
	r.guards = append(r.guards, g)
	return g
}

// follow keeps the store up to date with the API until the context is done.
func (g *guard) follow(ctx context.Context, expected runtime.Object) {
	cache.NewReflectorWithOptions(g.listWatch(), expected, guarded{g.store, g}, cache.ReflectorOptions{
		Name: g.kind, Backoff: reflectorBackoff(),
	}).RunWithContext(ctx)
}

// reflectorBackoff is never long: what is missed while the API is away is made up for
// soon after it is back. It is spread, since all nodes come back at once.
func reflectorBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 30, Cap: 3 * time.Second}
}

// listWatch is what the reflector asks.
func (g *guard) listWatch() *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			if err := g.check(ctx, options); err != nil {
				return nil, err
			}
			list, err := g.lists.ListWithContext(ctx, options)
			g.answered(nil, options, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			if err := g.check(ctx, options); err != nil {
				return nil, err
			}
			w, err := g.lists.WatchWithContext(ctx, options)
			g.answered(w, options, err)
			return w, err
		},
	}
}

// check returns an error that makes the reflector begin anew, if it must, or if
// it cannot be told.
func (g *guard) check(ctx context.Context, options metav1.ListOptions) error {
	newest, begun := g.store.newest()
	g.mu.Lock()
	stale, early := g.stale, g.failed || time.Now().Before(g.until.Add(-watchSlack))
	if options.Continue == "" { // a page is of the list that was begun
		g.list = asked{options.ResourceVersion == "", newest, begun}
	}
	g.mu.Unlock()
	if options.ResourceVersion == "" || options.ResourceVersion == "0" {
		return nil
	}
	if !stale && early {
		version, err := g.now(ctx)
		if err != nil {
			g.answered(nil, options, err)
			return err
		}
		if stale = older(version, newest) && g.proves(begun); stale {
			g.rollback.prove(g.kind, newest, version)
		}
	}
	if stale {
		return tooLarge(options.ResourceVersion)
	}
	return nil
}

// now returns the version of the API's storage, by a quorum.
func (g *guard) now(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	list, err := g.lists.ListWithContext(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return "", err
	}
	return m.GetResourceVersion(), nil
}

// read lists the kind as it is now, by a quorum of the API's storage, and has the
// store believe it.
func (g *guard) read(ctx context.Context) error {
	newest, begun := g.store.newest()
	objects, version, err := g.whole(ctx)
	if err == nil {
		_, err = g.take(objects, version, asked{true, newest, begun}, false)
	}
	if err != nil {
		return fmt.Errorf("reading all %s: %w", g.kind, err)
	}
	return nil
}

func (g *guard) whole(ctx context.Context) (objects []any, version string, err error) {
	list, err := g.lists.ListWithContext(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, "", err
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return nil, "", err
	}
	objects = make([]any, len(items))
	for i, o := range items {
		objects[i] = o
	}
	return objects, m.GetResourceVersion(), nil
}

// proves tells whether what was believed when versions had been forgotten begun
// times is still believed.
func (g *guard) proves(begun int) bool {
	_, now := g.store.newest()
	return begun == now
}

// tooLarge is what an API server says that waited in vain for a version.
func tooLarge(version string) error {
	err := apierrors.NewTimeoutError("the API's storage is older than resourceVersion "+version, 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return err
}

// answered takes note of a watch, or of what became of a request.
func (g *guard) answered(w watch.Interface, options metav1.ListOptions, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed = err != nil; w == nil || err != nil {
		return
	}
	g.watch, g.until = w, time.Time{}
	if options.TimeoutSeconds != nil {
		g.until = time.Now().Add(time.Duration(*options.TimeoutSeconds) * time.Second)
	}
	if g.stale && options.ResourceVersion != "" {
		w.Stop() // it was asked for before it was known that it is deaf
	}
}

// restart ends the watch under way and has the reflector list everything by a
// quorum. With anew the versions are forgotten.
func (g *guard) restart(anew bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stale, g.anew = true, g.anew || anew
	if g.watch != nil {
		g.watch.Stop()
	}
}

// believes tells whether anything was ever listed.
func (g *guard) believes() bool {
	newest, _ := g.store.newest()
	return newest != ""
}

// guarded is the store that the reflector of a guarded kind fills.
type guarded struct {
	believing
	guard *guard
}

// Replace takes a list that the reflector asked for.
func (s guarded) Replace(objects []any, version string) error {
	g := s.guard
	g.mu.Lock()
	list, anew := g.list, g.anew
	g.mu.Unlock()
	begun, err := g.take(objects, version, list, anew)
	if err != nil || !list.consistent {
		return err
	}
	g.mu.Lock()
	g.stale = false
	g.anew = g.anew && !begun
	g.mu.Unlock()
	if begun {
		g.rollback.done(g)
	}
	return nil
}

// take gives the store a list, with which it begins anew if that is asked for, or
// if the list proves that versions have gone back. It tells whether it did.
func (g *guard) take(objects []any, version string, list asked, anew bool) (begun bool, err error) {
	back := list.consistent && older(version, list.newest) && g.proves(list.begun)
	begun = list.consistent && (anew || back)
	inside, err := g.store.take(objects, version, begun)
	if err != nil {
		return false, err
	}
	if back || inside {
		g.rollback.prove(g.kind, list.newest, version)
	}
	return begun, nil
}
