package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// fakeAPI keeps one Lease as the real API does, and is as bad as a network can
// be: requests and answers are late or lost, and what a client gave up may take
// effect long after.
type fakeAPI struct {
	mu      sync.Mutex
	random  *rand.Rand
	version int
	lease   *coordv1.Lease
	changed chan struct{}
	slowest time.Duration // a request or an answer takes at most this long
	answers time.Duration // an answer, if that is slower
	lost    float64       // how many of a hundred requests, and answers, are lost
}

func newFakeAPI(seed uint64) *fakeAPI {
	return &fakeAPI{random: rand.New(rand.NewPCG(seed, 1)), version: 1, changed: make(chan struct{}), slowest: 10 * time.Millisecond}
}

var resource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// delay draws how long the next message takes, at most slowest or what is given,
// and whether it is lost.
func (f *fakeAPI) delay(slowest time.Duration) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(f.random.Int64N(int64(max(f.slowest, slowest)) + 1)), f.random.Float64()*100 < f.lost
}

// set does what the API does at one moment.
func (f *fakeAPI) set(l *coordv1.Lease) (*coordv1.Lease, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case l.ResourceVersion == "" && f.lease != nil:
		return nil, apierrors.NewAlreadyExists(resource, l.Name)
	case l.ResourceVersion != "" && (f.lease == nil || f.lease.ResourceVersion != l.ResourceVersion):
		return nil, apierrors.NewConflict(resource, l.Name, errors.New("it was changed"))
	}
	f.version++
	f.lease = l.DeepCopy()
	f.lease.ResourceVersion = strconv.Itoa(f.version)
	close(f.changed)
	f.changed = make(chan struct{})
	return f.lease.DeepCopy(), nil
}

// client is one copy's way to the API, which can be cut.
type client struct {
	*fakeAPI
	mu   sync.Mutex
	cut  bool
	late time.Duration // what every answer to a write takes besides
}

func (c *client) isCut() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.cut }

func (c *client) setCut(cut bool) { c.mu.Lock(); defer c.mu.Unlock(); c.cut = cut }

func (c *client) setLate(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.late = d }

func (c *client) lateness() time.Duration { c.mu.Lock(); defer c.mu.Unlock(); return c.late }

// current returns the Lease as it is stored; nil: there is none.
func (f *fakeAPI) current() *coordv1.Lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lease.DeepCopy()
}

// restore puts the Lease back to what it was, and the versions with it.
func (f *fakeAPI) restore(l *coordv1.Lease) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lease, f.version = l.DeepCopy(), 1
	if l != nil {
		f.version, _ = strconv.Atoi(l.ResourceVersion)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (c *client) Get(ctx context.Context) (*coordv1.Lease, error) {
	there, lostThere := c.delay(0)
	back, lostBack := c.delay(c.answers)
	answer := make(chan *coordv1.Lease, 1)
	cut := c.isCut()
	go func() {
		time.Sleep(there)
		l := c.current()
		time.Sleep(back)
		if !lostThere && !lostBack && !cut && !c.isCut() {
			answer <- l
		}
	}()
	select {
	case l := <-answer:
		if l == nil {
			return nil, apierrors.NewNotFound(resource, "l")
		}
		return l, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *client) Create(ctx context.Context, l *coordv1.Lease) (*coordv1.Lease, error) {
	return c.Update(ctx, l)
}

func (c *client) Update(ctx context.Context, l *coordv1.Lease) (*coordv1.Lease, error) {
	type result struct {
		lease *coordv1.Lease
		err   error
	}
	answer := make(chan result, 1)
	there, lostThere := c.delay(0)
	back, lostBack := c.delay(c.answers)
	cut := c.isCut()
	go func() {
		time.Sleep(there)
		if lostThere || cut {
			return
		}
		stored, err := c.set(l) // whether or not the client still waits
		time.Sleep(back + c.lateness())
		if lostBack || c.isCut() {
			return
		}
		answer <- result{stored, err}
	}()
	select {
	case r := <-answer:
		return r.lease, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *client) Watch(ctx context.Context, seen func(*coordv1.Lease)) {
	for ctx.Err() == nil {
		late, _ := c.delay(0)
		select {
		case <-ctx.Done():
			return
		case <-time.After(late):
		}
		if c.isCut() {
			continue
		}
		c.fakeAPI.mu.Lock()
		now, changed := Absent(strconv.Itoa(c.version)), c.changed
		if c.lease != nil {
			now = c.lease.DeepCopy()
		}
		c.fakeAPI.mu.Unlock()
		seen(now)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// forbidding is an API whose Lease may not be read but by watching.
type forbidding struct{ *client }

func (f forbidding) Get(context.Context) (*coordv1.Lease, error) {
	return nil, apierrors.NewForbidden(resource, "l", errors.New("the role does not say get"))
}
