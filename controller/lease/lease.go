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
	// Get reads the Lease by a quorum of the API's storage; an error that
	// apierrors.IsNotFound tells: there is none.
	Get(context.Context) (*coordv1.Lease, error)
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

	// Now is the clock by which times in the Lease are written and read: one that
	// all copies share, like the API server's. nil: this machine's.
	Now func() time.Time
	// Restored is told that the API's storage has gone back to an older state: the
	// Lease was believed as of one resourceVersion, and was found as of an older one.
	// It must not wait for anything. May be nil.
	// Restored is told so, too, when another copy has found it out, by the annotation
	// [StorageRestored].
	Restored func(believed, found string)

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
// everything that it sent has been answered. If lead returns before, the term ends,
// and the lease is not given back: this copy takes it anew.
func Run(ctx context.Context, c Config, lead func(*Term) (settled bool)) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.from == nil {
		c.from = func(sent, _ time.Time) time.Time { return sent }
	}
	if c.Now == nil {
		c.Now = time.Now
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
	doubt   bool      // the lease must be read before it is tried again
	failing bool      // the last write failed, and that was said
	blind   bool      // the lease may not be read, and that was said
	since   time.Time // what this copy's claims say of since when somebody has led
	found   string    // what they say of when the API's storage had gone back; "": what they find
	settled time.Time // until when another copy's finding that is the same event
}

// stand waits until the lease is free and takes it; false when the context is
// done before. It returns the fence.
func (e *election) stand(ctx context.Context) (time.Time, bool) {
	pause := time.Duration(0)
	for {
		var attempt <-chan time.Time
		if at, ok := e.view.free(e.Identity); ok || e.doubt {
			if e.doubt {
				at = time.Now()
			}
			attempt = time.After(max(time.Until(at)+rand.N(e.Retry/4+1), pause))
		}
		select {
		case <-ctx.Done():
			return time.Time{}, false
		case l := <-e.seen:
			e.see(l)
			continue
		case <-attempt:
		}
		var until time.Time
		var err error
		doubted := e.doubt
		if doubted {
			err = e.read()
		} else {
			e.since = e.ledSince(e.Now())
			until, err = e.write(e.claim(e.Identity))
		}
		switch {
		case err == nil && doubted:
			pause = 0
			continue
		case err == nil:
			return until, true
		}
		if pause = 0; !conflict(err) { // else the reading follows soon
			pause = e.Retry/2 + rand.N(e.Retry/2+1)
			e.complain("the lease cannot be taken", err)
		}
	}
}

// govern leads until the term ends, renewing the lease.
func (e *election) govern(ctx context.Context, until time.Time, lead func(*Term) bool) {
	term := newTerm(ctx, until, e.since)
	e.Log.Info("this copy leads", "lease", e.Name, "identity", e.Identity, "ledSince", e.since)
	settled := make(chan bool, 1)
	go func() { settled <- lead(term); term.end() }()
	next := time.NewTimer(e.Renew)
	defer next.Stop()
	for term.ctx.Err() == nil {
		select {
		case <-term.Done():
		case l := <-e.seen:
			if e.see(l); e.doubt {
				next.Reset(0)
			}
			e.lost(term)
		case <-term.stepped:
			if !e.doubt { // else it is being tried already
				next.Reset(0)
			}
		case <-next.C:
			next.Reset(e.renew(term))
		}
	}
	term.end()
	clean := <-settled
	e.Log.Info("this copy leads no more", "lease", e.Name, "identity", e.Identity)
	if !clean { // what was sent may take effect up to the fence
		e.view.taken = term.Fence()
	}
	if clean && ctx.Err() != nil && !e.doubt && before(time.Now(), term.Fence()) && e.view.holder() == e.Identity {
		if _, err := e.write(e.claim("")); err != nil {
			e.Log.Warn("the lease could not be given back, and will run out", "lease", e.Name, "err", err)
		}
	}
}

// renew renews the lease, having read it if it must be. It returns when to do so again.
func (e *election) renew(term *Term) time.Duration {
	var until time.Time
	var err error
	if e.doubt {
		if err = e.read(); err == nil && e.lost(term) {
			return e.Renew
		}
	}
	if err == nil {
		until, err = e.write(e.claim(e.Identity))
	}
	switch {
	case err != nil && conflict(err):
		return rand.N(e.Retry/4 + 1) // the reading follows soon
	case err != nil:
		e.complain("the lease cannot be renewed", err)
		return e.Retry
	}
	term.extend(until)
	return e.Renew
}

