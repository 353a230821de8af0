package speaker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// A node whose daemon does not answer in time may be dead, or may be short of
// CPU. Its kernel tells: it answers a TCP handshake, or refuses it, without
// waiting for any process. While it does, the node forwards what comes to it,
// its neighbours' entries stay valid, and there is time: whoever took its
// addresses now would break the connections that are being made.
const (
	doubtEvery = 100 * time.Millisecond // a node in doubt is asked again
	shakeAgain = 40 * time.Millisecond  // a handshake may get lost
	shakes     = 3
	shakeWait  = 200 * time.Millisecond // from the first try on
)

// doubt decides about a node that gossip has given up. gone is called once it
// has no kernel that answers (dead), or grace has passed (mute); not if ctx ends
// before.
func doubt(ctx context.Context, node netip.AddrPort, grace time.Duration, gone func(verdict)) {
	deadline, found := time.Now().Add(grace), mute
	for found == mute && time.Now().Before(deadline) {
		if !kernelAnswers(ctx, node) {
			found = dead
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(doubtEvery):
		}
	}
	if ctx.Err() == nil {
		gone(found)
	}
}

// kernelAnswers tries a handshake a few times, without waiting for one try to
// end before the next.
func kernelAnswers(ctx context.Context, node netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, shakeWait)
	defer cancel()
	answers := make(chan bool, shakes)
	for try := range shakes {
		go func() {
			select {
			case <-time.After(time.Duration(try) * shakeAgain):
				answers <- handshake(ctx, node)
			case <-ctx.Done():
				answers <- false
			}
		}()
	}
	for range shakes {
		if <-answers {
			return true
		}
	}
	return false
}

// handshake tells whether somebody answered: who refuses is there.
func handshake(ctx context.Context, node netip.AddrPort) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", node.String())
	if err == nil {
		c.Close()
		return true
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
