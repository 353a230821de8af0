package layer2

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// curious is how long answers to a probe are waited for.
const curious = 300 * time.Millisecond

// probe is a question whether a station has an address.
type probe struct {
	names []string  // sorted; empty: all that are not excluded
	until time.Time // zero: not sent yet; with runner
}

// on says whether the question is asked on an interface.
func (p *probe) on(f *face, addr netip.Addr) bool { return f.among(p.names, addr) }

// Probe asks whether a station has addresses that are not in the set, without
// claiming them (RFC 5227 §2.1.1, RFC 4862 §5.4.2): three times, 20 ms apart, on
// the interfaces of the entries. Who answers or announces one of them within 300 ms
// is told to Config.Heard. Addresses of the set are ignored; for one that is being
// asked for already, the question begins anew. Probe does not wait, and may be
// called before Run.
func (a *Announcer) Probe(entries ...Entry) {
	a.set.Lock()
	defer a.set.Unlock()
	now := a.held.Load()
	asked := maps.Clone(now.probed)
	if asked == nil {
		asked = map[netip.Addr]*probe{}
	}
	for _, e := range entries {
		addr := e.Addr.Unmap().WithZone("")
		if !answerable(addr) || now.byAddr[addr] != nil {
			continue
		}
		asked[addr] = &probe{names: slices.Compact(slices.Sorted(slices.Values(e.Interfaces)))}
	}
	a.held.Store(now.probing(asked))
	a.wake()
}

// probing returns the table with other questions.
func (t *table) probing(asked map[netip.Addr]*probe) *table {
	next := *t
	next.probed = asked
	return &next
}

// unheld returns the questions about addresses that t does not hold.
func (t *table) unheld(asked map[netip.Addr]*probe) map[netip.Addr]*probe {
	asked = maps.Clone(asked)
	maps.DeleteFunc(asked, func(addr netip.Addr, _ *probe) bool { return t.byAddr[addr] != nil })
	return asked
}

// concerns says whether what a station says of an address is of interest.
func (t *table) concerns(addr netip.Addr) bool {
	return t.byAddr[addr] != nil || t.probed[addr] != nil
}

// asks says whether an address is asked for on an interface that is named.
func (t *table) asks(name string) bool {
	for _, p := range t.probed {
		if slices.Contains(p.names, name) {
			return true
		}
	}
	return false
}

// asksNDP says whether an IPv6 address is asked for on an interface.
func (t *table) asksNDP(f *face) bool {
	for addr, p := range t.probed {
		if addr.Is6() && p.on(f, addr) {
			return true
		}
	}
	return false
}

// ask begins the questions that have not been asked yet. With Announcer.mu.
func (r *runner) ask(t *table, now time.Time) {
	for addr, q := range t.probed {
		if !q.until.IsZero() {
			continue
		}
		q.until = now.Add(curious)
		for _, p := range r.a.ports {
			if p.link.running && q.on(p.face.Load(), addr) && (p.ndp || addr.Is4()) {
				r.queue[0] = append(r.queue[0], &burst{port: p, probe: q, addr: addr, start: now})
			}
		}
	}
}

// expire ends questions that have had their time, and returns how long to wait for
// the next end.
func (r *runner) expire(now time.Time) (wait time.Duration, any bool) {
	a := r.a
	if len(a.held.Load().probed) == 0 {
		return 0, false
	}
	a.set.Lock()
	defer a.set.Unlock()
	t, ended := a.held.Load(), false
	rest := maps.Clone(t.probed)
	for addr, q := range t.probed {
		switch d := q.until.Sub(now); {
		case q.until.IsZero(): // work is waiting
		case d <= 0:
			delete(rest, addr)
			ended = true
		case !any || d < wait:
			wait, any = d, true
		}
	}
	if ended {
		a.held.Store(t.probing(rest))
		a.wake()
	}
	return wait, any
}

// question appends the frame that asks for an address.
func question(b []byte, addr netip.Addr, own mac) []byte {
	if addr.Is4() {
		return appendARP(b, broadcast, arpPacket{op: arpRequest, sha: own, spa: netip.IPv4Unspecified(), tpa: addr})
	}
	group := solicitedNode(addr)
	g := group.As16()
	return appendNDP(b, mac{0x33, 0x33, g[12], g[13], g[14], g[15]}, own,
		neighborMessage{kind: neighborSolicitation, src: netip.IPv6Unspecified(), dst: group, target: addr})
}
