package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// maxWarned is how many different complaints are remembered.
const maxWarned = 8

// carryOut does what the machine wants done.
func (p *peer) carryOut(orders []order) {
	for _, o := range orders {
		c := p.conns[o.side]
		switch o.do {
		case dial:
			p.dial()
		case cancelDial:
			p.undial()
		case sayOpen:
			p.count.out(packet.BGP_MSG_OPEN, 1)
			c.send(o.open.message())
		case sayAlive:
			p.count.out(packet.BGP_MSG_KEEPALIVE, 1)
			c.change(func() { c.queue, c.alive = append(c.queue, keepalive...), o.terms.Keepalive })
		case establish:
			p.establish(c, o)
		case refresh:
			c.change(func() { c.again[o.family] = true })
		case end:
			p.conns[o.side] = nil
			p.part(c, o.note)
		case report:
			p.report(o.event)
		}
	}
}

// part ends a connection.
func (p *peer) part(c *conn, note *notification) {
	if note == nil {
		c.end(nil)
	} else {
		c.end(&farewell{note: note, withdraw: p.withdraw})
	}
	p.closing = slices.DeleteFunc(p.closing, func(c *conn) bool { return c.running.Load() == 0 })
	p.closing = append(p.closing, c)
}

// establish starts to tell the router everything.
func (p *peer) establish(c *conn, o order) {
	t := o.terms
	p.resuming = false
	p.count.ups.Add(1)
	c.quiet.Store(true)
	hops, problem := p.nextHops(c, t, p.addresses.fresh)
	p.hops = hops
	c.change(func() {
		c.patience = t.Hold
		if t.Hold == 0 {
			c.patience = noHoldWait
		}
		c.speech = &speech{dialect: dialect{internal: t.Internal, as: p.is.shownAS(), fourOctetAS: t.FourOctetAS},
			families: t.Families, hops: hops, view: &p.view}
	})
	p.limp(problem)
	p.lag()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	s.Local, s.Remote, s.RemoteAS, s.RemoteID, s.Internal = c.local, c.remote, o.theirs.AS, o.theirs.ID, t.Internal
	s.HoldTime, s.Keepalive, s.IPv4, s.IPv6 = t.Hold, t.Keepalive, t.Families[ipv4], t.Families[ipv6]
	s.FourOctetAS, s.RouteRefresh, s.ExtendedNextHop = t.FourOctetAS, o.theirs.RouteRefresh, t.IPv4OverIPv6
	s.GracefulRestart, s.RemoteRestartTime, s.Established = t.Restart, o.theirs.RestartTime, time.Now()
}

// report tells a change of state.
func (p *peer) report(e Event) {
	e.Peer = p.name
	p.mu.Lock()
	s := &p.status
	s.State, s.Since, s.Reason = e.To, e.At, e.Reason
	failed := e.From == Established || e.To == Active && !p.machine.waiting
	if failed {
		s.LastError = e.Reason
	}
	if e.From == Established {
		*s = PeerStatus{Name: s.Name, State: s.State, Since: s.Since, Reason: s.Reason, LastError: s.LastError,
			Frozen: s.Frozen, Address: s.Address, LocalAS: s.LocalAS}
	}
	up := p.status
	p.mu.Unlock()
	switch {
	case e.To == Established:
		p.warned = nil
		p.log.Info("session established", "router", up.Remote.Addr(), "as", up.RemoteAS, "hold", up.HoldTime)
	case e.From == Established:
		p.checkAt = time.Time{}
		p.count.downs.Add(1)
		p.log.Info("session ended", "reason", e.Reason)
	case failed:
		p.complain("no session", e.Reason)
	default:
		p.log.Debug("session", "from", e.From, "to", e.To, "reason", e.Reason)
	}
	if p.config.Changed != nil {
		p.config.Changed(e)
	}
}

// complain warns of what is wrong, of each thing once until a session is whole.
func (p *peer) complain(what, reason string) {
	level := slog.LevelWarn
	if slices.Contains(p.warned, reason) {
		level = slog.LevelDebug
	} else if len(p.warned) < maxWarned {
		p.warned = append(p.warned, reason)
	}
	p.log.Log(context.Background(), level, what, "reason", reason)
}

// limp takes over what is not advertised in the session that is established, and why.
func (p *peer) limp(problem string) {
	p.mu.Lock()
	p.status.Problem = problem
	p.mu.Unlock()
	if problem != "" {
		p.complain("part of what is wanted is not advertised", problem)
	}
}

// dial connects to the router, without waiting for it.
func (p *peer) dial() {
	ctx, cancel := context.WithCancel(context.Background())
	p.undial = cancel
	router := p.address()
	e, iface := p.endpoint(router), p.is.Interface
	p.count.connects.Add(1)
	go func() {
		tcp, err := e.attempt(ctx, iface, p.addresses.recent)
		taken := p.post(func() {
			unwanted := ctx.Err() != nil
			cancel()
			switch {
			case unwanted:
				closeIf(tcp)
			case err != nil:
				p.carryOut(p.machine.dialFailed(time.Now(), err.Error()))
			default:
				p.join(dialled, tcp)
			}
		})
		if !taken {
			cancel()
			closeIf(tcp)
		}
	}()
}

