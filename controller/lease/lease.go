package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An API keeps the one Lease. Writes are on condition of the resourceVersion
// that they carry.
type API interface {
	Create(context.Context, *coordv1.Lease) (*coordv1.Lease, error)
	Update(context.Context, *coordv1.Lease) (*coordv1.Lease, error)
	// Watch calls seen with the Lease as it is ([Absent]: there is none) and with
	// every later state, until the context is done.
	Watch(ctx context.Context, seen func(*coordv1.Lease))
}

// Config says how to elect.
type Config struct {
	API             API
	Namespace, Name string // of the Lease
	Identity        string // of this process: no two processes may ever have the same

	Duration time.Duration // how long a lease that is not renewed stands; whole seconds
	Fence    time.Duration // how long its holder may write after a renewal; less than Duration
	Renew    time.Duration // pause between renewals
	Retry    time.Duration // pause after an attempt that did not succeed, and spread of the first attempts

	Log *slog.Logger

	// fence is counted from when the request was sent; a test counts otherwise.
	from func(sent, answered time.Time) time.Time
}

// Check tells what is wrong with the configuration.
func (c *Config) Check() error {
	switch {
	case c.Identity == "" || c.Namespace == "" || c.Name == "":
		return errors.New("lease: namespace, name and identity must be given")
	case c.Duration < time.Second || c.Duration%time.Second != 0:
		return fmt.Errorf("lease duration %s: whole seconds are needed, one at least", c.Duration)
	case c.Fence <= 0 || c.Fence >= c.Duration:
		return fmt.Errorf("renew deadline %s: it must be shorter than the lease duration %s", c.Fence, c.Duration)
	case c.Renew <= 0 || c.Renew >= c.Fence:
		return fmt.Errorf("renew period %s: it must be shorter than the renew deadline %s", c.Renew, c.Fence)
	case c.Retry <= 0 || c.Retry > c.Fence:
		return fmt.Errorf("retry period %s: it must not be longer than the renew deadline %s", c.Retry, c.Fence)
	}
	return nil
}

// Run takes part in the election until the context is done. While this copy
// leads, lead runs; it must return soon after its term is done, and say whether
// everything that it sent has been answered.
func Run(ctx context.Context, c Config, lead func(*Term) (settled bool)) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.from == nil {
		c.from = func(sent, _ time.Time) time.Time { return sent }
	}
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	seen := make(chan *coordv1.Lease)
	go func() {
		defer close(done)
		c.API.Watch(watching, func(l *coordv1.Lease) {
			select {
			case seen <- l:
			case <-watching.Done():
			}
		})
	}()
	defer func() { stop(); <-done }()
	e := &election{Config: c, seen: seen}
	for ctx.Err() == nil {
		if until, ok := e.stand(ctx); ok {
			e.govern(ctx, until, lead)
		}
	}
	return nil
}

// An election is one copy's part in it.
type election struct {
	Config
	view    view
	seen    <-chan *coordv1.Lease
	failing bool // the last write failed, and that was said
}

// stand waits until the lease is free and takes it; false when the context is
// done before. It returns the fence.
func (e *election) stand(ctx context.Context) (time.Time, bool) {
	pause := time.Duration(0)
	for {
		var attempt <-chan time.Time
		if at, ok := e.view.free(e.Identity); ok {
			attempt = time.After(max(time.Until(at)+rand.N(e.Retry/4+1), pause))
		}
		select {
		case <-ctx.Done():
			return time.Time{}, false
		case l := <-e.seen:
			e.view.see(l, time.Now())
			continue
		case <-attempt:
		}
		until, err := e.write(e.claim(e.Identity))
		if err == nil {
			return until, true
		}
		pause = e.Retry/2 + rand.N(e.Retry/2+1)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			e.complain("the lease cannot be taken", err)
		}
	}
}

// govern leads until the term ends, renewing the lease.
func (e *election) govern(ctx context.Context, until time.Time, lead func(*Term) bool) {
	term := newTerm(ctx, until)
	e.Log.Info("this copy leads", "lease", e.Name, "identity", e.Identity)
	settled := make(chan bool, 1)
	go func() { settled <- lead(term) }()
	next := time.NewTimer(e.Renew)
	defer next.Stop()
	for term.ctx.Err() == nil {
		select {
		case <-term.Done():
		case l := <-e.seen:
			e.view.see(l, time.Now())
			if h := e.view.holder(); h != e.Identity {
				e.Log.Warn("the lease was taken away", "lease", e.Name, "holder", h)
				term.end()
			}
		case <-next.C:
			if until, err := e.write(e.claim(e.Identity)); err == nil {
				term.extend(until)
				next.Reset(e.Renew)
			} else {
				e.complain("the lease cannot be renewed", err)
				next.Reset(e.Retry)
			}
		}
	}
	term.end()
	clean := <-settled
	e.Log.Info("this copy leads no more", "lease", e.Name, "identity", e.Identity)
	if clean && before(time.Now(), term.Fence()) && e.view.holder() == e.Identity {
		if _, err := e.write(e.claim("")); err != nil {
			e.Log.Warn("the lease could not be given back, and will run out", "lease", e.Name, "err", err)
		}
	}
}

// write sends the lease and takes note of the answer. It returns the fence that
// follows from it.
func (e *election) write(l *coordv1.Lease) (time.Time, error) {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), e.Fence/2)
	defer cancel()
	send := e.API.Update
	if l.ResourceVersion == "" {
		send = e.API.Create
	}
	answer, err := send(ctx, l)
	if err != nil {
		return time.Time{}, fmt.Errorf("writing lease %s/%s: %w", e.Namespace, e.Name, err)
	}
	answered := time.Now()
	e.failing = false
	e.view.see(answer, answered)
	return e.from(sent, answered).Add(e.Fence), nil
}

// complain says once that writing does not work, however often it is tried.
func (e *election) complain(what string, err error) {
	if !e.failing {
		e.Log.Warn(what, "lease", e.Name, "err", err)
	}
	e.failing = true
}

// claim returns the lease as it shall be, held by holder ("": by nobody).
func (e *election) claim(holder string) *coordv1.Lease {
	now := metav1.NowMicro()
	l := &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name}}
	if e.view.lease != nil {
		l = e.view.lease.DeepCopy()
	}
	if e.view.holder() != holder && holder != "" {
		var n int32
		if l.Spec.LeaseTransitions != nil && e.view.lease != nil {
			n = *l.Spec.LeaseTransitions + 1
		}
		l.Spec.LeaseTransitions, l.Spec.AcquireTime = &n, &now
	}
	seconds := int32(e.Duration / time.Second)
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &holder, &seconds, &now
	return l
}
