package layer2

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A history is what was done to a node and what it sent, in order. check
// knows, from what was done alone, which frames there must be and when.
type history struct {
	mu     sync.Mutex
	events []event
}

type event struct {
	at time.Time
	do string // set, link, ask or sent

	set  []Entry
	link link
	addr netip.Addr // asked
	sighting
	iface string
}

func (h *history) add(e event) {
	e.at = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// spot is an address on an interface.
type spot struct {
	addr  netip.Addr
	iface string
}

// expected is what check knows at one point of a history.
type expected struct {
	set   []Entry
	links map[string]link
	since map[spot]time.Time // when the rounds began
	due   map[spot][]time.Time
	ask   map[spot]int // answers outstanding
	wrong []string

	// What a link was, and what was due, when something changed at that very
	// moment: such a frame may have been under way.
	was   map[string]event
	early map[spot][]time.Time
}

func (x *expected) fail(e event, format string, args ...any) {
	x.wrong = append(x.wrong, fmt.Sprintf("%v: ", e.at.Format("05.000"))+fmt.Sprintf(format, args...))
}

func (x *expected) holds(s spot) bool {
	i := slices.IndexFunc(x.set, func(e Entry) bool { return e.Addr == s.addr })
	return i >= 0 && (len(x.set[i].Interfaces) == 0 || slices.Contains(x.set[i].Interfaces, s.iface))
}

// check returns what is wrong with a history (invariants 1 to 3).
func check(events []event) []string {
	x := &expected{links: map[string]link{}, since: map[spot]time.Time{}, due: map[spot][]time.Time{}, ask: map[spot]int{},
		was: map[string]event{}, early: map[spot][]time.Time{}}
	for _, e := range events {
		x.missed(e)
		switch e.do {
		case "set":
			x.set = e.set
			x.move(e, "")
		case "link":
			old := x.links[e.link.name]
			x.links[e.link.name] = e.link
			x.was[e.link.name] = event{at: e.at, link: old}
			if old.running != e.link.running || old.mac != e.link.mac {
				x.move(e, e.link.name)
			}
		case "ask":
			for name, l := range x.links {
				if s := (spot{e.addr, name}); l.running && x.holds(s) {
					x.ask[s]++
				}
			}
		case "sent":
			x.sent(e)
		}
	}
	return x.wrong
}

// move begins and ends rounds after a change; all of one interface begin anew
// if it is named.
func (x *expected) move(e event, iface string) {
	for _, addr := range propertyAddrs {
		for name, l := range x.links {
			s := spot{addr, name}
			active := l.running && x.holds(s)
			if !active || name == iface {
				x.early[s] = slices.DeleteFunc(x.due[s], func(due time.Time) bool { return !due.Equal(e.at) })
				delete(x.since, s)
				delete(x.due, s)
			}
			if _, had := x.since[s]; active && !had {
				x.since[s] = e.at
				for _, d := range rounds {
					for range frames(addr) {
						x.due[s] = append(x.due[s], e.at.Add(d))
					}
				}
			}
		}
	}
}

func frames(addr netip.Addr) int {
	if addr.Is4() {
		return 2
	}
	return 1
}

func (x *expected) sent(e event) {
	s, l := spot{e.sighting.addr, e.iface}, x.links[e.iface]
	now := func(due []time.Time) bool { return len(due) > 0 && due[0].Equal(e.at) }
	answer, current := answers(s.addr)(e.sighting), e.src == l.mac && e.sighting.link == l.mac
	switch {
	case !answer && current && x.holds(s) && now(x.due[s]):
		x.due[s] = x.due[s][1:]
	case !answer && now(x.early[s]) && (current || x.was[e.iface].link.mac == e.src && x.was[e.iface].at.Equal(e.at)):
		x.early[s] = x.early[s][1:]
	case !x.holds(s):
		x.fail(e, "%v is claimed on %s, where it is not held", s.addr, s.iface)
	case !current:
		x.fail(e, "%v is claimed with %v by %v on %s, which has %v", s.addr, e.sighting.link, e.src, s.iface, l.mac)
	case !answer:
		x.fail(e, "%v is announced on %s; the next is due at %v", s.addr, s.iface, x.due[s])
	default:
		if x.ask[s]--; x.ask[s] < 0 {
			x.fail(e, "%v is answered on %s, and nobody asked", s.addr, s.iface)
		}
	}
}

// missed looks for what should have been sent before e. What is due at the
// very moment of e may still come, or be overtaken by e.
func (x *expected) missed(e event) {
	for s, due := range x.due {
		if len(due) > 0 && due[0].Before(e.at) {
			x.fail(e, "%v was not announced on %s at %v", s.addr, s.iface, due[0])
			x.due[s] = nil
		}
	}
	if e.do == "sent" {
		return
	}
	for s, n := range x.ask {
		if n > 0 {
			x.fail(e, "%v was not answered on %s", s.addr, s.iface)
		}
		delete(x.ask, s)
	}
}

var (
	propertyAddrs = []netip.Addr{vip4, vip6, other4, other6, same6}
	propertyLinks = []string{"eth0", "eth1"}
)

// operation is one thing to do to a node.
type operation struct {
	kind  string
	set   []Entry
	iface string
	on    bool
	mac   mac
	addr  netip.Addr
	pause time.Duration
}

func drawOperations(t *rapid.T) []operation {
	one := rapid.Custom(func(t *rapid.T) operation {
		o := operation{
			kind:  rapid.SampledFrom([]string{"set", "set", "set", "up", "cable", "mac", "ask", "ask", "claim", "deaf"}).Draw(t, "kind"),
			iface: rapid.SampledFrom(propertyLinks).Draw(t, "iface"),
			on:    rapid.Bool().Draw(t, "on"),
			mac:   mac{2, 0, 0, 0, 1, byte(rapid.IntRange(0, 200).Draw(t, "mac"))},
			addr:  rapid.SampledFrom(propertyAddrs).Draw(t, "addr"),
			pause: rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, time.Second, 11 * time.Second}).Draw(t, "pause"),
		}
		for _, addr := range propertyAddrs {
			switch rapid.IntRange(0, 3).Draw(t, "entry") {
			case 1, 2:
				o.set = append(o.set, Entry{Addr: addr})
			case 3:
				o.set = append(o.set, Entry{Addr: addr, Interfaces: []string{o.iface}})
			}
		}
		return o
	})
	return rapid.SliceOfN(one, 1, 25).Draw(t, "operations")
}