func closeIf(c *net.TCPConn) {
	if c != nil {
		c.Close()
	}
}

// address is the router's, if it is known.
func (p *peer) address() netip.Addr {
	if p.is.Address.IsValid() {
		return p.is.Address
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.router
}

// accept takes a connection that the router opened, signed with the password.
func (p *peer) accept(tcp *net.TCPConn, password string) {
	taken := p.post(func() {
		e := p.endpoint(unmapped(tcp.RemoteAddr()).Addr())
		e.password = password
		if err := e.adopt(tcp); err != nil {
			p.complain("a connection of the router cannot be used", err.Error())
			tcp.Close()
			return
		}
		if p.machine.waiting {
			closeIf(p.early)
			p.early = tcp
			return
		}
		switch old := p.machine.links[accepted]; {
		case old.state == Established && !old.terms.Restart:
			tcp.Close()
			return
		case old.state == Established:
			p.machine.aside()
			p.conns[dialled], p.conns[accepted] = p.conns[accepted], nil
		case old.state != Idle:
			p.carryOut(p.machine.lost(time.Now(), accepted, nil, "the router has connected anew"))
		}
		p.join(accepted, tcp)
	})
	if !taken {
		tcp.Close()
	}
}

// admit takes the connection that has waited for BFD, when nothing waits any more.
func (p *peer) admit() {
	if tcp := p.early; tcp != nil && !p.machine.waiting {
		p.early = nil
		p.join(accepted, tcp)
	}
}

// join makes a connection one of the session's.
func (p *peer) join(s side, tcp *net.TCPConn) {
	c := newConn(tcp, &p.count)
	c.deliver = func(kind uint8, body []byte) {
		p.post(func() {
			if s, ok := p.sideOf(c); ok {
				p.carryOut(p.machine.received(time.Now(), s, kind, body))
			}
		})
	}
	c.broken = func(note *notification, why string) {
		p.post(func() {
			if s, ok := p.sideOf(c); ok {
				p.carryOut(p.machine.lost(time.Now(), s, note, why))
			}
		})
	}
	p.conns[s] = c
	c.run()
	p.carryOut(p.machine.connected(time.Now(), s))
}

// sideOf finds a connection, if it still is one of the session's.
func (p *peer) sideOf(c *conn) (side, bool) {
	for s := range sides {
		if p.conns[s] == c {
			return s, true
		}
	}
	return 0, false
}

// nextHops are those of an established session; it plans to look again where
// they are not the session's own addresses.
func (p *peer) nextHops(c *conn, t terms, addresses func() ([]address, error)) ([families]hop, string) {
	p.checkAt = time.Time{}
	other := ipv6
	if c.local.Addr().Is6() {
		other = ipv4
	}
	if t.Families[other] || c.local.Addr().IsLinkLocalUnicast() {
		// All peers look at the same moments, so that one list serves them.
		now := time.Now()
		p.checkAt = now.Add(hopCheck - time.Duration(now.UnixNano())%hopCheck)
	}
	all, err := addresses()
	if err != nil {
		p.log.Warn("next hops are not known", "err", err)
		return p.hops, err.Error()
	}
	return nextHops(all, c.local.Addr(), t)
}

// lookForHops finds next hops that have come, changed or gone.
func (p *peer) lookForHops() {
	p.checkAt = time.Time{}
	for s, l := range p.machine.links {
		if l.state != Established {
			continue
		}
		c := p.conns[s]
		hops, problem := p.nextHops(c, l.terms, p.addresses.recent)
		if hops != p.hops {
			p.hops = hops
			c.change(func() {
				next := *c.speech
				next.hops = hops
				c.speech = &next
			})
		}
		p.limp(problem)
	}
}

// describe puts into the status what the configuration says.
func (p *peer) describe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.LocalAS = p.is.shownAS()
	if p.is.Address.IsValid() {
		p.status.Address = p.is.Address
	}
}

// attempt is one try to connect, with the mistakes that can be told before.
func (e endpoint) attempt(ctx context.Context, iface string, addresses func() ([]address, error)) (*net.TCPConn, error) {
	router := e.remote.Addr()
	if !router.IsValid() {
		return nil, fmt.Errorf("no router has been heard on %s: it must send router advertisements there", iface)
	}
	all, err := addresses()
	if err == nil && slices.ContainsFunc(all, func(a address) bool { return a.Addr() == router }) {
		return nil, fmt.Errorf("%s is an address of this node: the peer's must be that of a router", router)
	}
	return e.connect(ctx)
}
