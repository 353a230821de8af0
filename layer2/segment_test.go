package layer2

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

// segment is an Ethernet on which wire tests play: in memory with the time of
// a bubble, or of veth pairs and a bridge in network namespaces.
type segment interface {
	node(t testing.TB) node
	host(t testing.TB, v4, v6 netip.Prefix) host
	station(t testing.TB, m mac) *station
}

// virtual says whether the time on a segment is ours, and so exact.
func virtual(s segment) bool {
	_, fake := s.(*fakeSegment)
	return fake
}

// node is a machine that runs an Announcer. It has no address on any of its
// interfaces.
type node interface {
	run(t testing.TB, c Config) *Announcer
	add(t testing.TB, name string, m mac) // an interface, plugged in and up
	remove(t testing.TB, name string)
	up(t testing.TB, name string, up bool)
	cable(t testing.TB, name string, in bool)
	setMAC(t testing.TB, name string, m mac)
	rename(t testing.TB, old, name string)
	groups(t testing.TB, name string) []netip.Addr // solicited-node groups joined
}

// host is a machine with a neighbour table, as Linux keeps it.
type host interface {
	// reach makes it send a packet to an address.
	reach(t testing.TB, addr netip.Addr)
	// neighbour is where it would send such a packet.
	neighbour(t testing.TB, addr netip.Addr) (m mac, known bool)
	// verify makes it ask its neighbour, unicast, and says whether an answer came.
	verify(t testing.TB, addr netip.Addr) bool
}

// station sends frames as they are and keeps all ARP and neighbour discovery
// that it sees.
type station struct {
	mac   mac
	write func(frame []byte)

	mu   sync.Mutex
	seen []sighting
}

// sighting is a frame in the words of libraries that others wrote.
type sighting struct {
	at       time.Time
	src, dst mac
	kind     string     // request, reply, solicitation or advertisement
	addr     netip.Addr // sender protocol address, or target of an advertisement
	asked    netip.Addr // target protocol address, or target of a solicitation
	link     mac        // sender hardware address, or link-layer option
	target   mac        // target hardware address
	from, to netip.Addr // of IPv6
	flags    string     // S, O
}

func (s *station) send(t testing.TB, frame []byte) {
	t.Helper()
	s.write(slices.Clone(frame))
}

func (s *station) heard(frame []byte) {
	if f, ok := sight(frame); ok {
		f.at = time.Now()
		s.mu.Lock()
		s.seen = append(s.seen, f)
		s.mu.Unlock()
	}
}

// sightings are those since the last forget that pass all filters.
func (s *station) sightings(filters ...func(sighting) bool) []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []sighting
	for _, f := range s.seen {
		if !slices.ContainsFunc(filters, func(pass func(sighting) bool) bool { return !pass(f) }) {
			out = append(out, f)
		}
	}
	return out
}

func (s *station) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = nil
}

// announces passes unasked claims of an address.
func announces(addr netip.Addr) func(sighting) bool {
	return func(f sighting) bool {
		return f.addr == addr && (f.kind == "advertisement" && f.flags == "O" || f.kind != "advertisement" && f.asked == addr)
	}
}

// answers passes replies to somebody.
func answers(addr netip.Addr) func(sighting) bool {
	return func(f sighting) bool {
		return f.addr == addr && (f.kind == "reply" && f.asked != addr || f.kind == "advertisement" && f.flags == "SO")
	}
}

func claims(addr netip.Addr) func(sighting) bool {
	return func(f sighting) bool { return f.addr == addr }
}

func by(m mac) func(sighting) bool { return func(f sighting) bool { return f.src == m } }

// sight decodes a frame with mdlayher's libraries.
func sight(frame []byte) (f sighting, ok bool) {
	var e ethernet.Frame
	if e.UnmarshalBinary(frame) != nil {
		return f, false
	}
	f.src, f.dst = mac(e.Source), mac(e.Destination)
	switch e.EtherType {
	case ethernet.EtherTypeARP:
		return f.arp(e.Payload)
	case ethernet.EtherTypeIPv6:
		return f.ndp(e.Payload)
	}
	return f, false
}

func (f sighting) arp(b []byte) (sighting, bool) {
	var p arp.Packet
	if p.UnmarshalBinary(b) != nil || p.HardwareAddrLength != 6 || p.IPLength != 4 {
		return f, false
	}
	f.kind = map[arp.Operation]string{arp.OperationRequest: "request", arp.OperationReply: "reply"}[p.Operation]
	f.addr, f.asked = p.SenderIP, p.TargetIP
	f.link, f.target = mac(p.SenderHardwareAddr), mac(p.TargetHardwareAddr)
	return f, f.kind != ""
}

func (f sighting) ndp(b []byte) (sighting, bool) {
	if len(b) < 40 || b[6] != 58 {
		return f, false
	}
	f.from, f.to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	n := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if n > len(b) {
		return f, false
	}
	m, err := ndp.ParseMessage(b[40:n])
	if err != nil {
		return f, false
	}
	var options []ndp.Option
	switch m := m.(type) {
	case *ndp.NeighborSolicitation:
		f.kind, f.asked, options = "solicitation", m.TargetAddress, m.Options
	case *ndp.NeighborAdvertisement:
		f.kind, f.addr, options = "advertisement", m.TargetAddress, m.Options
		if m.Solicited {
			f.flags += "S"
		}
		if m.Override {
			f.flags += "O"
		}
	}
	for _, o := range options {
		if l, is := o.(*ndp.LinkLayerAddress); is {
			f.link = mac(l.Addr)
		}
	}
	return f, f.kind != ""
}

// until waits for something that is to come true.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(500 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// start runs a until the test ends.
func start(t testing.TB, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// claimLog is a Config.Heard that remembers.
type claimLog struct {
	mu  sync.Mutex
	all []claim
}

func (l *claimLog) heard(addr netip.Addr, iface string, m net.HardwareAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, claim{addr, iface, mac(m)})
}

func (l *claimLog) list() []claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func entries(addrs ...netip.Addr) []Entry {
	out := make([]Entry, len(addrs))
	for i, a := range addrs {
		out[i].Addr = a
	}
	return out
}
