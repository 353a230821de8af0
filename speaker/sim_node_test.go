package speaker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
)

// ---- what a node does

// setNIC takes the interface of the addresses from a node, or gives it back.
func (cl *cluster) setNIC(n *machine, there bool) {
	n.nic = there
	cl.say("%s: interface %v", n.name, there)
	if there {
		cl.announceAll(n)
	}
	cl.tellNIC(n)
}

// tellNIC is what layer2 and the shell tell the core of the interfaces.
func (cl *cluster) tellNIC(n *machine) {
	for _, d := range []time.Duration{0, flap + 10*ms} {
		cl.after(d, func() {
			if n.core == nil {
				return
			}
			usable, on := map[string]layer2.Usability{}, map[netip.Addr]bool{}
			if n.nic {
				usable["eth0"] = layer2.Usability{Unnamed: true, IPv6: true}
				for addr := range n.set {
					on[addr] = true
				}
			}
			n.core.interfaces(cl.now, usable)
			n.core.reach(cl.now, on)
			cl.step(n)
		})
	}
}

func (cl *cluster) step(n *machine) {
	if cl.wrong.failBack {
		n.core.failBack()
	}
	if cl.wrong.wideAtOnce {
		for _, s := range n.core.seats {
			s.serving = !s.eligible.IsZero()
		}
	}
	o := n.core.decide(cl.now)
	for _, nt := range o.notes {
		cl.say("%s: %s %s %s other=%s proof=%s took=%s", n.name, nt.kind, nt.addr, nt.cause, nt.other, nt.proof, nt.took)
	}
	if cl.wrong.releaseFirst {
		n.core.releaseFirst(&o)
	}
	for _, m := range o.tell {
		b := appendMessage(nil, m, cl.now)
		for _, other := range cl.names {
			if n.core.members[other] {
				cl.carry(n.name, other, b, cl.loss)
			}
		}
	}
	slices.Sort(o.ask)
	for _, other := range o.ask {
		cl.after(cl.between(ms/5, 5*ms), func() { cl.full(other, n.name) })
	}
	if o.set {
		cl.apply(n)
	}
	for _, addr := range o.again {
		cl.burst(n, addr)
	}
	for _, e := range o.probe {
		cl.probe(n, e.Addr)
	}
	cl.poll(n)
	cl.wake(n, o.wake)
}

func (cl *cluster) wake(n *machine, at time.Time) {
	if at.IsZero() || !n.wakeAt.IsZero() && !at.Before(n.wakeAt) && n.wakeAt.After(cl.now) {
		return
	}
	n.wakeAt = at
	life := n.life
	cl.after(max(0, at.Sub(cl.now)), func() {
		if n.core != nil && n.life == life {
			n.wakeAt = time.Time{}
			cl.step(n)
		}
	})
}

// apply is layer2.Set.
func (cl *cluster) apply(n *machine) {
	want := map[netip.Addr]bool{}
	entries := n.core.entries()
	slices.SortFunc(entries, func(a, b layer2.Entry) int { return a.Addr.Compare(b.Addr) })
	for _, e := range entries {
		want[e.Addr] = true
		if _, ok := n.set[e.Addr]; !ok {
			n.lives++
			n.set[e.Addr] = n.lives
			cl.burst(n, e.Addr)
		}
	}
	for addr := range n.set {
		if !want[addr] {
			delete(n.set, addr)
		}
	}
}

func (cl *cluster) burst(n *machine, addr netip.Addr) {
	held := n.set[addr]
	for i, d := range []time.Duration{cl.between(ms/20, ms), 20 * ms, 40 * ms, time.Second, 2 * time.Second} {
		cl.after(d, func() {
			if n.set[addr] != held || held == 0 || !n.power || !n.nic {
				return
			}
			if i == 0 && n.core != nil && n.cable {
				n.core.announced(cl.now, addr)
				defer cl.step(n)
			}
			cl.gratuitous(n, addr)
		})
	}
}

