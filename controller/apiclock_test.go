package controller

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// ask has the clock learn from an answer of a server whose clock is off by so much.
func ask(c *apiClock, off, takes time.Duration) {
	sent := time.Now()
	time.Sleep(takes / 3)
	date := time.Now().Add(off).Truncate(time.Second)
	time.Sleep(takes - takes/3)
	c.learn(date, sent, time.Now())
}

// The clock is never off by more than the header's resolution, be it at first or
// after the server's clock was put right; many answers make it better.
func TestNeverAnAPIClockThatIsOffByMoreThanTheHeader(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			c := newAPIClock()
			if d := time.Since(c.Now()); d != 0 {
				t.Fatalf("before any answer it is off by %s", d)
			}
			off := time.Duration(random.Int64N(int64(time.Hour))) - 30*time.Minute
			for i := range 400 {
				if i == 200 { // the server's clock is put right, or it is another server
					off -= time.Duration(random.Int64N(int64(time.Minute)))
				}
				takes := time.Duration(random.Int64N(int64(100 * time.Millisecond)))
				ask(c, off, takes)
				wrong, most := c.Now().Sub(time.Now().Add(off)).Abs(), 500*time.Millisecond+takes
				if i >= 200 && i < 210 {
					most = time.Second + takes // a small step need not contradict at once
				}
				if i%200 > 190 {
					most = 200 * time.Millisecond
				}
				if wrong > most {
					t.Fatalf("seed %d: after %d answers off by %s", seed, i+1, wrong)
				}
				time.Sleep(time.Duration(random.Int64N(int64(3 * time.Second))))
			}
		})
	}
}

// In a term the clock neither jumps nor goes back, whatever becomes of the offset,
// and in the end it agrees.
func TestNeverATermClockThatJumps(t *testing.T) {
	for _, step := range []time.Duration{30 * time.Second, -30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			api := newAPIClock()
			ask(api, 0, time.Millisecond)
			c := newTermClock(api)
			ask(api, step, time.Millisecond)
			before := c.Now()
			for range 15 * 60 {
				time.Sleep(time.Second)
				now := c.Now()
				if d := now.Sub(before); d < 900*time.Millisecond || d > 1100*time.Millisecond {
					t.Fatalf("in a second it ran %s", d)
				}
				before = now
			}
			if off := c.Now().Sub(api.Now()); off != 0 {
				t.Errorf("a quarter of an hour after a step of %s it is off by %s", step, off)
			}
		})
	}
}

// Two leaders, one after the other, whose own clocks are half a minute apart: what
// is in flight neither ends early nor is stretched by that. The same leaders by their
// own clocks are caught.
func TestNextLeaderWithAnotherClockCarriesOn(t *testing.T) {
	for _, off := range []time.Duration{30 * time.Second, -30 * time.Second} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			if took := settled(t, off, true); took < 29*time.Second || took > 31*time.Second {
				t.Errorf("what must settle for 30 s has moved after %s", took)
			}
			if took := settled(t, off, false); took > 25*time.Second && took < 35*time.Second {
				t.Errorf("by the leaders' own clocks it has moved after %s: this test does not see", took)
			}
		})
	}
}

// settled lets one copy see that a pool was deleted, and another one, which comes
// after it, end what was begun. It returns how long the Service has kept its address.
// Unless dated, the API server does not tell the time, so that they go by their own clocks.
func settled(t *testing.T, off time.Duration, dated bool) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI()
		api.dateless = !dated
		api.apply(t, manifest+second+serviceManifest("a", "node1"))
		one := start(t, api, "node1")
		within(t, 5*time.Second, "an address", func() bool { return api.addresses("a") == "192.0.2.0" })
		api.remove("ipaddresspools/holdfast-system/p")
		began := time.Now()
		time.Sleep(10 * time.Second)
		one.stop()
		two := prepare(t, api, "node2", off)
		two.start(t)
		defer two.stop()
		within(t, 2*time.Minute, "the move", func() bool { return api.addresses("a") != "192.0.2.0" })
		took = time.Since(began)
	})
	return took
}

const second = `
kind: IPAddressPool
apiVersion: metallb.io/v1beta1
metadata: {name: q, namespace: holdfast-system}
spec: {addresses: [198.51.100.0/24]}
---
`

// What need not be the API server's is not learnt from.
func TestAPIClockLearnsFromTheAPIServerOnly(t *testing.T) {
	for what, answer := range map[string]http.Response{
		"a proxy that cannot reach it": {StatusCode: 502, Header: http.Header{"Date": {"Mon, 01 Jan 2035 00:00:00 GMT"}}},
		"a cache":                      {StatusCode: 200, Header: http.Header{"Date": {"Mon, 01 Jan 2035 00:00:00 GMT"}, "Age": {"7"}}},
		"no date":                      {StatusCode: 200, Header: http.Header{}},
		"nonsense":                     {StatusCode: 200, Header: http.Header{"Date": {"today"}}},
	} {
		c := newAPIClock()
		l := listening{c, answering{&answer}}
		if _, err := l.RoundTrip(&http.Request{}); err != nil || c.known {
			t.Errorf("%s: learnt from it (%v)", what, err)
		}
	}
}

type answering struct{ answer *http.Response }

func (a answering) RoundTrip(*http.Request) (*http.Response, error) { return a.answer, nil }
