package lease

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func config(api API, who string) Config {
	return Config{
		API: api, Namespace: "n", Name: "l", Identity: who,
		Duration: 15 * time.Second, Fence: 10 * time.Second, Renew: 3 * time.Second, Retry: time.Second,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// A crowd is some copies that take part in one election.
type crowd struct {
	api     *fakeAPI
	clients []*client
	stops   []func()

	mu    sync.Mutex
	terms map[*Term]int
}

// gather starts copies; alter may change the configuration of each.
func gather(api *fakeAPI, copies int, alter func(*Config)) *crowd {
	c := &crowd{api: api, terms: map[*Term]int{}}
	for i := range copies {
		cl := &client{fakeAPI: api}
		cfg := config(cl, fmt.Sprintf("copy%d", i))
		if alter != nil {
			alter(&cfg)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := Run(ctx, cfg, func(t *Term) bool { return c.lead(i, t) }); err != nil {
				panic(err)
			}
		}()
		c.clients = append(c.clients, cl)
		c.stops = append(c.stops, func() { cancel(); <-ended })
	}
	return c
}

func (c *crowd) lead(i int, t *Term) bool {
	c.mu.Lock()
	c.terms[t] = i
	c.mu.Unlock()
	<-t.Done()
	return true
}

// writers returns the copies that may have a write under way: their fence is
// ahead, whether or not their term lasts.
func (c *crowd) writers() (who []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, i := range c.terms {
		if before(time.Now(), t.Fence()) {
			who = append(who, i)
		} else {
			delete(c.terms, t)
		}
	}
	slices.Sort(who)
	return slices.Compact(who) // a copy may begin a term before the fence of its last one
}

func (c *crowd) stop() {
	for _, s := range c.stops {
		s()
	}
}

// storm lets copies and network go wrong for a while, and returns how often two
// copies could write at once.
func storm(t *testing.T, seed uint64, alter func(*Config)) (twice int) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 2))
		api := newFakeAPI(seed)
		api.slowest, api.lost = 4*time.Second, 10
		if seed%2 == 1 { // only answers are slow: the others know before the leader does
			api.slowest, api.answers = 200*time.Millisecond, 4*time.Second
		}
		c := gather(api, 3, alter)
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
			if random.IntN(300) == 0 {
				c.clients[random.IntN(len(c.clients))].setCut(random.IntN(3) > 0)
			}
			if len(c.writers()) > 1 {
				twice++
			}
			time.Sleep(50 * time.Millisecond)
		}
		c.stop()
		time.Sleep(time.Minute) // what is still on its way arrives
	})
	return twice
}

// tight leaves no margin between fence and duration: what is left is the rule
// that the fence is counted from the sending.
func tight(c *Config) { c.Fence = c.Duration - time.Millisecond }

// Invariants 1 and 4.
func TestNeverTwoWritersAtOnce(t *testing.T) {
	for seed := range uint64(12) {
		if n := storm(t, seed, nil); n > 0 {
			t.Fatalf("seed %d: %d times two copies could write", seed, n)
		}
		if n := storm(t, seed, tight); n > 0 {
			t.Fatalf("seed %d, no margin: %d times two copies could write", seed, n)
		}
	}
}

// slowAnswer has a leader learn of its renewal four seconds after the others did, and
// then cuts it off. It tells for how long two copies could write at once.
func slowAnswer(t *testing.T, alter func(*Config)) (twice time.Duration) {
	const step, late = 10 * time.Millisecond, 4 * time.Second
	synctest.Test(t, func(t *testing.T) {
		c := gather(newFakeAPI(1), 2, alter)
		defer func() { c.stop(); time.Sleep(time.Minute) }()
		time.Sleep(2 * time.Second)
		first := c.writers()
		if len(first) != 1 {
			t.Fatalf("leaders: %v", first)
		}
		leader := c.clients[first[0]]
		leader.setLate(late)
		for was := c.api.current().ResourceVersion; c.api.current().ResourceVersion == was; {
			time.Sleep(step) // until it renews
		}
		time.Sleep(late + 100*time.Millisecond)
		leader.setCut(true)
		for range 20 * time.Second / step {
			if len(c.writers()) > 1 {
				twice += step
			}
			time.Sleep(step)
		}
		if w := c.writers(); len(w) != 1 || w[0] == first[0] {
			t.Fatalf("leaders after %v was cut off: %v", first, w)
		}
	})
	return twice
}