// perform does it all to a node whose Announcer has a fault, or none, and
// returns the history.
func perform(t *testing.T, operations []operation, fault string) []event {
	h := &history{}
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSegment{}
		st := s.station(t, foreign)
		n := s.node(t).(*fakeNode)
		n.taps = func(iface string, frame []byte) {
			if f, ok := sight(frame); ok {
				h.add(event{do: "sent", sighting: f, iface: iface})
			}
		}
		link := func(name string, change func()) {
			change()
			n.mu.Lock()
			l := n.links[name].link
			n.mu.Unlock()
			h.add(event{do: "link", link: l})
			n.tell(changeOf(l))
			synctest.Wait()
		}
		quietly := func(name string, do func(l *fakeLink)) {
			n.mu.Lock()
			defer n.mu.Unlock()
			do(n.links[name])
		}
		a := newAnnouncer(Config{}, &faulty{fakeNode: n, fault: fault})
		start(t, a.Run)
		synctest.Wait()
		for i, name := range propertyLinks {
			link(name, func() { n.silently(func() { n.add(t, name, mac{2, 0, 0, 0, 0, byte(i + 1)}) }) })
		}
		for _, o := range operations {
			time.Sleep(o.pause)
			switch o.kind {
			case "set":
				h.add(event{do: "set", set: o.set})
				faultySet(a, o.set, fault)
			case "up":
				link(o.iface, func() {
					quietly(o.iface, func(l *fakeLink) { l.link.up, l.link.running = o.on, o.on; l.port.plug(o.on) })
				})
			case "cable":
				link(o.iface, func() {
					quietly(o.iface, func(l *fakeLink) { l.link.running = o.on && l.link.up; l.port.plug(l.link.running) })
				})
			case "mac":
				link(o.iface, func() {
					quietly(o.iface, func(l *fakeLink) {
						s.mu.Lock()
						l.link.mac, l.port.mac = o.mac, o.mac
						s.mu.Unlock()
					})
				})
			case "ask":
				h.add(event{do: "ask", addr: o.addr})
				st.ask(t, o.addr)
			case "claim":
				st.claim(t, o.addr)
			case "deaf":
				n.mu.Lock()
				close(n.events)
				n.events = nil
				n.mu.Unlock()
				time.Sleep(2 * time.Second) // subscribed again
			}
			synctest.Wait()
		}
		time.Sleep(20 * time.Second)
		h.add(event{do: "end"})
	})
	return h.events
}

