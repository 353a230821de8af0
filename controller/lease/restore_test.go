package lease

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
)

// Invariant 5: the API's storage goes back to an older state. Whoever leads is found
// soon, two never write at once, and every copy that tried or was shown the older
// lease says it once.
func TestAlwaysSomebodyLeadsAfterTheStorageWentBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		holder func(leader, other string) string // in the backup; "": nobody, "-": there is no lease
		within time.Duration
		same   bool // the leader goes on
	}{
		{"the leader leads in the backup", func(leader, _ string) string { return leader }, 5 * time.Second, true},
		{"another copy does", func(_, other string) string { return other }, 16 * time.Second, false},
		{"a process that is no more does", func(_, _ string) string { return "gone" }, 20 * time.Second, false},
		{"nobody does", func(_, _ string) string { return "" }, 16 * time.Second, false},
		{"there was no lease", func(_, _ string) string { return "-" }, 16 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told atomic.Int64
				crowd := gather(newFakeAPI(1), 3, func(cfg *Config) { cfg.Restored = func(_, _ string) { told.Add(1) } })
				defer func() { crowd.stop(); time.Sleep(time.Minute) }()
				time.Sleep(2 * time.Second)
				first := crowd.holders()
				if len(first) != 1 {
					t.Fatalf("leaders: %v", first)
				}
				var backup *coordv1.Lease
				if h := c.holder(fmt.Sprintf("copy%d", first[0]), fmt.Sprintf("copy%d", (first[0]+1)%3)); h != "-" {
					backup = crowd.api.current()
					backup.Spec.HolderIdentity = &h
				}
				time.Sleep(time.Minute) // many renewals
				crowd.api.restore(backup)
				began := time.Now()
				for time.Since(began) < c.within {
					if w := crowd.writers(); len(w) > 1 {
						t.Fatalf("%s after: two can write: %v", time.Since(began), w)
					}
					time.Sleep(10 * time.Millisecond)
				}
				last := crowd.holders()
				if len(last) != 1 {
					t.Fatalf("%s after: leaders: %v", c.within, last)
				}
				if (last[0] == first[0]) != c.same && c.same {
					t.Errorf("copy%d led, and copy%d does", first[0], last[0])
				}
				time.Sleep(time.Minute)
				if now := crowd.holders(); len(now) != 1 || now[0] != last[0] {
					t.Errorf("a minute later: %v, after %v", now, last)
				}
				if n := told.Load(); backup != nil && (n < 1 || n > 3) {
					t.Errorf("told %d times by three copies", n)
				}
			})
		})
	}
}

// Invariant 5: with a backup in which a copy leads that has seen another lead since,
// that one waits until the other can write no more.
func TestNeverTakesWhatAnOlderLeaseSaysWhileAnotherMayWrite(t *testing.T) {
	var v view
	now := time.Now()
	mine, theirs := lease("me", "5"), lease("them", "9")
	v.see(mine, "me", now)
	v.see(theirs, "me", now.Add(time.Second))
	if !v.read(mine, "me", now.Add(3*time.Second)) {
		t.Fatal("an older lease that was read is not taken for one")
	}
	if at, ok := v.free("me"); !ok || at != now.Add(16*time.Second) {
		t.Errorf("may be taken after %s, and the other may write until 16 s", at.Sub(now))
	}
	if v.read(mine, "me", now.Add(4*time.Second)) {
		t.Error("what is as it was is taken for older")
	}
	if v.see(lease("them", "4"), "me", now) != true || v.holder() != "me" {
		t.Error("an older lease that was only watched counts")
	}
}

// A lease that is deleted under its holder is not taken before that one can have no
// write under way; who held it takes it at once.
func TestNeverTakesADeletedLeaseWhileItsHolderMayWrite(t *testing.T) {
	for me, want := range map[string]time.Duration{"them": 5 * time.Second, "other": 15 * time.Second} {
		var v view
		now := time.Now()
		v.see(lease("them", "5"), me, now)
		v.see(Absent("6"), me, now.Add(5*time.Second))
		if at, ok := v.free(me); !ok || at.Sub(now) != want {
			t.Errorf("%s may take the deleted lease after %s", me, at.Sub(now))
		}
	}
}

func lease(holder, version string) *coordv1.Lease {
	l := &coordv1.Lease{}
	l.Name, l.ResourceVersion, l.Spec.HolderIdentity = "l", version, &holder
	return l
}

// A lease that may not be read, as with an older version's role, is taken by what
// is watched.
func TestTakesALeaseThatMayOnlyBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(1)
		cl := &client{fakeAPI: api}
		ctx, cancel := context.WithCancel(t.Context())
		led := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Run(ctx, config(forbidding{cl}, "a"), func(term *Term) bool { close(led); <-term.Done(); return true })
		}()
		cl.setCut(true) // the first attempt fails
		time.Sleep(20 * time.Second)
		cl.setCut(false)
		time.Sleep(5 * time.Second)
		select {
		case <-led:
		default:
			t.Error("nobody leads")
		}
		cancel()
		<-ended
		time.Sleep(time.Minute)
	})
}

// LedSince is carried over from term to term, unless there was a pause.
func TestLedSinceIsCarriedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(1)
		began := time.Now()
		var held int
		// term leads for a minute, with a clock that is off, and returns since when.
		term := func(off time.Duration) time.Duration {
			held++
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := config(&client{fakeAPI: api}, fmt.Sprint("copy", held))
			c.Now = func() time.Time { return time.Now().Add(off) }
			var since time.Time
			if err := Run(ctx, c, func(term *Term) bool {
				since = term.LedSince()
				time.Sleep(time.Minute)
				cancel()
				<-term.Done()
				return true
			}); err != nil {
				t.Fatal(err)
			}
			return since.Sub(began)
		}
		near := func(what string, got, want time.Duration) {
			t.Helper()
			if got < want-time.Millisecond || got > want+2*time.Second {
				t.Errorf("%s: led since %s, want %s", what, got, want)
			}
		}
		passed := func() time.Duration { return time.Since(began) }
		near("first ever", term(0), 0)
		near("handed over", term(0), 0)
		time.Sleep(29 * time.Second) // not longer than two lease durations
		near("after a short pause", term(0), 0)
		time.Sleep(31 * time.Second)
		at := passed()
		near("after a pause", term(0), at)
		annotate := func(text string) {
			l := api.current()
			l.Annotations[LedSince] = text
			if _, err := api.set(l); err != nil {
				t.Fatal(err)
			}
		}
		annotate("yesterday")
		at = passed()
		near("unreadable", term(0), at)
		annotate(time.Now().Add(time.Hour).Format(time.RFC3339Nano))
		at = passed()
		near("in the future", term(0), at)
		near("carried over again", term(0), at)
		api.restore(nil)
		at = passed()
		near("deleted", term(0), at)
		time.Sleep(time.Minute)
	})
}