// lost ends the term if the lease is another's, and tells whether it is.
func (e *election) lost(term *Term) bool {
	h := e.view.holder()
	if h == e.Identity {
		return false
	}
	e.Log.Warn("the lease was taken away", "lease", e.Name, "holder", h)
	term.end()
	return true
}

// see takes note of what was watched. What is older than what has been seen is no
// news but a reason to read.
func (e *election) see(l *coordv1.Lease) {
	before, believed := e.view.lease, e.view.latest
	if e.view.see(l, e.Identity, time.Now()) {
		e.doubt = true
		return
	}
	// Versions may have gone back and been overtaken before this copy could see it.
	now := e.view.lease
	if before == nil || now == nil || time.Now().Before(e.settled) {
		return
	}
	if m := now.Annotations[StorageRestored]; m != "" && m != before.Annotations[StorageRestored] {
		e.restored(believed, now.ResourceVersion)
	}
}

// sameEvent is how much later than this copy another one may find out that the API's
// storage has gone back.
const sameEvent = time.Minute

func (e *election) restored(believed, found string) {
	e.settled = time.Now().Add(sameEvent)
	if e.Restored != nil {
		e.Restored(believed, found)
	}
}

// read reads the lease and believes it.
func (e *election) read() error {
	ctx, cancel := context.WithTimeout(context.Background(), e.Fence/3)
	defer cancel()
	l, err := e.API.Get(ctx)
	if apierrors.IsNotFound(err) {
		l, err = Absent(""), nil
	}
	e.doubt = err != nil && !apierrors.IsForbidden(err)
	switch {
	case e.doubt:
		return fmt.Errorf("reading lease %s/%s: %w", e.Namespace, e.Name, err)
	case err != nil: // an older version's role: what is watched must do
		if !e.blind {
			e.Log.Warn("the lease may not be read, only watched: apply the manifests of this version, roles too", "lease", e.Name, "err", err)
		}
		e.blind = true
		return nil
	}
	believed := e.view.latest
	if e.view.read(l, e.Identity, time.Now()) {
		e.found = stamp(e.Now())
		e.restored(believed, l.ResourceVersion)
	}
	return nil
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
		e.doubt = true
		return time.Time{}, fmt.Errorf("writing lease %s/%s: %w", e.Namespace, e.Name, err)
	}
	answered := time.Now()
	e.failing, e.found = false, ""
	e.view.see(answer, e.Identity, answered)
	return e.from(sent, answered).Add(e.Fence), nil
}

// conflict tells whether a write was refused because the lease is not as it was seen.
func conflict(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// complain says once that the lease cannot be written, however often it is tried.
func (e *election) complain(what string, err error) {
	if !e.failing {
		e.Log.Warn(what, "lease", e.Name, "err", err)
	}
	e.failing = true
}

// claim returns the lease as it shall be, held by holder ("": by nobody).
func (e *election) claim(holder string) *coordv1.Lease {
	now := metav1.NewMicroTime(e.Now())
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
	metav1.SetMetaDataAnnotation(&l.ObjectMeta, LedSince, stamp(e.since))
	if e.found != "" {
		metav1.SetMetaDataAnnotation(&l.ObjectMeta, StorageRestored, e.found)
	}
	return l
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// StorageRestored is the annotation of the Lease that tells when a copy that took or
// held it has found that the API's storage had gone back to an older state.
const StorageRestored = "holdfast.dev/storage-restored"

// LedSince is the annotation of the Lease that tells since when somebody has led
// without a pause, as RFC 3339 in UTC. A pause is more than two lease durations
// without a renewal.
const LedSince = "holdfast.dev/led-since"

// ledSince returns since when somebody has led without a pause, if this copy
// takes the lease now.
func (e *election) ledSince(now time.Time) time.Time {
	now = now.Truncate(time.Microsecond).Round(0).UTC()
	l := e.view.lease
	if l == nil || l.Spec.RenewTime == nil || now.Sub(l.Spec.RenewTime.Time) > 2*e.Duration {
		return now
	}
	since, err := time.Parse(time.RFC3339Nano, l.Annotations[LedSince])
	if err != nil || since.After(now) {
		return now
	}
	return since.UTC()
}