// Invariant 1. The checker sees: an election that counts the fence from the answer,
// as one easily writes it, is caught.
func TestNeverAFenceCountedFromTheAnswer(t *testing.T) {
	if twice := slowAnswer(t, tight); twice > 0 {
		t.Errorf("two copies could write at once for %s", twice)
	}
	wrong := func(c *Config) {
		tight(c)
		c.from = func(_, answered time.Time) time.Time { return answered }
	}
	if twice := slowAnswer(t, wrong); twice < 3*time.Second {
		t.Errorf("with a fence that is counted from the answer two copies could write at once for no more than %s", twice)
	}
}

func TestAlwaysSomebodyLeadsAfterTheLeaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(newFakeAPI(1), 3, nil)
		defer func() { c.stop(); time.Sleep(time.Minute) }()
		time.Sleep(3 * time.Second)
		first := c.writers()
		if len(first) != 1 {
			t.Fatalf("leaders: %v", first)
		}
		c.clients[first[0]].setCut(true)
		time.Sleep(10*time.Second + 100*time.Millisecond)
		if w := c.writers(); len(w) != 0 {
			t.Fatalf("after the fence still writing: %v", w)
		}
		time.Sleep(8 * time.Second)
		second := c.writers()
		if len(second) != 1 || second[0] == first[0] {
			t.Fatalf("leaders after %v was cut off: %v", first, second)
		}
	})
}

func TestReleaseLetsAnotherLeadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(newFakeAPI(2), 2, nil)
		time.Sleep(3 * time.Second)
		first := c.writers()
		if len(first) != 1 {
			t.Fatalf("leaders: %v", first)
		}
		c.stops[first[0]]()
		c.stops[first[0]] = func() {}
		time.Sleep(time.Second)
		if w := c.holders(); len(w) != 1 || w[0] == first[0] {
			t.Fatalf("leaders after %v was stopped: %v", first, w)
		}
		c.stop()
	})
}

// holders returns the copies whose term lasts.
func (c *crowd) holders() (who []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, i := range c.terms {
		if t.Held() {
			who = append(who, i)
		}
	}
	return who
}

// Invariant 3.
func TestNeverGivenBackWithWritesInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(3)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := Run(ctx, config(&client{fakeAPI: api}, "a"), func(t *Term) bool { <-t.Done(); return false }); err != nil {
				panic(err)
			}
		}()
		time.Sleep(2 * time.Second)
		cancel()
		<-ended
		if h := *api.lease.Spec.HolderIdentity; h != "a" {
			t.Fatalf("the lease was given to %q while a write was in doubt", h)
		}
	})
}

// Invariant 2, the half that a test can have: a wall clock that has passed the
// fence closes it, whatever the monotonic clock says.
func TestFenceHeedsBothClocks(t *testing.T) {
	now := time.Now()
	if before(now, now.Add(-time.Second)) || !before(now, now.Add(time.Second)) {
		t.Fatal("the fence does not follow the clock")
	}
	slept := now.Round(0).Add(time.Minute) // the wall clock alone
	if before(slept, now.Add(time.Second)) {
		t.Fatal("after a minute's sleep the fence is still open")
	}
}

func TestTermContextEndsAtTheFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := newTerm(context.Background(), time.Now().Add(3*time.Second), time.Time{})
		ctx, cancel := term.Context(10 * time.Second)
		defer cancel()
		term.end() // asked to stop: what is under way may still be answered
		time.Sleep(2 * time.Second)
		if ctx.Err() != nil {
			t.Fatal("the end of the term cut a write off before the fence")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Fatal("a write outlives the fence")
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"no identity":           func(c *Config) { c.Identity = "" },
		"duration in fractions": func(c *Config) { c.Duration += time.Millisecond },
		"fence past duration":   func(c *Config) { c.Fence = c.Duration },
		"renewal past fence":    func(c *Config) { c.Renew = c.Fence },
		"no pause":              func(c *Config) { c.Retry = 0 },
	} {
		c := config(nil, "a")
		change(&c)
		if c.Check() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}