// gratuitous brings an announcement to the segment: to the client at once, to
// the other nodes a little later.
func (cl *cluster) gratuitous(n *machine, addr netip.Addr) {
	if n.cable && cl.parts[n.name] == 0 {
		if cl.client[addr].node != n.name {
			cl.say("client: %s is at %s", addr, n.name)
			cl.client[addr] = target{n.name, cl.now}
		}
	}
	for _, other := range cl.names {
		o := cl.nodes[other]
		if other == n.name || o.core == nil || !o.nic || !cl.wired(n.name, other) {
			continue
		}
		life := o.life
		cl.after(cl.between(ms/50, ms), func() {
			if _, held := o.set[addr]; held && o.core != nil && o.life == life {
				o.core.heard(cl.now, addr, "eth0", n.name)
				cl.step(o)
			}
		})
	}
}

// probe asks the segment for an address: who answers for it is heard.
func (cl *cluster) probe(n *machine, addr netip.Addr) {
	life := n.life
	for _, other := range cl.names {
		if other == n.name || !n.nic || !cl.wired(n.name, other) {
			continue
		}
		cl.after(cl.between(ms/5, 45*ms), func() {
			if _, held := cl.nodes[other].set[addr]; held && cl.nodes[other].nic && n.core != nil && n.life == life && cl.wired(n.name, other) {
				n.core.heard(cl.now, addr, "eth0", other)
				cl.step(n)
			}
		})
	}
}

// poll asks the health ports that a core wants, as the shell does.
func (cl *cluster) poll(n *machine) {
	if n.polled == nil {
		n.polled = map[healthPort]bool{}
	}
	for _, port := range slices.SortedFunc(maps.Keys(n.core.polls()), byPort) {
		if n.polled[port] {
			continue
		}
		n.polled[port] = true
		cl.pollPort(n, port, n.life)
	}
}

func (cl *cluster) pollPort(n *machine, port healthPort, life uint64) {
	cl.after(cl.between(20*ms, 60*ms), func() {
		if n.core == nil || n.life != life {
			return
		}
		if _, wanted := n.core.polls()[port]; !wanted {
			delete(n.polled, port)
			return
		}
		for addr, s := range cl.truth {
			if _, ok := n.serves[addr]; ok && addr.Is6() == port.six && slices.Contains(s.HealthPorts, port.port) {
				delete(n.polled, port)
				n.core.healthy(cl.now, port)
				cl.step(n)
				return
			}
		}
		cl.pollPort(n, port, life)
	})
}

func byPort(a, b healthPort) int {
	if a.port == b.port && a.six != b.six {
		if b.six {
			return -1
		}
		return 1
	}
	return int(a.port) - int(b.port)
}

// ---- what is true

// answering returns the nodes that answer for an address where the client is.
func (cl *cluster) answering(addr netip.Addr) (names []string) {
	for _, name := range cl.names {
		n := cl.nodes[name]
		if _, ok := n.set[addr]; ok && n.power && n.cable && n.nic && cl.parts[name] == 0 {
			names = append(names, name)
		}
	}
	return names
}

// able returns the candidates that could answer the client now: their daemon
// is in full work, and knows.
func (cl *cluster) able(addr netip.Addr) (names []string) {
	for _, name := range cl.fit(addr) {
		known := cl.nodes[name].core.seats[addr]
		if known != nil && sameNodes(known.Layer2, cl.truth[addr].Layer2) && !known.fight.lost || cl.wrong.failBack {
			names = append(names, name)
		}
	}
	return names
}

// fit returns the candidates whose daemon is in full work.
func (cl *cluster) fit(addr netip.Addr) (names []string) {
	for _, c := range cl.truth[addr].Layer2 {
		n := cl.nodes[c.Node]
		if n.power && n.cable && n.nic && cl.parts[c.Node] == 0 && n.core != nil && n.core.settled && !n.core.leaving {
			names = append(names, c.Node)
		}
	}
	return names
}

func has(s allocator.Seat, node string) bool {
	return slices.ContainsFunc(s.Layer2, func(c allocator.Candidate) bool { return c.Node == node })
}

func sameNodes(a, b []allocator.Candidate) bool {
	return slices.EqualFunc(a, b, func(x, y allocator.Candidate) bool { return x.Node == y.Node && x.Weight == y.Weight })
}

func candidates(s allocator.Seat) string {
	var names []string
	for _, c := range s.Layer2 {
		names = append(names, fmt.Sprintf("%s/%d", c.Node, c.Weight))
	}
	return "[" + strings.Join(names, " ") + "]"
}
