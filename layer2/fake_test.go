package layer2

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeSegment is a switch in memory. It delivers unicast frames to the port
// with that hardware address, and others to all but the sender; but groups of
// IPv6 only to ports that joined them, as a NIC's filter or a switch that
// snoops MLD does.
type fakeSegment struct {
	mu    sync.Mutex
	ports []*fakePort
	index int
}

type fakePort struct {
	segment *fakeSegment
	mac     mac
	promisc bool
	plugged bool
	joined  map[netip.Addr]bool
	in      chan []byte // read by one goroutine
}

func (s *fakeSegment) plug(t testing.TB, m mac, promisc bool, receive func([]byte)) *fakePort {
	p := &fakePort{segment: s, mac: m, promisc: promisc, plugged: true, joined: map[netip.Addr]bool{}, in: make(chan []byte, 1<<16)}
	s.mu.Lock()
	s.ports = append(s.ports, p)
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for frame := range p.in {
			receive(frame)
		}
	}()
	t.Cleanup(func() { p.unplug(); <-done })
	return p
}

func (p *fakePort) unplug() {
	s := p.segment
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.ports, p); i >= 0 {
		s.ports = slices.Delete(s.ports, i, i+1)
		close(p.in)
	}
}

func (p *fakePort) send(frame []byte) {
	s := p.segment
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.plugged {
		return
	}
	for _, q := range s.ports {
		if q != p && q.plugged && q.takes(frame) {
			q.in <- slices.Clone(frame)
		}
	}
}

func (p *fakePort) takes(frame []byte) bool {
	dst := mac(frame[:6])
	switch {
	case p.promisc || dst == p.mac || dst == broadcast || dst == allNodes:
		return true
	case dst[0] == 0x33 && dst[1] == 0x33:
		for g := range p.joined {
			if b := g.As16(); [4]byte(b[12:]) == [4]byte(dst[2:]) {
				return true
			}
		}
	}
	return false
}

func (s *fakeSegment) station(t testing.TB, m mac) *station {
	st := &station{mac: m}
	st.write = s.plug(t, m, true, st.heard).send
	return st
}

func (s *fakeSegment) node(testing.TB) node {
	return &fakeNode{segment: s, links: map[string]*fakeLink{}}
}

// fakeNode is a machine's network as the Announcer sees it.
type fakeNode struct {
	segment *fakeSegment

	mu     sync.Mutex
	links  map[string]*fakeLink
	events chan change // of the subscription

	broken map[string]error     // interfaces that can not be opened
	send   map[string]error     // interfaces that can not send
	joins  func(n int) error    // refuses the n-th group of an interface
	taps   func(string, []byte) // sees what the node sends, and on what
}

type fakeLink struct {
	link
	port *fakePort
	wire *fakeWire
}

func (n *fakeNode) run(t testing.TB, c Config) *Announcer {
	a := newAnnouncer(c, n)
	start(t, a.Run)
	return a
}

func (n *fakeNode) add(t testing.TB, name string, m mac) {
	l := &fakeLink{}
	l.port = n.segment.plug(t, m, false, func(frame []byte) {
		n.mu.Lock()
		w := l.wire
		n.mu.Unlock()
		if w != nil && (w.ndp.Load() || etherType(frame) != typeIPv6) {
			w.receive(w, frame)
		}
	})
	n.segment.mu.Lock()
	n.segment.index++
	l.link = link{index: n.segment.index, name: name, mac: m, fit: true, up: true, running: true, ipv6: true}
	n.segment.mu.Unlock()
	n.mu.Lock()
	n.links[name] = l
	n.mu.Unlock()
	n.tell(change{link: l.link})
}

func (n *fakeNode) remove(_ testing.TB, name string) {
	n.mu.Lock()
	l := n.links[name]
	delete(n.links, name)
	l.wire = nil
	n.mu.Unlock()
	l.port.unplug()
	n.tell(change{link: l.link, gone: true})
}

