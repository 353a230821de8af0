// Package speaker makes this node announce its share of the addresses, and
// hands them over without silence.
//
// It decides, for every address that the allocator says may be announced
// (allocator.Place), whether this node answers for it now. It does so alone,
// from what it believes: the seats, who is alive (echoes, memberlist), who claims
// what (gossip), what is heard on the wire, and whether its own data path serves.
//
// # Reading order
//
//	seat.go        what is known of one address, and who should answer for it
//	handover.go    to begin, to go on, or to stop answering
//	core.go        the state machine around it: inputs, timers, orders
//	survey.go      what the segment is asked before an address is taken
//	conflict.go    another station announces an address
//	spread.go      how many addresses each node has
//	start.go       the first look around; majorities
//	routes.go      when BGP routers are told of an address, and when no more
//	table.go       what they are told, prefix by prefix
//	leaving.go     how routes are withdrawn
//	announced.go, advertised.go  what is announced for which Services, for those who ask
//	bgp.go         the sessions with them
//	roster.go      with whom, and with whom no more
//	sessions.go, peers.go    what there is to say of the sessions
//	reach.go       which interfaces there are to answer on
//	claim.go, ledger.go, message.go    who claims what, and how nodes tell each other
//	vigil.go, echo.go, lookout.go      which nodes' kernels are dead
//	gossip.go, members.go, doubt.go, keys.go, outbox.go    memberlist
//	loop.go, health.go, stats.go, note.go      the goroutines around the core
//
// # Invariants
//
//  1. A planned move has no silence. A node stops answering only when somebody
//     else does: that one's newer claim has come, or it has been heard on the
//     wire. If nobody can take an address, its last owner answers to the end of
//     its process. (When nobody may announce it any more, it stops at once.)
//
//  2. Narrow at once: a node that is due and serves announces in the moment in
//     which it learns that it is due.
//
//  3. Widen late: while somebody answers, a newly eligible node waits until its
//     data path serves: health ports answer 200, or the dwell time has passed. A
//     node that has been eligible all along does not wait. If who answers is not
//     eligible, a node that is due waits for the dwell time at most.
//
//  4. No change of owner without a cause. A node that comes back takes nothing
//     back; only a greater weight (an operator's preference) outdoes who answers.
//
//  5. Nobody waits for the dead, and nobody robs the living. What a node claimed is
//     void when three witnesses agree (see below), and the next in the rank
//     announces at once. A node that is due and does not come is passed over: after
//     0.7 s where nobody answers, after the dwell time and one second where
//     somebody does who should not.
//
//  6. Two claims do not last: the greater epoch stays, and every claim exceeds
//     the epochs that its maker knew. Where nodes do not hear each other's
//     gossip, the wire decides (see below).
//
//  7. Nothing here asks the API server: without it the seats stay as they are,
//     and nodes still take over from each other. Of two nodes that disagree on
//     who is eligible, the one that learnt of it later is right.
//
//  8. What a machine uses that is no node is not announced for the first time,
//     unless Times.TakeUsed says so: the segment is asked, and asked again every
//     10 s.
//
//  9. Of BGP every eligible node announces: at once where nobody else does, else when
//     its data path serves (3). Proof of that is not waited for for ever: after 30 s,
//     or if the daemon was only restarted, when its sessions come up, a node announces
//     without, and says so. What it may not announce any more and does not serve
//     is withdrawn at once. What it does serve, routers are asked to prefer elsewhere
//     (GRACEFUL_SHUTDOWN, RFC 8326) for Times.Drain before it is withdrawn.
//
//  10. No session comes up before it is known what to advertise on it: a router that
//     kept the routes of this node's last daemon drops what the next one does not repeat.
//
// # A node that dies
//
// Three witnesses tell of a node. Its kernel answers ICMP echoes and TCP handshakes
// without waiting for any process: each node asks three others (vigil), and tells
// whoever would inherit when one is silent. Its daemon answers gossip. And on the
// segment its daemon answers for its addresses, of which an heir asks for a few
// before it takes them.
//
//	what is gone               echo and TCP   gossip       segment      given up after
//	power, cable, kernel       silent         silent       silent       150 ms of silence
//	daemon killed, frozen      answer         silent       silent       gossip's suspicion, then Grace (1 s)
//	the way between the nodes  silent         silent       answers      not
//	daemon starved of CPU      answer         late         answers      not
//	an interface's carrier     answer         answers      silent       100 ms, by its own word
//
// Who speaks is in sight: a message of a node that was given up takes it back, for
// two seconds, or for good if gossip or its kernel is found to answer meanwhile.
// Without that, a node in error would fight on the wire for what it should give.
//
// Where echoes are filtered, the dead are noticed by gossip alone, in about a
// second. So they are where a node hears none of several nodes any more: more
// likely than that all died, it is the one that is cut off. While a kernel lives,
// kube-proxy on it forwards, and the neighbours' entries stay valid: only who asks
// anew notices that a daemon is gone.
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
// alone without harm: what others answer for it does not take.
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
	"net"
	"net/netip"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/bgp"
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
	// Notify, if set, is told what happens to addresses on this node: that it
	// begins to answer for one (Announced), that Services join one that it answers
	// for (Joined); that its BGP routers are told of one, or that Services join one
	// of which they are (Advertised), or that they are told without proof that this
	// node serves (Unproven); that it has no interface for one that is up:
	// none of those that the advertisements name, or none at all if that list is
	// empty (Stranded); that another station claims one (Contested), or answers for
	// one that was to be announced for the first time (Used). It must not block.
	Notify func(Notice)
	// Session, if set, is told how the session with a BGP peer stands when that is
	// another than before, and why: of one peer at most one thing a minute, or six at
	// once. What it is told next waits until it returns.
	Session func(SessionNotice)
	// Announcing, if set, is told after what [Speaker.Announced] returns may have
	// changed. It must not block.
	Announcing func()
	// Listen is the TCP port on which BGP routers may connect; 0: none.
	Listen uint16
	// RestartTime is bgp.Peer.RestartTime: how long routers with graceful restart keep
	// the routes of a node whose daemon does not come back. 1 s to 4095 s, in whole
	// seconds (RFC 4724 §3); 0: 120 s.
	RestartTime time.Duration
	// Advertising, if set, is told after what [Speaker.Advertised] or, with Session set
	// too, [Speaker.Hearers] returns may have changed. It must not block.
	Advertising func()
	// BGP, if set, replaces bgp.New.
	BGP func(bgp.Config) Advertiser
	// Wire, if set, replaces layer2.New. The announcements that layer2 would
	// report must be reported through the given Config.
	Wire func(layer2.Config) Wire
}

