package layer2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	resync = 10 * time.Second // list the interfaces even if nothing was heard
	retry  = time.Second      // subscribe again
)

// runner is the state of Run: what only its goroutine touches.
type runner struct {
	a       *Announcer
	links   map[int]link
	queue   queue
	frames  [2][128]byte
	trouble map[int]string // last error told of, by interface

	changes <-chan change // of the subscription; nil: none
	stop    chan struct{} // ends it
	watched time.Time     // when it began
}

// Run follows the interfaces of this network namespace and answers and
// announces on them, until ctx is done; then it returns nil and nothing is
// answered any more. It returns an error at once if it can not work at all (no
// CAP_NET_RAW, no netlink), and never later. It must not be called twice.
func (a *Announcer) Run(ctx context.Context) error {
	if a.started.Swap(true) {
		return errors.New("layer2: Run called twice")
	}
	if a.system == nil {
		s, err := openKernel(&a.count.receiveErrors)
		if err != nil {
			return err
		}
		a.system = s
	}
	r := &runner{a: a, links: map[int]link{}, trouble: map[int]string{}}
	err := r.watch()
	if err == nil {
		err = r.relist()
	}
	if err != nil {
		r.unwatch()
		return errors.Join(fmt.Errorf("following the interfaces: %w", err), a.system.Close())
	}
	var reports sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	reports.Go(func() { a.deliver(ctx) })
	r.reconcile()
	r.loop(ctx)
	cancel()
	reports.Wait()
	r.unwatch()
	r.closeAll()
	return a.system.Close()
}

// loop applies whatever is new: the set, the interfaces, the time.
func (r *runner) loop(ctx context.Context) {
	again := time.NewTicker(resync)
	defer again.Stop()
	rewatch := time.NewTimer(0)
	rewatch.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.a.work:
			r.reconcile()
		case c, ok := <-r.changes:
			if !ok {
				r.unwatch()
				r.a.log.Warn("subscription to interfaces broke")
				rewatch.Reset(max(0, retry-time.Since(r.watched)))
			} else if r.note(c) {
				r.reconcile()
			}
		case <-rewatch.C:
			if err := r.watch(); err != nil {
				r.a.log.Warn("subscribing to interfaces", "err", err)
				rewatch.Reset(retry)
			}
			r.resync()
		case <-again.C:
			r.resync()
		case <-due.C:
		}
		now := time.Now()
		wait, any := r.announce(now)
		if end, asking := r.expire(now); asking && (!any || end < wait) {
			wait, any = end, true
		}
		if any {
			due.Reset(wait)
		}
	}
}

// watch subscribes to the interfaces.
func (r *runner) watch() (err error) {
	r.stop, r.watched = make(chan struct{}), time.Now()
	r.changes, err = r.a.system.Watch(r.stop)
	return err
}

// unwatch gives the subscription up.
func (r *runner) unwatch() {
	if r.changes != nil {
		close(r.stop)
		r.changes = nil
	}
}

// resync is the net below the events: what they told wrong or not at all is
// corrected, what failed is tried again.
func (r *runner) resync() {
	if err := r.relist(); err != nil {
		r.a.log.Warn("listing interfaces", "err", err)
		return
	}
	r.reconcile()
}

// deliver calls Config.Heard outside of the path of answers.
func (a *Announcer) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-a.claims:
			a.heard(c.addr, c.iface, net.HardwareAddr(slices.Clone(c.by[:])))
		}
	}
}
