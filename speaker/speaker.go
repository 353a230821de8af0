// Package speaker makes this node announce its share of the addresses, and
// hands them over without silence.
//
// It decides, for every address that the allocator says may be announced
// (allocator.Place), whether this node answers for it now. It does so alone,
// from what it believes: the seats, who is alive (memberlist), who claims what
// (gossip), what is heard on the wire, and whether its own data path serves.
//
// # Invariants
//
//  1. A planned move has no silence. A node stops answering only when somebody
//     else does: that one's newer claim has come, or it has been heard on the
//     wire. If nobody can take an address, its last owner answers to the end of
//     its process. (When nobody may announce it any more, it stops at once.)
//  2. Narrow at once: a node that is due and serves announces in the moment in
//     which it learns that it is due.
//  3. Widen late: while somebody answers, a newly eligible node waits until its
//     data path serves: health ports answer 200, or the dwell time has passed. A
//     node that has been eligible all along does not wait. If who answers is not
//     eligible, a node that is due waits for the dwell time at most.
//  4. No change of owner without a cause. A node that comes back takes nothing
//     back; only a greater weight (an operator's preference) outdoes who answers.
//  5. Nobody waits for the dead. What a node claimed is void when it is out of
//     sight and its kernel does not answer, or Gossip.Grace has passed, and the
//     next in the rank announces at once. A node that is due and
//     does not come is passed over: after 0.7 s where nobody answers, after the
//     dwell time and one second where somebody does who should not.
//  6. Two claims do not last: the greater epoch stays, and every claim exceeds
//     the epochs that its maker knew. Where nodes do not hear each other's
//     gossip, the wire decides (see below).
//  7. Nothing here asks the API server: without it the seats stay as they are,
//     and nodes still take over from each other. Of two nodes that disagree on
//     who is eligible, the one that learnt of it later is right.
//
// # A node that is cut off
//
// A node that has just started looks around before it announces what nobody
// seems to announce: until every peer has told its claims, at most Times.Start.
//
// A node that sees no majority of the nodes that there should be may be the one
// that is cut off from gossip, and still be heard on the segment. It takes what
// nobody in its sight answers for, since the others may be dead; but if another
// station then announces the address, the wire decides as in RFC 5227 §2.4: who
// came later gives way at once, who was there before defends itself once, and
// who sees a majority stays. Who gave way tries again after 10 s, 20 s, ... 5
// min, or when it sees a majority. So a node with a wrong key, or none, works
// alone without harm.
//
// # Left to others
//
// Which nodes are candidates, and their rank (allocator); frames (layer2); the
// API (controller).
package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
)

// Config is what a Speaker is made of. Node is required.
type Config struct {
	// Node is the name of this node.
	Node string
	// Log gets what changes in the world at Info. Nil discards.
	Log *slog.Logger
	// Exclude is layer2.Config.Exclude.
	Exclude []*regexp.Regexp
	// Times are the durations of hand-over.
	Times Times
	// Gossip is how nodes find each other and notice that one is gone.
	Gossip Gossip
	// Assigned, if set, is told when this node begins to answer for an address,
	// with the Services on it, and when Services join one that it answers for.
	// It must not block.
	Assigned func(addr netip.Addr, services []allocator.ServiceName)
	// Stranded, if set, is told when this node is to answer for an address and
	// has no interface for it that is up: none of those that the advertisements
	// name, or none at all if that list is empty. It must not block.
	Stranded func(addr netip.Addr, services []allocator.ServiceName, interfaces []string)
	// Wire, if set, replaces layer2.New. The announcements that layer2 would
	// report must be reported through the given Config.
	Wire func(layer2.Config) Wire
}

// Wire answers for addresses: a layer2.Announcer, or a stand-in.
type Wire interface {
	Run(ctx context.Context) error
	Set(entries []layer2.Entry)
	Announce(addrs ...netip.Addr)
	Status() []layer2.Status
	Stats() layer2.Stats
}

// Speaker announces this node's share. All methods are safe for concurrent use.
type Speaker struct {
	node     string
	log      *slog.Logger
	assigned func(netip.Addr, []allocator.ServiceName)
	stranded func(netip.Addr, []allocator.ServiceName, []string)
	wire     Wire
	gossip   *gossip
	health   *health

	core *core // touched by run alone

	mu     sync.Mutex
	inputs []func(now time.Time)
	wakeup chan struct{}
	done   chan struct{}
	once   atomic.Bool

	tally tally
}