// Wire answers for addresses: a layer2.Announcer, or a stand-in.
type Wire interface {
	Run(ctx context.Context) error
	Set(entries []layer2.Entry)
	Announce(addrs ...netip.Addr)
	Probe(entries ...layer2.Entry)
	Stations() []net.HardwareAddr
	Usable() map[string]layer2.Usability
	Status() []layer2.Status
	Stats() layer2.Stats
}

// Speaker announces this node's share. All methods are safe for concurrent use.
type Speaker struct {
	node        string
	log         *slog.Logger
	notify      func(Notice)
	session     func(SessionNotice)
	announcing  func()
	wire        Wire
	bgp         Advertiser
	advertising func()
	restartTime time.Duration
	gossip      *gossip
	health      *health

	// Touched by run alone.
	core   *core
	routes *routes
	roster roster

	mu     sync.Mutex
	inputs []func(now time.Time)
	wakeup chan struct{}
	done   chan struct{}
	turned chan struct{} // holds one item while a session has changed since it was looked at
	once   atomic.Bool

	tally tally
	told  atomic.Pointer[[]bgp.Peer] // peers as bgp was told last
}

// New returns a Speaker that announces nothing. It opens nothing: Run does.
func New(c Config) *Speaker {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Speaker{
		node: c.Node, log: c.Log, notify: c.Notify, session: c.Session, announcing: c.Announcing, advertising: c.Advertising, restartTime: c.RestartTime,
		core:   newCore(c.Node, uint64(time.Now().UnixNano()), c.Times),
		routes: newRoutes(c.Node, c.Times),
		wakeup: make(chan struct{}, 1), done: make(chan struct{}), turned: make(chan struct{}, 1),
	}
	s.routes.booted = booted()
	open := c.Wire
	if open == nil {
		open = func(c layer2.Config) Wire { return layer2.New(c) }
	}
	s.gossip = newGossip(s, c.Gossip.orDefault())
	s.wire = open(layer2.Config{
		Log: c.Log, Exclude: c.Exclude, Heard: s.heard, Announced: s.announced, Changed: s.changed,
	})
	speak := c.BGP
	if speak == nil {
		speak = func(c bgp.Config) Advertiser { return bgp.New(c) }
	}
	s.bgp = speak(bgp.Config{
		Log: c.Log, Listen: c.Listen, RouterID: peering.SomeRouterID(c.Node), Restarting: true, RealTime: true, Changed: s.sessionChanged,
	})
	s.health = newHealth(s.healthy)
	return s
}

// Run announces until ctx ends, and then stops at once: call Yield before. It
// may be called once. The error is that of the sockets of layer2, or of BGP.
func (s *Speaker) Run(ctx context.Context) error {
	if s.once.Swap(true) {
		return errors.New("running a speaker: it has been run before")
	}
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	var wire, routing error
	task := func(err *error, what string, run func(context.Context) error) {
		tasks.Go(func() {
			defer cancel()
			if e := run(ctx); e != nil && ctx.Err() == nil {
				*err = fmt.Errorf("%s: %w", what, e)
			}
		})
	}
	task(&wire, "answering on the wire", s.wire.Run)
	task(&routing, "speaking BGP", s.bgp.Run)
	tasks.Go(func() { s.gossip.run(ctx) })
	tasks.Go(func() { s.health.run(ctx) })
	if s.session != nil {
		tasks.Go(func() { s.watchSessions(ctx) })
	}
	s.loop(ctx)
	cancel()
	close(s.done)
	tasks.Wait()
	return errors.Join(wire, routing)
}

// Set takes in what changed in the placement. It does not wait.
func (s *Speaker) Set(p allocator.Placement) {
	s.do(func(now time.Time) {
		s.core.place(now, p)
		s.routes.place(now, p)
	})
}

// SetPeers tells the names and the internal addresses of all nodes, this one
// included. Nodes that are not in sight are tried now and every 400 ms.
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
