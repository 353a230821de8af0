package layer2

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// wire is an open interface.
type wire interface {
	// Send sends an Ethernet frame of either type; it does not wait. It
	// returns errBusy if the frame may be tried again.
	Send(frame []byte) error
	// ListenNDP starts or ends to receive NDP; nothing is sent while it is off.
	ListenNDP(on bool) error
	// Join and Leave change the membership in an IPv6 group.
	Join(group netip.Addr) error
	Leave(group netip.Addr) error
	// Sockets is the number of open sockets.
	Sockets() int
	Close() error
}

// port is an interface in use.
type port struct {
	link  link
	face  atomic.Pointer[face]
	wire  wire
	reply [128]byte // of receive

	// Below: only with Announcer.mu.
	seats   map[netip.Addr]*seat
	groups  map[netip.Addr]int // addresses behind each solicited-node group
	missing map[netip.Addr]bool
	six     int  // IPv6 addresses among the seats
	ndp     bool // listening
	applied *table
	closed  bool
}

// seat is an address on a port.
type seat struct {
	life  *life
	sent  bool   // announced since it came, or since the carrier came back
	burst *burst // the announcements that are under way
}

// gauge adds the port to the gauges.
func (p *port) gauge(s *Stats) {
	s.Interfaces++
	s.Sockets += p.wire.Sockets()
	s.Groups += len(p.groups) - len(p.missing)
	s.Missing += len(p.missing)
}

// reconcile makes the ports what the interfaces and the set ask for.
func (r *runner) reconcile() {
	a := r.a
	a.set.Lock()
	t, asked := a.held.Load(), a.asked
	a.asked = nil
	a.set.Unlock()

	a.mu.Lock()
	defer func() {
		changed := a.changes != a.told
		a.told = a.changes
		a.mu.Unlock()
		if changed && a.changed != nil {
			a.changed()
		}
	}()
	for index, p := range a.ports {
		if l, known := r.links[index]; !known || !a.wanted(t, l) || l.ipv6 != p.link.ipv6 {
			r.close(p)
		}
	}
	for index, l := range r.links {
		if !a.wanted(t, l) {
			delete(r.trouble, index)
			continue
		}
		p := a.ports[index]
		if p == nil {
			if p = r.open(t, l); p == nil {
				continue
			}
		}
		r.update(p, l)
		r.seat(p, t)
		r.listen(p, t)
		r.join(p)
		for _, addr := range asked {
			if s := p.seats[addr]; s != nil {
				r.start(p, addr, s)
			}
		}
	}
	r.ask(t, time.Now())
}

// open makes the port of an interface, or says once why it can not.
func (r *runner) open(t *table, l link) *port {
	p := &port{
		link: l, seats: map[netip.Addr]*seat{}, groups: map[netip.Addr]int{}, missing: map[netip.Addr]bool{},
	}
	p.face.Store(r.a.face(l))
	w, err := r.a.system.Open(l, func(w wire, frame []byte) { r.a.receive(p, w, frame) })
	if err != nil {
		if r.trouble[l.index] != err.Error() {
			r.a.log.Warn("opening interface", "interface", l.name, "err", err)
		}
		r.trouble[l.index] = err.Error()
		return nil
	}
	delete(r.trouble, l.index)
	p.wire = w
	r.a.ports[l.index] = p
	r.a.changes++
	r.a.log.Info("answering on interface", "interface", l.name, "mac", l.mac)
	return p
}

func (r *runner) close(p *port) {
	p.closed = true
	r.a.changes++
	delete(r.a.ports, p.link.index)
	for _, s := range p.seats {
		s.burst = nil
	}
	if err := p.wire.Close(); err != nil {
		r.a.log.Warn("closing interface", "interface", p.link.name, "err", err)
	}
	r.a.log.Info("left interface", "interface", p.link.name)
}

func (r *runner) closeAll() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	for _, p := range r.a.ports {
		r.close(p)
	}
}

func (a *Announcer) face(l link) *face {
	return &face{name: l.name, mac: l.mac, auto: a.auto(l.name), ipv6: l.ipv6}
}

// update takes over what changed of the interface; a new hardware address or a
// carrier that came back means that the neighbours have to hear everything anew.
func (r *runner) update(p *port, l link) {
	old := p.link
	if old == l {
		return
	}
	p.link = l
	if next := r.a.face(l); *next != *p.face.Load() {
		p.face.Store(next)
		p.applied = nil
		r.a.log.Info("interface changed", "interface", l.name, "mac", l.mac)
	}
	if old.mac == l.mac && old.running == l.running {
		return
	}
	r.a.changes++
	for addr, s := range p.seats {
		s.sent, s.burst = false, nil
		if l.running {
			r.start(p, addr, s)
		}
	}
}

// seat brings the addresses of the port in line with the set, first those that
// are new, then those that left.
func (r *runner) seat(p *port, t *table) {
	if p.applied == t {
		return
	}
	p.applied = t
	f := p.face.Load()
	for _, addr := range t.order {
		h := t.byAddr[addr]
		s := p.seats[addr]
		if !h.on(f, addr) || (s != nil && s.life == h.life) {
			continue
		}
		if s == nil {
			s = &seat{}
			p.seats[addr] = s
			p.enter(addr)
		}
		s.life, s.sent = h.life, false
		r.start(p, addr, s)
	}
	for addr, s := range p.seats {
		if t.lookup(addr, f) == nil {
			s.burst = nil
			delete(p.seats, addr)
			r.leave(p, addr)
		}
	}
}

// enter counts an address into its group; join joins what is missing.
func (p *port) enter(addr netip.Addr) {
	if !addr.Is6() {
		return
	}
	p.six++
	g := solicitedNode(addr)
	if p.groups[g]++; p.groups[g] == 1 {
		p.missing[g] = true
	}
}

// leave counts an address out of its group, and leaves it with the last one.
func (r *runner) leave(p *port, addr netip.Addr) {
	if !addr.Is6() {
		return
	}
	p.six--
	g := solicitedNode(addr)
	if p.groups[g]--; p.groups[g] > 0 {
		return
	}
	delete(p.groups, g)
	if p.missing[g] {
		delete(p.missing, g)
	} else if err := p.wire.Leave(g); err != nil {
		r.a.log.Warn("leaving group", "interface", p.link.name, "group", g, "err", err)
	}
}

// listen receives NDP while there is an IPv6 address, or one is asked for.
func (r *runner) listen(p *port, t *table) {
	want := p.six > 0 || t.asksNDP(p.face.Load())
	if p.ndp == want {
		return
	}
	if err := p.wire.ListenNDP(want); err != nil {
		r.a.log.Warn("listening to NDP", "interface", p.link.name, "err", err)
		return
	}
	p.ndp = want
}

// join joins the groups that are still missing.
func (r *runner) join(p *port) {
	var failed error
	for g := range p.missing {
		if err := p.wire.Join(g); err != nil {
			failed = err
			continue
		}
		delete(p.missing, g)
	}
	if failed == nil {
		return
	}
	r.a.log.Warn("joining groups", "interface", p.link.name, "missing", len(p.missing), "err", failed)
}
