package layer2

import (
	"net/netip"
	"slices"
)

// face is an interface as answers need it: immutable, replaced when the
// interface changes.
type face struct {
	name string
	mac  mac
	auto bool // serves entries that name no interface
	ipv6 bool // can do IPv6
}

// among says whether an address may be on the interface: it is one of those named
// or, without names, not excluded. IPv6 needs an interface that can do it: what came
// to another one the kernel would drop.
func (f *face) among(names []string, addr netip.Addr) bool {
	if addr.Is6() && !f.ipv6 {
		return false
	}
	if len(names) == 0 {
		return f.auto
	}
	return slices.Contains(names, f.name)
}

type macSet map[mac]bool

// verdict is what one received frame deserves: any of a reply, a claim to be
// reported, or to be called malformed. The zero value is to be ignored.
type verdict struct {
	reply     []byte // to be sent where the frame came from
	claimed   netip.Addr
	by        mac
	malformed bool
}

// judge decides about a frame that was received on f: the one place that makes
// a reply. The reply is appended to buf.
func judge(t *table, f *face, ours macSet, frame, buf []byte) verdict {
	switch etherType(frame) {
	case typeARP:
		return judgeARP(t, f, ours, frame, buf)
	case typeIPv6:
		return judgeNDP(t, f, ours, frame, buf)
	}
	return verdict{malformed: true}
}

func judgeARP(t *table, f *face, ours macSet, frame, buf []byte) (v verdict) {
	p, ok := parseARP(frame)
	if !ok {
		return verdict{malformed: true}
	}
	if t.concerns(p.spa) && !ours[p.sha] && !ours[etherSource(frame)] {
		v.claimed, v.by = p.spa, p.sha
	}
	if p.op == arpRequest && p.tpa != p.spa && t.lookup(p.tpa, f) != nil {
		v.reply = appendARP(buf, p.sha, arpPacket{op: arpReply, sha: f.mac, spa: p.tpa, tha: p.sha, tpa: p.spa})
	}
	return v
}

func judgeNDP(t *table, f *face, ours macSet, frame, buf []byte) (v verdict) {
	m, ok := parseNDP(frame)
	if !ok {
		return verdict{malformed: true}
	}
	from := etherSource(frame)
	if m.kind == neighborAdvertisement {
		by := m.link
		if by == (mac{}) {
			by = from
		}
		if t.concerns(m.target) && !ours[by] && !ours[from] {
			v.claimed, v.by = m.target, by
		}
		return v
	}
	if m.src == m.target || t.lookup(m.target, f) == nil {
		return v
	}
	to, dst := m.link, m.src
	switch {
	case m.src.IsUnspecified(): // duplicate address detection: RFC 4861 §7.2.4
		to, dst = allNodes, allNodesIP
	case to == mac{}:
		to = from
	}
	if !to.station() && to != allNodes {
		return verdict{malformed: true}
	}
	v.reply = appendNDP(buf, to, f.mac, advertisement(m.target, dst, f.mac))
	return v
}

// receive handles a frame from w, the wire of p. It is called by one goroutine at
// a time for each port, and waits for nothing.
func (a *Announcer) receive(p *port, w wire, frame []byte) {
	f := p.face.Load()
	v := judge(a.held.Load(), f, *a.ours.Load(), frame, p.reply[:0])
	v6 := etherType(frame) == typeIPv6
	switch {
	case v.malformed:
		a.count.malformed.add(v6)
	case v.claimed.IsValid():
		a.count.heard.add(v6)
		a.report(claim{addr: v.claimed, iface: f.name, by: v.by})
	}
	if v.reply == nil {
		return
	}
	if err := w.Send(v.reply); err != nil {
		a.count.sendErrors.Add(1)
		return
	}
	a.count.answered.add(v6)
}

// claim is another station's word that an address is its own.
type claim struct {
	addr  netip.Addr
	iface string
	by    mac
}

func (a *Announcer) report(c claim) {
	if a.heard == nil {
		return
	}
	select {
	case a.claims <- c:
	default:
		a.count.heardDropped.Add(1)
	}
}
