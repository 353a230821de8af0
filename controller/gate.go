package controller

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	gateDefault = time.Second     // the pause where the API asks for one and does not say how long
	gateLimit   = 5 * time.Minute // the longest pause that is believed
)

// A gate holds back the writes of this copy, all of them, while the API asks for
// fewer requests: until the moment that it named, and then not all at once. The
// renewal of the Lease does not pass through it.
type gate struct {
	mu    sync.Mutex
	until time.Time // with a monotonic reading
	width int       // writes that may be under way at once
}

func newGate() *gate { return &gate{width: writers} }

// heed takes note of how a write was answered. It tells whether the API asked for a
// pause: then the write is to be sent again, and nothing is wrong with it.
func (g *gate) heed(err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	pause, asked := pauseAsked(err)
	if !asked {
		if (err == nil || refused(err)) && g.width < writers && !time.Now().Before(g.until) {
			g.width++
		}
		return false
	}
	// Spread, since every copy, and every other client, was told the same.
	if until := time.Now().Add(pause + rand.N(pause/5+100*time.Millisecond)); until.After(g.until) {
		g.until = until
	}
	g.width = 1
	return true
}

// pauseAsked reads how long the API wants to be left alone.
func pauseAsked(err error) (time.Duration, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return 0, false
	}
	code := status.Status().Code
	if code != http.StatusTooManyRequests && code != http.StatusServiceUnavailable {
		return 0, false
	}
	if seconds, named := apierrors.SuggestsClientDelay(err); named && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, gateLimit), true
	}
	return gateDefault, code == http.StatusTooManyRequests
}

// open tells how long nothing may be sent yet, and how many writes may then be under
// way at once.
func (g *gate) open() (in time.Duration, width int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(time.Until(g.until), 0), g.width
}

// do sends a request when it may be sent, and again as long as the API asks for a
// pause, until the context is done. For who sends one request at a time.
func (g *gate) do(ctx context.Context, send func() error) error {
	for {
		if in, _ := g.open(); in > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(in):
			}
		}
		if err := send(); !g.heed(err) || ctx.Err() != nil {
			return err
		}
	}
}
