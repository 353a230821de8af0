package speaker

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// do queues an input for the core. It never waits.
func (s *Speaker) do(input func(now time.Time)) {
	s.mu.Lock()
	s.inputs = append(s.inputs, input)
	s.mu.Unlock()
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// ask queues an input and waits for it; false: the speaker has ended.
func (s *Speaker) ask(input func(now time.Time)) bool {
	answered := make(chan struct{})
	s.do(func(now time.Time) { input(now); close(answered) })
	select {
	case <-answered:
		return true
	case <-s.done:
		return false
	}
}

// loop feeds the core and does what it orders. It alone touches the core.
func (s *Speaker) loop(ctx context.Context) {
	timer, rounds := time.NewTimer(time.Hour), time.NewTicker(reachEvery)
	defer timer.Stop()
	defer rounds.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rounds.C:
			s.reach()
		case <-s.wakeup:
		case <-timer.C:
		}
		s.mu.Lock()
		inputs := s.inputs
		s.inputs = nil
		s.mu.Unlock()
		now := time.Now()
		for _, input := range inputs {
			input(now)
		}
		began := time.Now()
		o := s.core.decide(now)
		s.obey(now, o)
		o.wake = earlier(o.wake, s.advertise(now))
		if o.polls || s.routes.polls {
			s.routes.polls = false
			s.health.want(s.routes.asked(s.core.polls()))
		}
		s.tally.decided(time.Since(began), s.core)
		if o.wake.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(max(0, time.Until(o.wake)))
		}
	}
}

// reachEvery is how often the interfaces under the addresses are looked at.
const reachEvery = 2 * time.Second

// reach tells the core which interfaces are usable, and which addresses are on
// one. In the loop.
func (s *Speaker) reach() {
	now := time.Now()
	s.core.interfaces(now, s.wire.Usable())
	if len(s.core.held) == 0 {
		return
	}
	on := make(map[netip.Addr]bool, len(s.core.held))
	for _, st := range s.wire.Status() {
		on[st.Addr] = len(st.Interfaces) > 0
	}
	s.core.reach(now, on)
}

// obey does what the core ordered: the wire first.
func (s *Speaker) obey(now time.Time, o orders) {
	if o.set {
		s.wire.Set(s.core.entries())
	}
	if len(o.probe) > 0 {
		s.wire.Probe(o.probe...)
	}
	if len(o.again) > 0 {
		s.wire.Announce(o.again...)
	}
	s.gossip.digest(appendMessage(nil, s.core.ledger.header(kindDigest), now))
	switch {
	case len(o.tell) > many:
		s.gossip.tellAll(appendMessage(nil, s.core.ledger.full(), now))
	default:
		for _, m := range o.tell {
			s.gossip.tell(appendMessage(nil, m, now))
		}
	}
	for _, node := range o.ask {
		s.gossip.ask(node, appendMessage(nil, s.core.ledger.header(kindAsk), now))
	}
	for _, n := range o.notes {
		s.say(n)
	}
	if o.roll && s.announcing != nil {
		s.announcing()
	}
}

// many datagrams at once are replaced by one stream.
const many = 16

// say logs, counts and reports what happened.
func (s *Speaker) say(n note) {
	s.tally.count(n)
	switch n.kind {
	case Announced:
		s.log.Info("announcing", "address", n.addr, "cause", string(n.cause), "from", n.other, "duration", n.took)
	case Advertised:
		s.log.Info("advertising", "address", n.addr)
	case Withdrawn:
		s.log.Info("withdrawing", "address", n.addr, "cause", string(n.cause))
	case Yielded:
		s.log.Info("handed over", "address", n.addr, "cause", string(n.cause), "to", n.other, "proof", n.proof, "duration", n.took)
	case Released:
		s.log.Info("released", "address", n.addr)
	case Lost:
		s.log.Warn("the interface of an address is gone", "address", n.addr)
	case Stranded:
		s.log.Warn("no interface to announce an address on", "address", n.addr, "interfaces", n.interfaces)
	case Used:
		s.log.Warn("a machine that is no node answers for an address: it is not announced", "address", n.addr, "interface", n.iface, "mac", n.mac)
	case Unproven:
		s.log.Warn("advertises an address although no health check port of its Services has answered 200: does kube-proxy serve healthCheckNodePort here?",
			"address", n.addr, "duration", n.took)
	case Unheard:
		s.log.Warn("a node does not answer other nodes, but answers for its addresses: it keeps them", "peer", n.other)
	case Contested:
		s.log.Warn("another station announces an address", "address", n.addr, "interface", n.iface, "mac", n.mac)
	}
	if notice, any := n.notice(); any && s.notify != nil {
		s.notify(notice)
	}
}

// heard is layer2.Config.Heard.
func (s *Speaker) heard(addr netip.Addr, iface string, mac net.HardwareAddr) {
	text := mac.String()
	s.do(func(now time.Time) { s.core.heard(now, addr, iface, text) })
}

// announced is layer2.Config.Announced.
func (s *Speaker) announced(addr netip.Addr, _ string) {
	s.do(func(now time.Time) { s.core.announced(now, addr) })
}

// changed is layer2.Config.Changed.
func (s *Speaker) changed() {
	s.gossip.wake()
	look := func() { s.do(func(time.Time) { s.reach() }) }
	look()
	time.AfterFunc(flap+10*time.Millisecond, look)
}

// healthy is called when a health port answered 200.
func (s *Speaker) healthy(port healthPort) {
	s.do(func(now time.Time) {
		s.core.healthy(now, port)
		s.routes.healthy(now, port)
	})
}

// receive takes in what came from another node. The octets are not kept.
func (s *Speaker) receive(b []byte) {
	m, err := parseMessage(b, time.Now())
	if err != nil {
		s.tally.malformed.Add(1)
		s.log.Debug("reading gossip", "err", err)
		return
	}
	switch m.kind {
	case kindSuspect:
		s.do(func(now time.Time) {
			if s.core.suspect(now, m.about); s.core.inquests[m.about] != nil {
				s.gossip.lookout.rouse(m.about)
			}
		})
		return
	case kindAsk:
		s.do(func(now time.Time) { s.gossip.answer(m.node, appendMessage(nil, s.core.ledger.full(), now)) })
		return
	}
	s.do(func(now time.Time) { s.core.receive(now, m) })
}

// warn tells every member that a node may be dead. Called by loop.
func (s *Speaker) warn(now time.Time, node string) {
	s.core.suspect(now, node)
	m := s.core.ledger.header(kindSuspect)
	m.about = node
	s.gossip.tell(appendMessage(nil, m, now))
}

// account returns the whole account of this node, encoded; nil after the end.
func (s *Speaker) account() (b []byte) {
	s.ask(func(now time.Time) { b = appendMessage(nil, s.core.ledger.full(), now) })
	return b
}
