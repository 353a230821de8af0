package controller

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/controller/lease"
)

// publishing runs do with a publisher and a server that takes its time for each write.
func publishing(t *testing.T, takes time.Duration, do func(*publisher, *slowServer, func(service string, u urgency) *task)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := &slowServer{takes: takes}
		client := unlimited(t, server)
		leading(t, &soleLease{}, func(term *lease.Term) {
			p := newPublisher(term, quiet, newCounters())
			do(p, server, func(service string, u urgency) *task {
				w := patchTask(client, service, "1", timed)
				w.urgency = u
				return w
			})
			p.stop()
		})
	})
}

// An address does not wait behind what only conditions say, however much that is:
// its write finds a writer free.
func TestNeverAnAddressBehindConditions(t *testing.T) {
	publishing(t, 100*time.Millisecond, func(p *publisher, server *slowServer, task func(string, urgency) *task) {
		for i := range 5000 {
			p.put(task(fmt.Sprint("c", i), conditions))
		}
		for i := range 10 {
			time.Sleep(137 * time.Millisecond)
			began, took := time.Now(), time.Duration(0)
			w := task(fmt.Sprint("a", i), addresses)
			send := w.send
			w.send = func(ctx context.Context) (runtime.Object, error) {
				defer func() { took = time.Since(began) }()
				return send(ctx)
			}
			p.put(w)
			time.Sleep(101 * time.Millisecond)
			synctest.Wait()
			if took != 100*time.Millisecond {
				t.Errorf("the write of an address took %s, and 100 ms alone", took)
			}
		}
		// What waits as a condition and comes to be about an address goes before the others.
		p.put(task("c4999", conditions))
		more := task("c4999", addresses)
		more.body = "{ }"
		sent := false
		more.sent = func(runtime.Object) { sent = true }
		p.put(more)
		time.Sleep(101 * time.Millisecond)
		if synctest.Wait(); !sent {
			t.Error("what came to be about an address waits among conditions")
		}
	})
}

// While addresses come without end, conditions are written all the same, and what is
// least urgent, too.
func TestNeverAWriteThatWaitsForEver(t *testing.T) {
	publishing(t, 100*time.Millisecond, func(p *publisher, server *slowServer, task func(string, urgency) *task) {
		for i := range 400 {
			p.put(task(fmt.Sprint("a", i), addresses))
		}
		var done atomic.Int32
		watch := func(n string, u urgency) {
			w := task(n, u)
			w.sent = func(runtime.Object) { done.Add(1) }
			p.put(w)
		}
		watch("farewell", farewells)
		watch("condition", conditions)
		watch("report", reports)
		for i := range 100 {
			time.Sleep(50 * time.Millisecond)
			for j := range 16 {
				p.put(task(fmt.Sprint("b", i, "-", j), addresses))
			}
		}
		if n := done.Load(); n != 3 {
			t.Errorf("written while addresses came all the time: %d of 3", n)
		}
	})
}

// In a line it is first come, first served.
func TestWritesOfOneUrgencyGoInTheirOrder(t *testing.T) {
	var q queue
	lanes := map[int]*lane{}
	for i := range 100 {
		lanes[i] = &lane{want: &task{urgency: urgency(i % int(urgencies))}}
		q.add(target{"services", shopped(fmt.Sprint(i))}, lanes[i], time.Unix(int64(i/10), 0))
	}
	last := map[urgency]int{}
	for range 100 {
		to, l := q.take(true)
		if l == nil {
			t.Fatal("one is lost")
		}
		var i int
		fmt.Sscan(to.name.Name, &i)
		u := l.want.urgency
		if before, ok := last[u]; ok && before > i {
			t.Errorf("%d is taken after %d", i, before)
		}
		last[u] = i
	}
	if _, l := q.take(true); l != nil {
		t.Error("one is taken twice")
	}
	if q.add(target{"services", shopped("c")}, &lane{want: &task{urgency: conditions}}, time.Unix(99, 0)); true {
		if _, l := q.take(false); l != nil {
			t.Error("a condition is taken where there is no room for it")
		}
	}
}