func changeOf(l link) change { return change{link: l} }

// silently does something to the node without telling the subscriber.
func (n *fakeNode) silently(do func()) {
	n.mu.Lock()
	events := n.events
	n.events = nil
	n.mu.Unlock()
	do()
	n.mu.Lock()
	n.events = events
	n.mu.Unlock()
}

// TestNeverAnswersOutsideSet and TestAlwaysAnnouncesOnce are one property:
// over any history, the frames on the wire are those that check expects, no
// more and no fewer, each at its time.
func TestNeverAnswersOutsideSetAndAlwaysAnnouncesOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		events := perform(t, drawOperations(r), "")
		if wrong := check(events); len(wrong) > 0 {
			r.Fatalf("%d wrong, first: %s", len(wrong), wrong[0])
		}
	})
}

// TestCheckSees holds the checker against announcers that are wrong in a way
// that others are known to be.
func TestCheckSees(t *testing.T) {
	operations := []operation{
		{kind: "set", set: entries(vip4, vip6)}, {kind: "ask", addr: vip4, pause: time.Second},
		{kind: "set", set: entries(vip4, vip6, other4)}, {kind: "ask", addr: other6},
		{kind: "mac", iface: "eth0", mac: mac{2, 0, 0, 0, 1, 9}}, {kind: "ask", addr: vip6, pause: time.Second},
		{kind: "set", set: entries(other4)}, {kind: "ask", addr: vip4}, {kind: "up", iface: "eth1"}, {kind: "up", iface: "eth1", on: true, pause: time.Second},
	}
	if wrong := check(perform(t, operations, "")); len(wrong) > 0 {
		t.Errorf("sees what is not: %v", wrong)
	}
	for _, fault := range []string{"keeps its first hardware address", "answers everything", "announces at every Set", "announces twice less", "lets go late", "does not answer"} {
		if wrong := check(perform(t, operations, fault)); len(wrong) == 0 {
			t.Errorf("does not see an announcer that %s", fault)
		}
	}
}

// faulty is a system that makes an Announcer wrong.
type faulty struct {
	*fakeNode
	fault string
}

type faultyWire struct {
	wire
	mac   mac
	fault string
	sent  int
}

func (f *faulty) Open(l link, receive func(wire, []byte)) (wire, error) {
	if f.fault == "" {
		return f.fakeNode.Open(l, receive)
	}
	fw := &faultyWire{mac: l.mac, fault: f.fault}
	w, err := f.fakeNode.Open(l, func(_ wire, frame []byte) {
		if p, ok := parseARP(frame); ok && p.op == arpRequest && f.fault == "answers everything" {
			fw.Send(appendARP(nil, p.sha, arpPacket{op: arpReply, sha: l.mac, spa: p.tpa, tha: p.sha, tpa: p.spa}))
			return
		}
		if m, ok := parseNDP(frame); ok && m.kind == neighborSolicitation && f.fault == "answers everything" {
			fw.Send(appendNDP(nil, m.link, l.mac, advertisement(m.target, m.src, l.mac)))
			return
		}
		receive(fw, frame)
	})
	fw.wire = w
	return fw, err
}

func (w *faultyWire) Send(frame []byte) error {
	f, _ := sight(frame)
	switch w.fault {
	case "keeps its first hardware address":
		frame = slices.Clone(frame)
		copy(frame[6:12], w.mac[:])
	case "announces twice less":
		if w.sent++; w.sent == 4 {
			return nil
		}
	case "does not answer":
		if answers(f.addr)(f) {
			return nil
		}
	}
	return w.wire.Send(frame)
}

func faultySet(a *Announcer, set []Entry, fault string) {
	switch fault {
	case "announces at every Set":
		for _, e := range set {
			defer a.Announce(e.Addr)
		}
	case "lets go late":
		for addr := range a.held.Load().byAddr {
			set = append(slices.Clone(set), Entry{Addr: addr})
		}
	}
	a.Set(set)
}
