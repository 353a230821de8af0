package bgp

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	bgpPort = 179
	// hopCheck is how often the next hops of a session that needs an address of
	// its interface beside its own are looked for again.
	hopCheck = 5 * time.Second
	// A timer that is looked at this late may have been overtaken by a message
	// that waits to be read, for which there is this much time then.
	lateness, readingTime = time.Second, 100 * time.Millisecond
)

// A peer is one router: the goroutine run owns its machine and its connections,
// and never waits for any of them.
type peer struct {
	name   string
	config *Config
	log    *slog.Logger
	view   atomic.Pointer[view] // what the router shall be told
	count  counters
	wake   chan struct{} // want has changed
	events chan func()   // what happened, to be looked at by run
	left   chan struct{} // closed when run looks at nothing any more
	done   chan struct{} // closed when its connections are closed too
	found  func()        // called when another router's address is known

	mu     sync.Mutex
	want   Peer
	leave  *farewell // not nil: for good
	router netip.Addr
	status PeerStatus

	// The rest belongs to run.
	is       Peer
	machine  machine
	conns    [sides]*conn
	closing  []*conn // those that have been ended, and may still say goodbye
	withdraw bool    // with the goodbye
	undial   context.CancelFunc
	unfind   context.CancelFunc
	seeking  sync.WaitGroup // finders
	hops     [families]hop
	checkAt  time.Time // of hops; zero: no need
	warned   []string  // what has been complained of
}

func jitter() float64 { return 0.75 + 0.25*rand.Float64() }

func newPeer(c *Config, want Peer, v *view, found func()) *peer {
	p := &peer{
		name: want.Name, config: c, log: c.Log.With("peer", want.Name), want: want, found: found,
		wake: make(chan struct{}, 1), events: make(chan func()), left: make(chan struct{}), done: make(chan struct{}),
	}
	p.view.Store(v)
	p.status = PeerStatus{Name: want.Name, Since: time.Now(), Reason: "added"}
	return p
}

// assign says what is wanted from now on.
func (p *peer) assign(want Peer, v *view) {
	p.view.Store(v)
	p.mu.Lock()
	if !want.Frozen {
		p.want = want
	}
	p.status.Frozen = want.Frozen
	p.mu.Unlock()
	p.nudge()
}

// dismiss ends the session for good.
func (p *peer) dismiss(bye *farewell) {
	p.mu.Lock()
	p.leave = bye
	p.mu.Unlock()
	p.nudge()
}

func (p *peer) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// post has run look at an event, in its own time. It is false when run has ended.
func (p *peer) post(event func()) bool {
	select {
	case p.events <- event:
		return true
	case <-p.left:
		return false
	}
}

// run is the life of a peer. When ctx ends, it ends in silence (invariant 4).
func (p *peer) run(ctx context.Context) {
	defer close(p.done)
	p.mu.Lock()
	p.is = p.want
	p.mu.Unlock()
	p.machine = machine{ours: p.offer, agree: p.agree, connect: p.is.Connect, jitter: jitter}
	p.describe()
	p.find(ctx)
	p.carryOut(p.machine.start(time.Now()))
	p.loop(ctx)
	if p.unfind != nil {
		p.unfind()
	}
	close(p.left)
	p.seeking.Wait()
	for _, c := range p.closing {
		c.ended.Wait()
	}
}

func (p *peer) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Stop()
		if at := p.next(); !at.IsZero() {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			p.fallSilent()
			return
		case <-p.wake:
			if bye := p.adopt(ctx); bye != nil {
				p.withdraw = bye.withdraw
				p.carryOut(p.machine.stop(time.Now(), bye.note, "ended here: "+bye.note.String()))
				return
			}
		case event := <-p.events:
			event()
		case now := <-timer.C:
			p.tick(now)
		}
	}
}

// next is when tick must be called.
func (p *peer) next() time.Time {
	at := p.machine.next()
	if !p.checkAt.IsZero() && (at.IsZero() || p.checkAt.Before(at)) {
		return p.checkAt
	}
	return at
}

func (p *peer) tick(now time.Time) {
	if time.Since(p.next()) > lateness {
		// This process was short of CPU: what has come meanwhile is read first.
		time.Sleep(readingTime)
		now = time.Now()
	}
	var heard [sides]time.Time
	for s, c := range p.conns {
		if c != nil {
			heard[s] = time.Unix(0, c.heard.Load())
		}
	}
	p.carryOut(p.machine.tick(now, heard))
	if !p.checkAt.IsZero() && !now.Before(p.checkAt) {
		p.lookForHops()
	}
}

// fallSilent ends everything without a word.
func (p *peer) fallSilent() {
	if p.undial != nil {
		p.undial()
	}
	for _, c := range p.conns {
		if c != nil {
			c.end(nil)
			p.closing = append(p.closing, c)
		}
	}
}

// adopt makes what is wanted what is, and tells how the session shall end if it shall.
func (p *peer) adopt(ctx context.Context) *farewell {
	p.mu.Lock()
	was, want, bye := p.is, p.want, p.leave
	p.is = want
	p.mu.Unlock()
	if bye != nil {
		return bye
	}
	p.machine.connect = want.Connect
	now := time.Now()
	switch {
	case was.session() != want.session():
		p.describe()
		if was.Interface != want.Interface || was.Address != want.Address {
			p.find(ctx)
		}
		p.carryOut(p.machine.restart(now, cease(packet.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE, ""), "its configuration has changed"))
	case was.Password != want.Password:
		p.rekey(now)
	}
	for _, c := range p.conns {
		if c != nil {
			c.nudge() // the view may have changed
		}
	}
	return nil
}

// session is what a session is made with: a change of the rest leaves it up.
func (p Peer) session() Peer {
	p.Password, p.Connect, p.BFD, p.Frozen = "", 0, nil, false
	return p
}

// rekey puts another password into force: on connections as they are, since the
// router is about to change it too, or with a new attempt.
func (p *peer) rekey(now time.Time) {
	open := false
	for _, c := range p.conns {
		if c == nil {
			continue
		}
		open = true
		if err := p.endpoint(c.remote.Addr()).rekey(c.tcp, p.is.Password); err != nil {
			p.log.Warn("the password of a session could not be changed", "err", err)
		}
	}
	if !open {
		p.carryOut(p.machine.restart(now, nil, "the password has changed"))
	}
}

// offer is our OPEN on a connection.
func (p *peer) offer(s side) open {
	restarting := p.config.Restarting && !p.machine.ever
	return p.is.offer(p.config.RouterID, p.conns[s].local.Addr().Is6(), restarting)
}

func (p *peer) agree(ours, theirs open) (terms, *notification) { return p.is.agree(ours, theirs) }

func (p *peer) endpoint(router netip.Addr) endpoint {
	port := p.is.Port
	if port == 0 {
		port = bgpPort
	}
	return endpoint{local: p.is.Source, remote: netip.AddrPortFrom(router, port), device: p.is.Device,
		password: p.is.Password, direct: p.is.TTLSecurity}
}
