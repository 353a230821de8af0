package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/controller/lease"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// slowServer is an API server as seen by one client, without a network: it takes
// its time for every request, does not notice that a client has gone, and gives a
// request up only when the time limit in its URL is over.
type slowServer struct {
	mu      sync.Mutex
	takes   time.Duration
	answer  func(*http.Request) (int, string)
	applied []time.Time
	bodies  []string
}

func (s *slowServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	takes := s.takes
	s.mu.Unlock()
	limit := time.Minute
	if text := r.URL.Query().Get("timeout"); text != "" {
		limit, _ = time.ParseDuration(text)
	}
	done := make(chan *http.Response, 1)
	go func() {
		time.Sleep(min(takes, limit))
		code, text := http.StatusGatewayTimeout, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":504}`
		if takes < limit {
			code, text = http.StatusOK, `{"kind":"Service","apiVersion":"v1","metadata":{"name":"a","namespace":"default","resourceVersion":"9"}}`
			if s.answer != nil {
				code, text = s.answer(r)
			}
			if code == http.StatusOK {
				s.mu.Lock()
				s.applied = append(s.applied, time.Now())
				s.bodies = append(s.bodies, string(body))
				s.mu.Unlock()
			}
		}
		done <- &http.Response{
			StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewBufferString(text)), Request: r,
		}
	}()
	select {
	case a := <-done:
		return a, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func (s *slowServer) client(t *testing.T) rest.Interface {
	t.Helper()
	c, err := clientFor(&rest.Config{Host: "http://api"}, &http.Client{Transport: s}, corev1.SchemeGroupVersion, "/api", true)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// soleLease is a Lease that only we write, until it is cut off.
type soleLease struct {
	mu   sync.Mutex
	cut  bool
	n    int
	last *coordv1.Lease
}

func (l *soleLease) setCut(cut bool) { l.mu.Lock(); defer l.mu.Unlock(); l.cut = cut }

func (l *soleLease) Get(context.Context) (*coordv1.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("no route to host")
	}
	return l.last, nil
}

func (l *soleLease) Create(ctx context.Context, in *coordv1.Lease) (*coordv1.Lease, error) {
	return l.Update(ctx, in)
}

func (l *soleLease) Update(_ context.Context, in *coordv1.Lease) (*coordv1.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("no route to host")
	}
	l.n++
	out := in.DeepCopy()
	out.ResourceVersion = fmt.Sprint(100 + l.n)
	l.last = out
	return out, nil
}

func (l *soleLease) Watch(ctx context.Context, seen func(*coordv1.Lease)) {
	seen(lease.Absent("1"))
	<-ctx.Done()
}