// When the API asks for a pause, no lane writes until it is over; then not all at
// once; and nothing counts as refused.
func TestRetryAfterHoldsForAllLanes(t *testing.T) {
	for _, c := range []struct {
		code  int
		after string
		pause time.Duration
	}{{429, "7", 7 * time.Second}, {429, "", gateDefault}, {503, "3", 3 * time.Second}} {
		t.Run(fmt.Sprint(c.code, c.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked time.Time
				var sent []time.Time
				s := &shop{t: t, takes: 10 * time.Millisecond}
				s.refuse = func(r *http.Request) (int, string) {
					s.mu.Lock()
					defer s.mu.Unlock()
					if len(sent) >= 100 && asked.IsZero() {
						asked, s.most = time.Now(), 0
					}
					sent = append(sent, time.Now())
					if !asked.IsZero() && time.Since(asked) < c.pause {
						return c.code, c.after
					}
					return 0, ""
				}
				client := unlimited(t, s)
				leading(t, &soleLease{}, func(term *lease.Term) {
					var log bytes.Buffer
					p := newPublisher(term, slog.New(slog.NewTextHandler(&log, nil)), newCounters())
					for i := range 1000 {
						p.put(patchTask(client, fmt.Sprint("s", i), "1", timed))
					}
					time.Sleep(c.pause + time.Minute)
					synctest.Wait()
					for to, l := range p.lanes {
						if l.failures > 0 || l.want != nil {
							t.Errorf("%v: failures %d, wanted %v", to, l.failures, l.want)
						}
					}
					if p.stop(); strings.Count(log.String(), "\n") != 1 || strings.Contains(log.String(), "not accepted") {
						t.Errorf("said: %s", &log)
					}
				})
				var within int
				var first time.Time
				for _, at := range sent {
					if d := at.Sub(asked); d > 10*time.Millisecond && d < c.pause {
						within++
					} else if d >= c.pause && first.IsZero() {
						first = at
					}
				}
				if within > 0 {
					t.Errorf("%d writes were sent in the pause", within)
				}
				count := func(from, to time.Duration) (n int) {
					for _, at := range sent {
						if d := at.Sub(first); d >= from && d < to {
							n++
						}
					}
					return n
				}
				if a, b := count(0, 10*time.Millisecond), count(20*time.Millisecond, 30*time.Millisecond); a != 1 || b < 2 || b > 6 {
					t.Errorf("after the pause %d are sent at once, then %d", a, b)
				}
				if n := count(0, time.Hour); n < 850 || n > 1000 {
					t.Errorf("%d are sent after the pause", n)
				}
			})
		})
	}
}

// stepped is a term whose fence the wall clock has passed for a while, by a step.
type stepped struct {
	*lease.Term
	past atomic.Bool
}

func (s *stepped) Held() bool { return !s.past.Load() && s.Term.Held() }

// What may not be sent while a clock is wrong is sent when it is right again, without
// any other news.
func TestWhatAStepOfTheClockStoppedComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &slowServer{takes: 10 * time.Millisecond}
		client := unlimited(t, server)
		leading(t, &soleLease{}, func(term *lease.Term) {
			fence := &stepped{Term: term}
			fence.past.Store(true)
			p := newPublisher(fence, quiet, newCounters())
			p.put(patchTask(client, "a", "1", timed))
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := len(server.applied); n != 0 {
				t.Errorf("sent %d times past the fence", n)
			}
			fence.past.Store(false)
			time.Sleep(2 * fencedPause)
			synctest.Wait()
			if n := len(server.applied); n != 1 {
				t.Errorf("sent %d times within it", n)
			}
			if !p.stop() {
				t.Error("a doubt is left")
			}
		})
	})
}

// unlimited returns a client that does not hold requests back by itself.
func unlimited(t testing.TB, transport http.RoundTripper) rest.Interface {
	t.Helper()
	c, err := clientFor(&rest.Config{Host: "http://api", QPS: -1}, &http.Client{Transport: transport}, corev1.SchemeGroupVersion, "/api", true)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An address does not wait until what matters less, and is refused, is tried again.
func TestNeverAnAddressBehindWhatIsRefused(t *testing.T) {
	publishing(t, 0, func(p *publisher, _ *slowServer, _ func(string, urgency) *task) {
		to, tries := target{"services", shopped("a")}, 0
		p.put(&task{to: to, version: "1", body: "an annotation that has no room", urgency: reports, send: func(context.Context) (runtime.Object, error) {
			tries++
			return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "a", nil)
		}})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if tries < 8 || tries > 16 {
			t.Errorf("tried %d times within ten minutes", tries)
		}
		for _, u := range []urgency{conditions, addresses} {
			sent := false
			p.put(&task{to: to, version: "1", body: fmt.Sprint(u), urgency: u, send: func(context.Context) (runtime.Object, error) {
				sent = true
				return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "a", nil)
			}})
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if !sent {
				t.Errorf("a write of urgency %d waits", u)
			}
		}
	})
}

// An annotation by itself can wait for everything else.
func TestAnnotationAloneIsNotUrgent(t *testing.T) {
	d := held("192.0.2.1")
	in := from[corev1.Service](t, fullService)
	p, conditionsOnly := difference(t, in, d, none, noon)
	if u, _ := importance(serviceOf(in, ""), d, &p, conditionsOnly); u != addresses {
		t.Errorf("an address has urgency %d", u)
	}
	in = apply(t, in, p)
	delete(in.Annotations, fromPoolAnnotation)
	p, conditionsOnly = difference(t, in, d, none, noon)
	if u, _ := importance(serviceOf(in, ""), d, &p, conditionsOnly); p.empty() || u != reports {
		t.Errorf("%s has urgency %d", text(t, p), u)
	}
}
