package speaker

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// lookout keeps a vigil over the nodes that are in sight.
type lookout struct {
	gossip *gossip
	change chan struct{}
	life   context.Context // that of run

	mu    sync.Mutex
	nodes map[string]netip.AddrPort // in sight: where their gossip listens
	vigil *vigil
}

func newLookout(g *gossip, c Echo) *lookout {
	return &lookout{
		gossip: g, change: make(chan struct{}, 1), life: context.Background(),
		nodes: map[string]netip.AddrPort{}, vigil: newVigil(c),
	}
}

// joined and left keep account of the nodes in sight.
func (l *lookout) joined(node string, at netip.AddrPort) {
	l.mu.Lock()
	l.nodes[node] = at
	l.arrange()
	l.mu.Unlock()
}

func (l *lookout) left(node string) {
	l.mu.Lock()
	delete(l.nodes, node)
	l.vigil.forget(node)
	l.arrange()
	l.mu.Unlock()
}

// arrange chooses whom this node watches. The lock must be held.
func (l *lookout) arrange() {
	watched := map[string]netip.Addr{}
	for _, node := range ring(l.gossip.speaker.node, slices.Collect(maps.Keys(l.nodes))) {
		watched[node] = l.nodes[node].Addr()
	}
	l.vigil.watch(watched)
	l.wake()
}

func (l *lookout) wake() {
	select {
	case l.change <- struct{}{}:
	default:
	}
}

// rouse looks at a node that another one suspects.
func (l *lookout) rouse(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, known := l.nodes[node]; known {
		l.vigil.rouse(time.Now(), node, at.Addr())
		l.wake()
	}
}

// run keeps watch until ctx ends.
func (l *lookout) run(ctx context.Context) {
	e, err := openEchoer()
	if err != nil {
		l.gossip.speaker.log.Warn("no ICMP: that a node is dead will be noticed by gossip alone, which takes longer", "err", err)
		return
	}
	defer e.close()
	l.mu.Lock()
	l.life = ctx
	l.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.change:
		case <-timer.C:
		}
		if next := l.turn(e); next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

// turn takes in what has been answered, judges, and asks.
func (l *lookout) turn(e *echoer) (next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, addr := range e.collect() {
		for _, node := range l.vigil.echoed(addr) {
			l.gossip.risen(node)
		}
	}
	now := time.Now()
	o := l.vigil.tick(now)
	for _, addr := range o.ask {
		if err := e.ask(addr); err != nil {
			l.vigil.unsent(addr)
			l.gossip.speaker.log.Debug("sending an echo request", "address", addr, "err", err)
		}
	}
	for _, node := range o.shake {
		go l.shake(l.life, node, l.nodes[node])
	}
	for _, node := range o.suspect {
		l.gossip.suspect(node)
	}
	for _, g := range o.gone {
		l.gossip.dead(g.node, g.silent)
	}
	return o.next
}

// shake tries a node by TCP.
func (l *lookout) shake(ctx context.Context, node string, at netip.AddrPort) {
	if !at.IsValid() || !kernelAnswers(ctx, at) {
		return
	}
	l.mu.Lock()
	l.vigil.shaken(node)
	l.mu.Unlock()
}