// leading runs do in a term.
func leading(t *testing.T, api *soleLease, do func(*lease.Term)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	once := sync.Once{}
	err := lease.Run(ctx, lease.Config{
		API: api, Namespace: "n", Name: "l", Identity: "me", Log: quiet,
		Duration: 15 * time.Second, Fence: 10 * time.Second, Renew: 3 * time.Second, Retry: time.Second,
	}, func(term *lease.Term) bool {
		once.Do(func() { do(term); cancel() })
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

func patchTask(client rest.Interface, service, version string, timed func(context.Context, *rest.Request) *rest.Request) *task {
	return &task{
		to: target{"services", name{Namespace: "default", Name: service}}, version: version, body: "{}",
		send: func(ctx context.Context) (runtime.Object, error) {
			return timed(ctx, client.Patch(types.MergePatchType)).Namespace("default").Resource("services").
				Name(service).SubResource("status").Body([]byte("{}")).Do(ctx).Get()
		},
		sent: func(runtime.Object) {},
	}
}

// lateWrites cuts a leader off from its Lease, and has it write all the time to a
// server that takes three seconds for each; it returns how many writes took
// effect after the fence.
func lateWrites(t *testing.T, timed func(context.Context, *rest.Request) *rest.Request) (late, all int) {
	synctest.Test(t, func(t *testing.T) {
		api, server := &soleLease{}, &slowServer{takes: 3 * time.Second}
		client := server.client(t)
		var fence time.Time
		leading(t, api, func(term *lease.Term) {
			p := newPublisher(term, quiet, newCounters())
			api.setCut(true)
			for i := range 100 {
				p.put(patchTask(client, fmt.Sprint("s", i), "1", timed))
				time.Sleep(150 * time.Millisecond)
			}
			p.stop()
			fence = term.Fence()
		})
		time.Sleep(time.Minute)
		server.mu.Lock()
		defer server.mu.Unlock()
		all = len(server.applied)
		for _, at := range server.applied {
			if at.After(fence) {
				late++
			}
		}
	})
	return late, all
}

// Invariant 3: a copy that lost the lease writes nothing more, even with a write
// in flight.
func TestNeverAWriteAfterTheFence(t *testing.T) {
	late, all := lateWrites(t, timed)
	if late > 0 || all == 0 {
		t.Fatalf("%d of %d writes took effect after the fence", late, all)
	}
}

// The test above sees: a client that only gives up waiting leaves its writes to
// the server.
func TestNeverAWriteAfterTheFenceSeesWritesLeftBehind(t *testing.T) {
	late, _ := lateWrites(t, func(_ context.Context, r *rest.Request) *rest.Request { return r })
	if late == 0 {
		t.Fatal("writes that the server carries out after the fence went unnoticed")
	}
}

func TestConflictEndsATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sends atomic.Int64
		server := &slowServer{answer: func(*http.Request) (int, string) {
			sends.Add(1)
			return http.StatusConflict, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`
		}}
		client := server.client(t)
		leading(t, &soleLease{}, func(term *lease.Term) {
			p := newPublisher(term, quiet, newCounters())
			p.put(patchTask(client, "a", "1", timed))
			time.Sleep(time.Minute)
			if n := sends.Load(); n != 1 {
				t.Errorf("a write that met a conflict was sent %d times", n)
			}
			p.put(patchTask(client, "a", "2", timed)) // what the watch brought in between
			time.Sleep(time.Second)
			if n := sends.Load(); n != 2 {
				t.Errorf("the next version was not written: %d sent", n)
			}
			if !p.stop() {
				t.Error("a conflict leaves no doubt")
			}
		})
	})
}

// Invariant 7.
func TestBadObjectNeverStopsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := map[string][]time.Time{}
		var mu sync.Mutex
		server := &slowServer{answer: func(r *http.Request) (int, string) {
			mu.Lock()
			defer mu.Unlock()
			tries[r.URL.Path] = append(tries[r.URL.Path], time.Now())
			if r.URL.Path == "/api/v1/namespaces/default/services/bad/status" {
				return http.StatusUnprocessableEntity, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`
			}
			return http.StatusOK, `{"kind":"Service","apiVersion":"v1","metadata":{"name":"a"}}`
		}}
		client := server.client(t)
		leading(t, &soleLease{}, func(term *lease.Term) {
			p := newPublisher(term, quiet, newCounters())
			p.put(patchTask(client, "bad", "1", timed))
			time.Sleep(time.Minute)
			p.put(patchTask(client, "good", "1", timed))
			time.Sleep(time.Second)
			p.stop()
		})
		if n := len(tries["/api/v1/namespaces/default/services/good/status"]); n != 1 {
			t.Errorf("the good one was written %d times", n)
		}
		if n := len(tries["/api/v1/namespaces/default/services/bad/status"]); n < 8 || n > 20 {
			t.Errorf("the bad one was tried %d times in a minute", n)
		}
	})
}

// Invariant 6, the publisher's half.
func TestLostAnswerLeavesADoubtUntilSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &slowServer{takes: time.Hour}
		client := server.client(t)
		leading(t, &soleLease{}, func(term *lease.Term) {
			p := newPublisher(term, quiet, newCounters())
			w := patchTask(client, "a", "1", timed)
			w.takes = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
			p.put(w)
			time.Sleep(12 * time.Second)
			if d := p.doubtful(time.Now()); len(d) == 0 || d[0].to.name.Name != "a" {
				t.Errorf("no doubt about a write that was never answered: %v", d)
			}
			server.mu.Lock()
			server.takes = time.Millisecond
			server.mu.Unlock()
			time.Sleep(12 * time.Second)
			if d := p.doubtful(time.Now()); len(d) != 0 {
				t.Errorf("a doubt is left after a success: %v", d)
			}
			if !p.stop() {
				t.Error("not settled after all was answered")
			}
		})
	})
}

func TestLazyTasksAreOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &slowServer{}
		client := server.client(t)
		leading(t, &soleLease{}, func(term *lease.Term) {
			p := newPublisher(term, quiet, newCounters())
			for i := range 20 {
				w := patchTask(client, "a", "1", timed)
				w.lazy, w.body = conditionPause, fmt.Sprint(i)
				p.put(w)
				time.Sleep(conditionPause / 25)
			}
			time.Sleep(2 * conditionPause)
			p.stop()
		})
		if len(server.applied) != 1 {
			t.Fatalf("%d writes for what flapped within the pause", len(server.applied))
		}
	})
}
