package bgp

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"

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

	addresses *gazetteer // of the node

	mu     sync.Mutex
	want   Peer
	leave  *farewell // not nil: for good
	router netip.Addr
	bfd    bfd.Change // the latest
	status PeerStatus

	// The rest belongs to run.
	is       Peer
	machine  machine
	conns    [sides]*conn
	early    *net.TCPConn // that the router opened while BFD is waited for
	closing  []*conn      // those that have been ended, and may still say goodbye
	withdraw bool         // with the goodbye
	undial   context.CancelFunc
	unfind   context.CancelFunc
	seeking  sync.WaitGroup // finders
	hops     [families]hop
	checkAt  time.Time // of hops; zero: no need
	readTill time.Time // tick is due then, after it came late; zero: it did not
	resuming bool      // the router may keep routes of a session that ended silently
	warned   []string  // what has been complained of
}

func jitter() float64 { return 0.75 + 0.25*rand.Float64() }

func newPeer(c *Config, want Peer, v *view, addresses *gazetteer, found func()) *peer {
	p := &peer{
		name: want.Name, config: c, log: c.Log.With("peer", want.Name), want: want, found: found, addresses: addresses,
		wake: make(chan struct{}, 1), events: make(chan func()), left: make(chan struct{}), done: make(chan struct{}),
	}
	p.view.Store(v)
	p.status = PeerStatus{Name: want.Name, Since: time.Now(), Reason: "added"}
	return p
}

// assign says what is wanted from now on, and tells whether more than the view
// has changed.
func (p *peer) assign(want Peer, v *view) bool {
	told := p.view.Swap(v)
	p.mu.Lock()
	changed := !want.Frozen && p.want != want
	if changed {
		p.want = want
	}
	p.status.Frozen = want.Frozen
	p.mu.Unlock()
	if changed || told != v {
		p.nudge()
	}
	return changed
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
	p.carryOut(p.machine.start(time.Now(), p.bfdWait()))
	p.loop(ctx)
	closeIf(p.early)
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
		case <-timer.C:
			p.tick(time.Now())
		}
		p.admit()
	}
}

// next is when tick must be called.
func (p *peer) next() time.Time {
	if !p.readTill.IsZero() {
		return p.readTill
	}
	at := p.machine.next()
	if !p.checkAt.IsZero() && (at.IsZero() || p.checkAt.Before(at)) {
		return p.checkAt
	}
	return at
}

func (p *peer) tick(now time.Time) {
	if p.readTill.IsZero() && now.Sub(p.next()) > lateness {
		// This process was short of CPU: what has come meanwhile is read first.
		p.readTill = now.Add(readingTime)
		return
	}
	p.readTill = time.Time{}
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
	case was.session() != want.session() || p.machine.state != Established && was.attempt() != want.attempt():
		p.renew(ctx, now, was)
	case was.Password != want.Password:
		p.rekey(now)
	}
	p.lag()
	for _, c := range p.conns {
		if c != nil {
			c.nudge() // the view may have changed
		}
	}
	return nil
}

// attempt is what a connection and our OPEN on it are made of.
func (p Peer) attempt() Peer {
	p.Password, p.Connect, p.Multihop, p.BFD, p.Frozen = "", 0, false, nil, false
	return p
}

// session is what a session that is established cannot outlive a change of.
func (p Peer) session() Peer {
	p = p.attempt()
	p.HoldTime, p.Keepalive, p.GracefulRestart, p.RestartTime, p.RouterID = 0, 0, false, 0, netip.Addr{}
	return p
}

// renew makes another session: in silence if the router keeps the routes until
// that is there, else with a reason.
func (p *peer) renew(ctx context.Context, now time.Time, was Peer) {
	note := cease(packet.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE, "")
	if p.outlasts(was) {
		note, p.resuming = nil, true
	}
	p.describe()
	if was.Interface != p.is.Interface || was.Address != p.is.Address {
		p.find(ctx)
	}
	p.again(now, note, "its configuration has changed")
}

// outlasts tells whether the router keeps the routes of the session that there
// is until the next one: by graceful restart (RFC 4724 §4.2), if it will know us
// again and we shall tell it the same families.
func (p *peer) outlasts(was Peer) bool {
	s, ok := p.machine.standing()
	if !ok || !s.terms.Restart || was.Address != p.is.Address || was.Interface != p.is.Interface ||
		was.PeerAS != p.is.PeerAS || was.Internal != p.is.Internal || was.External != p.is.External {
		return false
	}
	next := p.nextOpen(s)
	return next.GracefulRestart && next.AS == s.ours.AS && next.ID == s.ours.ID && next.Families == s.ours.Families
}

// lag takes over whether a part of the configuration waits for the next session.
func (p *peer) lag() {
	s, ok := p.machine.standing()
	if ok {
		next := p.nextOpen(s)
		t, _ := p.agree(next, s.theirs)
		ok = next != s.ours || t != s.terms
	}
	p.mu.Lock()
	p.status.Pending = ok
	p.mu.Unlock()
}

// nextOpen is our OPEN of a session, as it would be now.
func (p *peer) nextOpen(s link) open {
	return p.is.offer(p.config.RouterID, s.ours.IPv4OverIPv6, s.ours.Restarting)
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
		p.again(now, nil, "the password has changed")
	}
}

// again ends what there is, and begins anew.
func (p *peer) again(now time.Time, note *notification, why string) {
	closeIf(p.early)
	p.early = nil
	p.carryOut(p.machine.restart(now, note, p.bfdWait(), why))
}

// offer is our OPEN on a connection.
func (p *peer) offer(s side) open {
	return p.is.offer(p.config.RouterID, p.conns[s].local.Addr().Is6(), p.resuming)
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
