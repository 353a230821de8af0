package layer2

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeHost has the rules by which Linux takes what it hears into its neighbour
// table (arp_process and ndisc_recv_na of kernel 6; the tests that run on veth
// too hold it to them).
type fakeHost struct {
	port   *fakePort
	v4, v6 netip.Addr

	mu    sync.Mutex
	table map[netip.Addr]*fakeNeighbour
}

type fakeNeighbour struct {
	mac      mac
	known    bool
	updated  time.Time
	verified int // solicited answers
}

const lockTime = time.Second // net.ipv4.neigh.default.locktime

func (s *fakeSegment) host(t testing.TB, v4, v6 netip.Prefix) host {
	h := &fakeHost{v4: v4.Addr(), v6: v6.Addr(), table: map[netip.Addr]*fakeNeighbour{}}
	h.port = s.plug(t, mac{2, 0, 0, 0, 0xfe, byte(len(s.ports))}, false, h.receive)
	return h
}

func (h *fakeHost) receive(frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := sight(frame)
	n := h.table[f.addr]
	if !ok || n == nil || !f.addr.IsValid() {
		return // no entry, and arp_accept is 0
	}
	switch f.kind {
	case "request", "reply":
		gratuitous := f.addr == f.asked && (f.kind == "request" || f.link == f.target)
		n.take(f.link, gratuitous || !n.known || time.Since(n.updated) > lockTime)
		if f.kind == "reply" && f.dst == h.port.mac {
			n.verified++
		}
	case "advertisement":
		if _, ok := parseNDP(frame); !ok {
			return // checksum, hop limit
		}
		n.take(f.link, slices.Contains([]string{"O", "SO"}, f.flags) || !n.known && f.flags == "S")
		if f.flags[0] == 'S' {
			n.verified++
		}
	}
}

func (n *fakeNeighbour) take(m mac, override bool) {
	if override && n.mac != m {
		n.mac, n.updated = m, time.Now()
	}
	n.known = n.known || override
}

func (h *fakeHost) reach(_ testing.TB, addr netip.Addr) {
	h.mu.Lock()
	n := h.table[addr]
	if n == nil {
		n = &fakeNeighbour{}
		h.table[addr] = n
	}
	known := n.known
	h.mu.Unlock()
	if !known {
		h.ask(addr, broadcast)
	}
}

// ask sends a request to one station, or to all.
func (h *fakeHost) ask(addr netip.Addr, to mac) {
	if addr.Is4() {
		h.port.send(appendARP(nil, to, arpPacket{op: arpRequest, sha: h.port.mac, spa: h.v4, tpa: addr}))
		return
	}
	m := neighborMessage{kind: neighborSolicitation, src: h.v6, dst: addr, target: addr, link: h.port.mac}
	if to == broadcast {
		m.dst = solicitedNode(addr)
		b := m.dst.As16()
		to = mac{0x33, 0x33, b[12], b[13], b[14], b[15]}
	}
	h.port.send(appendNDP(nil, to, h.port.mac, m))
}

func (h *fakeHost) neighbour(_ testing.TB, addr netip.Addr) (mac, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.table[addr]; n != nil {
		return n.mac, n.known
	}
	return mac{}, false
}

func (h *fakeHost) verify(t testing.TB, addr netip.Addr) bool {
	m, known := h.neighbour(t, addr)
	if !known {
		return false
	}
	count := func() int { h.mu.Lock(); defer h.mu.Unlock(); return h.table[addr].verified }
	before := count()
	h.ask(addr, m)
	time.Sleep(time.Second)
	return count() > before
}
