package bgp

import (
	"log/slog"
	"testing"
	"time"
)

// Timers that are looked at late leave time for what waits to be read, and hold
// nobody up meanwhile (invariant 2): whoever posts to the peer would wait.
func TestALateTickDoesNotWait(t *testing.T) {
	p := newPeer(&Config{Log: slog.New(slog.DiscardHandler)}, Peer{Name: "tor", MyAS: 1, PeerAS: 2, IPv4: true}, nil, nil, nil)
	p.is = p.want
	p.machine = machine{ours: p.offer, agree: p.agree, jitter: jitter}
	now := time.Now()
	p.machine.links[dialled] = link{state: OpenConfirm, until: now.Add(-2 * time.Second), terms: terms{Hold: 3 * time.Second}}
	c := &conn{}
	p.conns[dialled] = c
	p.tick(now)
	if at := p.next(); at != now.Add(readingTime) || p.machine.links[dialled].state != OpenConfirm {
		t.Fatalf("due in %s, in state %s", at.Sub(now), p.machine.links[dialled].state)
	}
	c.heard.Store(now.UnixNano()) // it was there to be read
	p.tick(now.Add(readingTime))
	if at := p.next(); !at.Equal(time.Unix(0, now.UnixNano()).Add(3*time.Second)) || p.machine.links[dialled].state != OpenConfirm {
		t.Errorf("due in %s, in state %s", at.Sub(now), p.machine.links[dialled].state)
	}
}
