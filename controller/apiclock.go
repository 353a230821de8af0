package controller

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// An apiClock is the clock of the API server, as far as its answers tell: this
// machine's monotonic clock, set by the Date header. Times that another copy will
// read are written by it, so that it does not matter how this machine's own clock
// is set. Before any answer it is this machine's.
//
// The header has whole seconds: an answer says that the API's clock was at Date,
// or up to a second later, at some moment between request and answer. That bounds
// the offset from below and from above, and answers that agree narrow it further.
// The bounds give way with time, since no two clocks run alike. An answer that
// contradicts them is from another API server, or one whose clock was put right:
// it begins them anew, so the offset jumps. A [termClock] does not.
type apiClock struct {
	local func() time.Time // this machine's clock, with monotonic readings
	began time.Time        // by it

	mu        sync.Mutex
	known     bool
	low, high time.Duration // bounds of the API's clock minus ours, as of at
	at        time.Time
}

// drift is how fast two clocks may part: what a clock that is being put right by
// NTP runs off at most.
const drift = 500 // parts in a million

func newAPIClock() *apiClock { return &apiClock{local: time.Now, began: time.Now()} }

// ours is this machine's clock as it was set at the beginning: what became of its
// setting since does not count.
func (c *apiClock) ours(at time.Time) time.Time { return c.began.Round(0).Add(at.Sub(c.began)) }

// Now returns the API's time. It is right within half a second, and half the
// time that the fastest answer took.
func (c *apiClock) Now() time.Time {
	now := c.local()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return now.Round(0)
	}
	return c.ours(now).Add(c.low + (c.high-c.low)/2)
}

// learn takes what an answer said that was asked for at sent and came at received.
func (c *apiClock) learn(date, sent, received time.Time) {
	low, high := date.Sub(c.ours(received)), date.Add(time.Second).Sub(c.ours(sent))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known {
		give := received.Sub(c.at) * drift / 1e6
		c.low, c.high = max(c.low-give, low), min(c.high+give, high)
	}
	if !c.known || c.low > c.high {
		c.low, c.high = low, high
	}
	c.known, c.at = true, received
}

// heard returns a configuration of clients from whose answers the clock learns.
func (c *apiClock) heard(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return listening{c, next} })
	return config
}

type listening struct {
	clock *apiClock
	next  http.RoundTripper
}

func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := l.clock.local()
	answer, err := l.next.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	// An error may be a proxy's, with its own clock, and so may what has an age.
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil && answer.StatusCode < 500 && answer.Header.Get("Age") == "" {
		l.clock.learn(date, sent, l.clock.local())
	}
	return answer, nil
}

// A termClock is the API's clock for the length of a term, in which it neither
// jumps nor goes back. When the offset is corrected meanwhile, by another API
// server or because the API server's clock was put right, it goes on from where it
// was and runs a little faster or slower until it agrees: whatever time is measured
// by it, such as one that a Service has to settle, is then off by no more than that
// little, and not by the whole correction. The next term begins at the API's time as
// it is then.
type termClock struct {
	api *apiClock

	mu  sync.Mutex
	now time.Time // what it showed last
	at  time.Time // when that was, with a monotonic reading
}

// slew is how much faster or slower a termClock runs to be put right: one part in it.
const slew = 20

func newTermClock(api *apiClock) *termClock {
	return &termClock{api: api, now: api.Now(), at: time.Now()}
}

// Now returns the API's time, or one on the way to it.
func (c *termClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now()
	passed := at.Sub(c.at)
	c.at = at
	off := c.api.Now().Sub(c.now.Add(passed))
	most := passed / slew
	c.now = c.now.Add(passed + min(max(off, -most), most))
	return c.now
}

// WrappedRoundTripper returns what answers come from.
func (l listening) WrappedRoundTripper() http.RoundTripper { return l.next }