// New returns a Speaker that announces nothing. It opens nothing: Run does.
func New(c Config) *Speaker {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Speaker{
		node: c.Node, log: c.Log, assigned: c.Assigned, stranded: c.Stranded,
		core:   newCore(c.Node, uint64(time.Now().UnixNano()), c.Times),
		wakeup: make(chan struct{}, 1), done: make(chan struct{}),
	}
	open := c.Wire
	if open == nil {
		open = func(c layer2.Config) Wire { return layer2.New(c) }
	}
	s.wire = open(layer2.Config{Log: c.Log, Exclude: c.Exclude, Heard: s.heard, Announced: s.announced})
	s.gossip = newGossip(s, c.Gossip.orDefault())
	s.health = newHealth(s.healthy)
	return s
}

// Run announces until ctx ends, and then stops at once: call Yield before. It
// may be called once. The error is that of the sockets of layer2.
func (s *Speaker) Run(ctx context.Context) error {
	if s.once.Swap(true) {
		return errors.New("running a speaker: it has been run before")
	}
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	var err error
	tasks.Go(func() {
		defer cancel()
		if err = s.wire.Run(ctx); err != nil && ctx.Err() == nil {
			err = fmt.Errorf("answering on the wire: %w", err)
			return
		}
		err = nil
	})
	tasks.Go(func() { s.gossip.run(ctx) })
	tasks.Go(func() { s.health.run(ctx) })
	s.loop(ctx)
	cancel()
	close(s.done)
	tasks.Wait()
	return err
}

// Set takes in what changed in the placement. It does not wait.
func (s *Speaker) Set(p allocator.Placement) {
	s.do(func(now time.Time) { s.core.place(now, p) })
}

// SetPeers tells the names and the internal addresses of all nodes, this one
// included. Nodes that are not in sight are tried now and every second.
func (s *Speaker) SetPeers(peers map[string][]netip.Addr) {
	names := make([]string, 0, len(peers))
	for name := range peers {
		names = append(names, name)
	}
	s.do(func(time.Time) { s.core.know(names) })
	s.health.at(peers[s.node])
	s.gossip.setPeers(peers)
}

// SetKey tells the key that encrypts the gossip: any octets, the same on every
// node. Without one there is no gossip. A new key takes the place of the old
// one step by step, so that nodes which learn it at different times go on
// hearing each other.
func (s *Speaker) SetKey(key []byte) { s.gossip.setKey(key) }

// Yield hands everything over and leaves the gossip. It returns when every
// address has an heir that answers, when nobody can take what is left, and when
// ctx ends; at the latest after dwell time and two seconds. This node goes on
// answering for what nobody took, until Run ends. The error says what was left
// although somebody could have taken it.
func (s *Speaker) Yield(ctx context.Context) error {
	began := time.Now()
	s.do(func(time.Time) { s.core.leave() })
	ctx, cancel := context.WithTimeout(ctx, s.core.times.bound())
	defer cancel()
	left := s.drained(ctx, began)
	s.gossip.leave()
	s.log.Info("yielded", "left", left, "duration", time.Since(began))
	if left > 0 {
		return fmt.Errorf("yielding the addresses of %s: %d have an heir that did not come in %s", s.node, left, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// Alive returns once the loop that decides has turned, and an error if ctx ends
// before.
func (s *Speaker) Alive(ctx context.Context) error {
	turned := make(chan struct{})
	s.do(func(time.Time) { close(turned) })
	select {
	case <-turned:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the loop of the speaker: %w", ctx.Err())
	case <-s.done:
		return errors.New("the speaker has ended")
	}
}

// drained waits until nothing is left to hand over, and tells how much is.
func (s *Speaker) drained(ctx context.Context, began time.Time) int {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		held, stuck := 0, 0
		if !s.ask(func(time.Time) { held, stuck = len(s.core.held), s.core.stuck() }) {
			return 0
		}
		if held == 0 || stuck == 0 && time.Since(began) >= linger {
			return 0
		}
		select {
		case <-ctx.Done():
			return stuck
		case <-pace.C:
		}
	}
}
