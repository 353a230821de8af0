package bgp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// farewellBFD is how long Close has BFD say AdminDown, which it does at once, and at
// the pace of the session until the router has noticed: with the slowest profile that
// takes two minutes and more.
const farewellBFD = 5 * time.Second

// An Advertiser keeps sessions with peers, and tells them prefixes.
type Advertiser struct {
	config    Config
	log       *slog.Logger
	detector  *bfd.Detector
	byKey     atomic.Pointer[map[bfd.Key][]*peer] // whose BFD session it is
	ears      *ears
	addresses gazetteer

	mu      sync.Mutex
	atlas   atlas
	peers   map[string]*peer
	parting map[*peer]bool  // those that Set took away and that have not said goodbye yet
	live    context.Context // that of Run; nil before
	began   time.Time       // Run
	closed  bool
	running sync.WaitGroup // peers, also those that are saying goodbye
}

// New makes an Advertiser. It does nothing before Run.
func New(c Config) *Advertiser {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	a := &Advertiser{config: c, log: c.Log, peers: make(map[string]*peer), parting: make(map[*peer]bool)}
	a.detector = bfd.New(bfd.Config{Log: c.Log, Changed: a.bfdChanged, RealTime: c.RealTime})
	a.ears = newEars(c.Listen, c.Log, a.receive)
	return a
}

// Run keeps the sessions until ctx ends, and then falls silent (invariant 4).
func (a *Advertiser) Run(ctx context.Context) error {
	if !a.config.RouterID.Is4() {
		return errors.New("advertising by BGP: Config.RouterID must be an IPv4 address")
	}
	a.mu.Lock()
	if a.live != nil {
		a.mu.Unlock()
		return errors.New("advertising by BGP: Run was called twice")
	}
	a.live, a.began = ctx, time.Now()
	for _, p := range a.peers {
		a.begin(p)
	}
	a.mu.Unlock()
	var rest sync.WaitGroup
	rest.Go(func() { a.ears.run(ctx) })
	rest.Go(func() {
		if err := a.detector.Run(ctx); err != nil {
			a.log.Error("BFD does not run: that a router is dead is noticed by the hold time alone", "err", err)
		}
	})
	<-ctx.Done()
	a.mu.Lock() // nobody begins any more
	a.closed = true
	a.mu.Unlock()
	a.running.Wait()
	rest.Wait()
	return nil
}

func (a *Advertiser) begin(p *peer) {
	a.running.Go(func() { p.run(a.live) })
}

// Set says what shall be advertised to whom from now on. It does not wait for
// anything on the wire. The peers' names are unique; of two with the same name
// the last counts. Prefixes that cannot be advertised are logged and left out.
//
// It keeps neither slice, nor those in them. What it costs follows what has
// changed since the last call, but for one comparison of each prefix with the one
// that was in its place.
func (a *Advertiser) Set(prefixes []Prefix, peers []Peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	wanted := make(map[string]Peer, len(peers))
	for _, p := range peers {
		wanted[p.Name] = p
	}
	views, err := a.atlas.update(prefixes, slices.Sorted(maps.Keys(wanted)))
	if err != nil {
		a.log.Warn("some prefixes cannot be advertised", "err", err)
	}
	changed := false
	for name, want := range wanted {
		switch p, there := a.peers[name]; {
		case there:
			changed = p.assign(want, views[name]) || changed
		case !want.Frozen:
			changed = true
			p = newPeer(&a.config, want, views[name], &a.addresses, a.arrange)
			p.resuming = a.resumes(want)
			a.peers[name] = p
			if a.live != nil {
				a.begin(p)
			}
		}
	}
	for name, p := range a.peers {
		if _, ok := wanted[name]; !ok {
			changed = true
			delete(a.peers, name)
			a.dismiss(p, &farewell{note: cease(packet.BGP_ERROR_SUB_PEER_DECONFIGURED, ""), withdraw: true})
		}
	}
	if changed {
		a.outfit()
	}
}

// resumes tells whether the router of a new peer may still keep the routes of a
// process before this one.
func (a *Advertiser) resumes(p Peer) bool {
	return a.config.Restarting && (a.live == nil || time.Since(a.began) < p.restartTime())
}

// dismiss ends a session for good. BFD with the router ends after it: some routers
// take the end of BFD for a restart if they hear of it first, and keep the routes.
func (a *Advertiser) dismiss(p *peer, bye *farewell) {
	p.dismiss(bye)
	if a.live == nil {
		return
	}
	a.parting[p] = true
	go func() {
		<-p.done
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.parting, p)
		if !a.closed {
			a.outfit()
		}
	}()
}

// arrange is Set for what follows from a peer's address that became known.
func (a *Advertiser) arrange() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.outfit()
	}
}

// outfit gives the listeners their passwords and BFD its sessions.
func (a *Advertiser) outfit() {
	byKey := make(map[bfd.Key][]*peer)
	var sessions []bfd.Session
	var callers []caller
	add := func(p *peer) {
		s, ok := p.wantedBFD()
		if !ok {
			return
		}
		if byKey[s.Key()] == nil { // of two with one router the first one's profile counts
			sessions = append(sessions, s)
		}
		byKey[s.Key()] = append(byKey[s.Key()], p)
	}
	for _, name := range slices.Sorted(maps.Keys(a.peers)) {
		callers = append(callers, a.peers[name].caller())
		add(a.peers[name])
	}
	for p := range a.parting {
		add(p)
	}
	a.ears.set(callers)
	a.byKey.Store(&byKey)
	a.detector.Set(sessions)
}

// Close is the end that is meant: everything is withdrawn, every router is told
// why (Cease/Administrative Shutdown, RFC 9003), and BFD says AdminDown. It
// returns when that is done, or when ctx ends. Set does nothing any more.
func (a *Advertiser) Close(ctx context.Context, reason string) {
	a.mu.Lock()
	a.closed = true
	peers := slices.Collect(maps.Values(a.peers))
	started := a.live != nil
	a.mu.Unlock()
	if !started {
		return
	}
	for _, p := range peers {
		p.dismiss(&farewell{note: shutdown(reason), withdraw: true})
	}
	for _, p := range peers {
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithTimeout(ctx, farewellBFD)
	defer cancel()
	a.detector.Shutdown(ctx) // see dismiss
}

// receive takes a connection that came in on a device, from a router. It comes with
// the password that the kernel demanded, and counts only with the peer's.
func (a *Advertiser) receive(tcp *net.TCPConn, device, password string) {
	router := unmapped(tcp.RemoteAddr()).Addr()
	a.mu.Lock()
	var match *peer
	var c caller
	for _, p := range a.peers {
		if c = p.caller(); c.is(router, device) {
			match = p
			break
		}
	}
	a.mu.Unlock()
	switch {
	case match == nil:
		a.log.Debug("a connection from an address that is no peer's", "router", router)
		tcp.Close()
	case c.password != password:
		match.log.Debug("a connection that was not signed with the peer's password", "router", router)
		tcp.Close()
	default:
		match.accept(tcp, password)
	}
}
