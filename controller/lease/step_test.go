package lease

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// put changes what the wall clock is at as a Term sees it, by so much.
func (t *Term) put(forward time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wall = t.wall.Add(-forward)
}

// stepping leads once, and has do look at the term with the API.
func stepping(t *testing.T, do func(*Term, *client)) {
	synctest.Test(t, func(t *testing.T) {
		cl := &client{fakeAPI: newFakeAPI(1)}
		ctx, cancel := context.WithCancel(t.Context())
		if err := Run(ctx, config(cl, "a"), func(term *Term) bool {
			do(term, cl)
			cancel()
			<-term.Done()
			return true
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
	})
}

// Invariant 2: a wall clock that is put forward past the fence closes it, since the
// machine may have slept; the lease is renewed at once, and the term goes on.
func TestWallClockPutForwardPastTheFence(t *testing.T) {
	stepping(t, func(term *Term, cl *client) {
		time.Sleep(time.Second)
		was := cl.current().ResourceVersion
		term.put(time.Minute)
		if term.Held() {
			t.Error("held though the wall clock has passed the fence")
		}
		time.Sleep(100 * time.Millisecond)
		if !term.Held() || cl.current().ResourceVersion == was {
			t.Error("not renewed at once")
		}
		if term.ctx.Err() != nil {
			t.Error("the term has ended for a clock that was set")
		}
	})
}

// The machine has slept, and another copy has taken the lease.
func TestNeverHeldAgainAfterASleepInWhichAnotherTookTheLease(t *testing.T) {
	stepping(t, func(term *Term, cl *client) {
		time.Sleep(time.Second)
		cl.setCut(true) // what the watch would show is late
		l, other := cl.current(), "other"
		l.Spec.HolderIdentity = &other
		if _, err := cl.set(l); err != nil {
			t.Fatal(err)
		}
		term.put(time.Minute)
		term.Held()
		cl.setCut(false)
		for range 1000 {
			if term.Held() {
				t.Fatal("held again though another copy has the lease")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if term.ctx.Err() == nil {
			t.Error("the term has not ended")
		}
	})
}

// A wall clock that is put back, or forward by less than is left, changes nothing.
func TestSmallStepsOfTheWallClockChangeNothing(t *testing.T) {
	stepping(t, func(term *Term, _ *client) {
		for _, forward := range []time.Duration{5 * time.Second, -time.Hour} {
			term.put(forward)
			for range 400 {
				if !term.Held() {
					t.Fatalf("after a step of %s the term is not held", forward)
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
	})
}