// change changes a link and tells the subscriber.
func (n *fakeNode) change(name string, do func(l *fakeLink)) {
	n.mu.Lock()
	l := n.links[name]
	do(l)
	n.links[l.name] = l
	n.mu.Unlock()
	n.tell(change{link: l.link})
}

func (n *fakeNode) up(_ testing.TB, name string, up bool) {
	n.change(name, func(l *fakeLink) { l.link.up, l.link.running = up, up })
}

func (n *fakeNode) cable(_ testing.TB, name string, in bool) {
	n.change(name, func(l *fakeLink) { l.link.running = in; l.port.plug(in) })
}

func (p *fakePort) plug(in bool) {
	p.segment.mu.Lock()
	defer p.segment.mu.Unlock()
	p.plugged = in
}

func (n *fakeNode) setMAC(_ testing.TB, name string, m mac) {
	n.change(name, func(l *fakeLink) {
		n.segment.mu.Lock()
		defer n.segment.mu.Unlock()
		l.link.mac, l.port.mac = m, m
	})
}

func (n *fakeNode) rename(_ testing.TB, old, name string) {
	n.change(old, func(l *fakeLink) {
		delete(n.links, old)
		l.name = name
		n.links[name] = l
	})
}

func (n *fakeNode) groups(_ testing.TB, name string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.segment.mu.Lock()
	defer n.segment.mu.Unlock()
	var out []netip.Addr
	if l := n.links[name]; l != nil {
		for g := range l.port.joined {
			out = append(out, g)
		}
	}
	return out
}

// Links, Watch, Open and Close make the node a system.

func (n *fakeNode) Links() ([]link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []link
	for _, l := range n.links {
		out = append(out, l.link)
	}
	return out, nil
}

func (n *fakeNode) Watch(stop <-chan struct{}) (<-chan change, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = make(chan change, 1024)
	return n.events, nil
}

func (n *fakeNode) tell(c change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.events != nil {
		n.events <- c
	}
}

// deafen breaks the subscription, if it does not just lose events.
func (n *fakeNode) deafen(broken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if broken {
		close(n.events)
	}
	n.events = nil
}

func (n *fakeNode) Open(l link, receive func(w wire, frame []byte)) (wire, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.broken[l.name]; err != nil {
		return nil, err
	}
	for _, f := range n.links {
		if f.index == l.index {
			f.wire = &fakeWire{node: n, link: f, receive: receive}
			return f.wire, nil
		}
	}
	return nil, errors.New("no such device")
}

func (n *fakeNode) Close() error { return nil }

// fakeWire is an open interface.
type fakeWire struct {
	node    *fakeNode
	link    *fakeLink
	receive func(w wire, frame []byte)
	ndp     atomic.Bool
}

func (w *fakeWire) ListenNDP(on bool) error { w.ndp.Store(on); return nil }

func (w *fakeWire) Send(frame []byte) error {
	w.node.mu.Lock()
	l, err, tap := w.link.link, w.node.send[w.link.name], w.node.taps
	w.node.mu.Unlock()
	if err != nil {
		return err
	}
	if !l.up {
		return errors.New("network is down")
	}
	if tap != nil {
		tap(l.name, frame)
	}
	w.link.port.send(frame)
	return nil
}

func (w *fakeWire) Join(g netip.Addr) error {
	w.node.segment.mu.Lock()
	defer w.node.segment.mu.Unlock()
	joined := w.link.port.joined
	if refuse := w.node.joins; refuse != nil {
		if err := refuse(len(joined)); err != nil {
			return err
		}
	}
	joined[g] = true
	return nil
}

func (w *fakeWire) Leave(g netip.Addr) error {
	w.node.segment.mu.Lock()
	defer w.node.segment.mu.Unlock()
	delete(w.link.port.joined, g)
	return nil
}

func (w *fakeWire) Sockets() int { return 1 }

func (w *fakeWire) Close() error {
	w.node.mu.Lock()
	defer w.node.mu.Unlock()
	if w.link.wire == w {
		w.link.wire = nil
	}
	w.node.segment.mu.Lock()
	defer w.node.segment.mu.Unlock()
	clear(w.link.port.joined)
	return nil
}
