package layer2

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The addresses that plays use. The last 24 bits of the IPv6 ones are such
// that no address of a kernel is in their groups.
var (
	vip4   = netip.MustParseAddr("192.0.2.10")
	vip6   = netip.MustParseAddr("2001:db8::99:10")
	other4 = netip.MustParseAddr("192.0.2.11")
	other6 = netip.MustParseAddr("2001:db8::99:11")
	same6  = netip.MustParseAddr("2001:db8::1:0:99:10") // in the group of vip6

	both = []netip.Addr{vip4, vip6}

	hostNet4 = netip.MustParsePrefix("192.0.2.100/24")
	hostNet6 = netip.MustParsePrefix("2001:db8::100/64")

	macA    = mac{2, 0, 0, 0, 0, 0xa}
	macB    = mac{2, 0, 0, 0, 0, 0xb}
	foreign = mac{2, 0, 0, 0, 0, 0xf}
)

// plays are the wire tests: each runs on the fake segment and on veth.
var plays = map[string]func(t *testing.T, s segment){
	"answers a host, and the host's unicast probes":            playAnswers,
	"answers every form of request":                            playRequests,
	"does not answer what it does not hold":                    playSilence,
	"announces what is new, and only that":                     playAnnounces,
	"changes the entry of a neighbour at once":                 playTakesOver,
	"announces on an interface that comes late":                playLate,
	"announces again when a link or a carrier comes back":      playLinkBack,
	"answers and announces with a new hardware address":        playNewMAC,
	"follows the name of an interface":                         playRename,
	"lives on an interface that is made again":                 playRecreate,
	"keeps addresses to their interfaces":                      playInterfaces,
	"hears other stations and never itself":                    playHears,
	"hands over with no moment in which nobody answers":        playHandover,
	"announces again when asked":                               playAgain,
	"asks who has an address without claiming it":              playProbe,
	"asks on an interface that it uses for nothing else":       playProbeElsewhere,
	"tells which interfaces it could use":                      playUsable,
	"joins and leaves a group with its first and last address": playGroups,
}

func TestWire(t *testing.T) {
	for name, play := range plays {
		t.Run("fake/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, &fakeSegment{}) })
		})
		t.Run("veth/"+name, func(t *testing.T) {
			s := newVeth(t)
			t.Parallel()
			play(t, s)
		})
	}
}

// stand is the usual scene: a node with eth0 that holds what both says, and a
// station.
func stand(t *testing.T, s segment, c Config) (node, *Announcer, *station) {
	n, st := s.node(t), s.station(t, foreign)
	n.add(t, "eth0", macA)
	a := n.run(t, c)
	a.Set(entries(both...))
	announced(t, a, both, "eth0")
	return n, a, st
}

func announced(t *testing.T, a *Announcer, addrs []netip.Addr, ifaces ...string) {
	t.Helper()
	until(t, "announced", func() bool {
		all := a.Status()
		return !slices.ContainsFunc(addrs, func(addr netip.Addr) bool {
			return !slices.ContainsFunc(all, func(s Status) bool {
				return s.Addr == addr && slices.Equal(s.Interfaces, ifaces) && !s.Since.IsZero()
			})
		})
	})
}

// ask is a broadcast or multicast request for an address.
func (s *station) ask(t *testing.T, addr netip.Addr) {
	if addr.Is4() {
		s.send(t, appendARP(nil, broadcast, arpPacket{op: arpRequest, sha: s.mac, spa: hostNet4.Addr(), tpa: addr}))
		return
	}
	g := solicitedNode(addr)
	b := g.As16()
	s.send(t, appendNDP(nil, mac{0x33, 0x33, b[12], b[13], b[14], b[15]}, s.mac, neighborMessage{
		kind: neighborSolicitation, src: hostNet6.Addr(), dst: g, target: addr, link: s.mac}))
}

// claim is an announcement of an address as its new owner would send it.
func (s *station) claim(t *testing.T, addr netip.Addr) {
	if addr.Is6() {
		s.send(t, appendNDP(nil, allNodes, s.mac, advertisement(addr, allNodesIP, s.mac)))
		return
	}
	for _, p := range arpAnnouncements(addr, s.mac) {
		s.send(t, appendARP(nil, broadcast, p))
	}
}

// served waits until each address is answered with m. Like a host it asks once
// a second: a frame can get lost where thousands come at once.
func served(t *testing.T, st *station, m mac, addrs ...netip.Addr) {
	t.Helper()
	for _, addr := range addrs {
		st.forget()
		var asked time.Time
		until(t, addr.String()+" answered", func() bool {
			if time.Since(asked) > time.Second {
				st.ask(t, addr)
				asked = time.Now()
			}
			return len(st.sightings(answers(addr))) > 0
		})
		for _, f := range st.sightings(answers(addr)) {
			if f.link != m || f.src != m {
				t.Errorf("%v answered with %v from %v, not with %v", addr, f.link, f.src, m)
			}
		}
	}
}

// unserved asks, and expects no answer. It knows by the answer to a later
// question that there will be none.
func unserved(t *testing.T, st *station, addrs ...netip.Addr) {
	t.Helper()
	for _, addr := range addrs {
		st.forget()
		for range 3 {
			st.ask(t, addr)
		}
	}
	time.Sleep(50 * time.Millisecond)
	for _, addr := range addrs {
		if all := st.sightings(claims(addr)); len(all) > 0 {
			t.Errorf("%v is claimed: %+v", addr, all)
		}
	}
}

func playAnswers(t *testing.T, s segment) {
	h := s.host(t, hostNet4, hostNet6)
	stand(t, s, Config{})
	for _, addr := range both {
		h.reach(t, addr)
		until(t, "the host knows "+addr.String(), func() bool { m, ok := h.neighbour(t, addr); return ok && m == macA })
		if !h.verify(t, addr) {
			t.Errorf("the host's probe of %v was not answered", addr)
		}
	}
}

func playRequests(t *testing.T, s segment) {
	_, a, st := stand(t, s, Config{})
	from4, from6 := hostNet4.Addr(), hostNet6.Addr()
	group := solicitedNode(vip6)
	groupMAC := mac{0x33, 0x33, 0xff, 0x99, 0, 0x10}
	request := arpPacket{op: arpRequest, sha: foreign, spa: from4, tpa: vip4}
	solicit := neighborMessage{kind: neighborSolicitation, src: from6, dst: group, target: vip6, link: foreign}
	unicast, dad, bare := solicit, solicit, solicit
	unicast.dst = vip6
	dad.src, dad.link = netip.IPv6Unspecified(), mac{}
	bare.dst, bare.link = vip6, mac{}
	probe := request
	probe.spa = netip.IPv4Unspecified()
	padded := append(appendARP(nil, broadcast, request), make([]byte, 18)...)
	for name, c := range map[string]struct {
		frame []byte
		want  sighting
	}{
		"ARP broadcast":     {padded, sighting{kind: "reply", dst: foreign, asked: from4, target: foreign}},
		"ARP unicast":       {appendARP(nil, macA, request), sighting{kind: "reply", dst: foreign, asked: from4, target: foreign}},
		"ARP probe":         {appendARP(nil, broadcast, probe), sighting{kind: "reply", dst: foreign, asked: netip.IPv4Unspecified(), target: foreign}},
		"NS multicast":      {appendNDP(nil, groupMAC, foreign, solicit), sighting{kind: "advertisement", dst: foreign, to: from6, flags: "SO"}},
		"NS unicast":        {appendNDP(nil, macA, foreign, unicast), sighting{kind: "advertisement", dst: foreign, to: from6, flags: "SO"}},
		"NS without option": {appendNDP(nil, macA, foreign, bare), sighting{kind: "advertisement", dst: foreign, to: from6, flags: "SO"}},
		"DAD":               {appendNDP(nil, groupMAC, foreign, dad), sighting{kind: "advertisement", dst: allNodes, to: allNodesIP, flags: "O"}},
	} {
		quiet(t, a, st)
		before := a.Stats().Answered
		st.send(t, c.frame)
		until(t, name+" answered", func() bool { return len(st.sightings()) > 0 })
		got := st.sightings()
		c.want.src, c.want.link, c.want.at = macA, macA, got[0].at
		c.want.addr = vip4
		if c.want.kind == "advertisement" {
			c.want.addr, c.want.from = vip6, vip6
		}
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
		until(t, name+" counted", func() bool {
			after := a.Stats().Answered
			return after.IPv4+after.IPv6 == before.IPv4+before.IPv6+1
		})
	}
}

// quiet waits until the first, dense announcements are over, and forgets them.
func quiet(t *testing.T, a *Announcer, st *station) {
	for {
		before := a.Stats().Gratuitous
		time.Sleep(60 * time.Millisecond)
		if a.Stats().Gratuitous == before {
			break
		}
	}
	st.forget()
}

func playSilence(t *testing.T, s segment) {
	_, a, st := stand(t, s, Config{})
	unserved(t, st, other4, other6, same6)
	a.Set(entries(vip6, other4))
	st.forget()
	served(t, st, macA, vip6, other4)
	unserved(t, st, vip4)
	a.Set(nil)
	unserved(t, st, vip4, vip6, other4)
	if all := a.Status(); len(all) != 0 {
		t.Errorf("status of nothing: %+v", all)
	}
}

func playAnnounces(t *testing.T, s segment) {
	told := make(chan netip.Addr, 16)
	n, st := s.node(t), s.station(t, foreign)
	n.add(t, "eth0", macA)
	a := n.run(t, Config{Announced: func(addr netip.Addr, iface string) { told <- addr }})
	a.Set(entries(both...))
	for _, addr := range both {
		checkBurst(t, s, st, addr, macA)
	}
	until(t, "told", func() bool { return len(told) == 2 })
	st.forget()
	for range 5 { // what stays is not announced, whatever comes and goes beside it
		a.Set(entries(vip4, vip6, other4, other6))
		announced(t, a, []netip.Addr{other4, other6}, "eth0")
		a.Set([]Entry{{Addr: vip6}, {Addr: vip4}})
	}
	if virtual(s) {
		time.Sleep(500 * time.Millisecond) // before the next round of the first burst
		for _, addr := range both {
			if got := st.sightings(announces(addr)); len(got) > 0 {
				t.Errorf("%v announced again: %+v", addr, got)
			}
		}
	}
	until(t, "five announcements in two forms", func() bool { return len(st.sightings(announces(other4))) >= 10 })
}

// checkBurst wants the first three rounds in their forms and, where the clock
// is ours, at their times: a busy machine delivers late.
func checkBurst(t *testing.T, s segment, st *station, addr netip.Addr, m mac) {
	t.Helper()
	want := []sighting{{kind: "advertisement", dst: allNodes, src: m, addr: addr, link: m, from: addr, to: allNodesIP, flags: "O"}}
	if addr.Is4() {
		want = []sighting{
			{kind: "request", dst: broadcast, src: m, addr: addr, asked: addr, link: m},
			{kind: "reply", dst: broadcast, src: m, addr: addr, asked: addr, link: m, target: m},
		}
	}
	until(t, "three rounds", func() bool { return len(st.sightings(announces(addr))) >= 3*len(want) })
	got := st.sightings(announces(addr))
	for i, f := range got {
		w := want[i%len(want)]
		w.at = f.at
		if f != w {
			t.Errorf("announcement %d is %+v, want %+v", i, f, w)
		}
	}
	if d := got[len(got)-1].at.Sub(got[0].at); virtual(s) && (len(got) != 3*len(want) || d != rounds[2]) {
		t.Errorf("%d announcements within %v", len(got), d)
	}
}

func playTakesOver(t *testing.T, s segment) {
	h := s.host(t, hostNet4, hostNet6)
	st := s.station(t, foreign)
	n := s.node(t)
	n.add(t, "eth0", macA)
	a := n.run(t, Config{})
	owner := s.node(t)
	owner.add(t, "eth0", macB)
	o := owner.run(t, Config{})
	o.Set(entries(both...))
	announced(t, o, both, "eth0")
	for _, addr := range both {
		h.reach(t, addr)
		until(t, "the host knows the owner", func() bool { m, ok := h.neighbour(t, addr); return ok && m == macB })
	}
	quiet(t, o, st)
	a.Set(entries(both...)) // less than a second after the entry changed
	for _, addr := range both {
		until(t, "the host knows the heir", func() bool { m, _ := h.neighbour(t, addr); return m == macA })
	}
}

func playHandover(t *testing.T, s segment) {
	h, st := s.host(t, hostNet4, hostNet6), s.station(t, foreign)
	heirNode := s.node(t)
	heirNode.add(t, "eth0", macB)
	var owner *Announcer
	var mu sync.Mutex
	held := slices.Clone(both)
	ownerNode := s.node(t)
	ownerNode.add(t, "eth0", mac{2, 0, 0, 0, 0, 0xc})
	owner = ownerNode.run(t, Config{Heard: func(addr netip.Addr, _ string, m net.HardwareAddr) {
		if mac(m) != macB {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		held = slices.DeleteFunc(held, func(x netip.Addr) bool { return x == addr })
		owner.Set(entries(held...)) // yield what the heir has
	}})
	owner.Set(entries(both...))
	announced(t, owner, both, "eth0")
	for _, addr := range both {
		h.reach(t, addr)
		until(t, "reached", func() bool { _, ok := h.neighbour(t, addr); return ok })
	}
	heir := heirNode.run(t, Config{})
	heir.Set(entries(both...))
	for i := 0; len(owner.Status()) > 0; i++ {
		if i > 1000 {
			t.Fatal("the owner never heard the heir")
		}
		for _, addr := range both {
			st.forget()
			st.ask(t, addr)
			until(t, "somebody answers", func() bool { return len(st.sightings(answers(addr))) > 0 })
		}
	}
	served(t, st, macB, both...)
	for _, addr := range both {
		until(t, "the host knows the heir", func() bool { m, _ := h.neighbour(t, addr); return m == macB })
	}
}

func playHears(t *testing.T, s segment) {
	var log claimLog
	n, a, st := stand(t, s, Config{Heard: log.heard})
	n.add(t, "eth1", macB) // on the same segment: each hears the other
	announced(t, a, both, "eth0", "eth1")
	quiet(t, a, st)
	if got := log.list(); len(got) > 0 {
		t.Fatalf("heard itself: %v", got)
	}
	st.ask(t, vip4) // questions are no claims
	st.ask(t, vip6)
	st.claim(t, other4) // nobody's here
	st.claim(t, other6)
	until(t, "answered by both", func() bool {
		return len(st.sightings(answers(vip4))) == 2 && len(st.sightings(answers(vip6))) == 2
	})
	if got := log.list(); len(got) > 0 {
		t.Fatalf("heard what is no claim: %v", got)
	}
	st.forget()
	st.claim(t, vip4)
	st.claim(t, vip6)
	st.send(t, appendARP(nil, macA, arpPacket{op: arpReply, sha: foreign, spa: vip4, tha: macA, tpa: other4}))
	until(t, "heard", func() bool { return len(log.list()) == 7 })
	count := map[claim]int{}
	for _, c := range log.list() {
		count[c]++
	}
	for c, want := range map[claim]int{
		{vip4, "eth0", foreign}: 3, {vip4, "eth1", foreign}: 2, {vip6, "eth0", foreign}: 1, {vip6, "eth1", foreign}: 1,
	} {
		if count[c] != want {
			t.Errorf("%v heard %d times, want %d; in all: %v", c, count[c], want, count)
		}
	}
	for _, addr := range both {
		if got := st.sightings(answers(addr)); len(got) > 0 {
			t.Errorf("answered an announcement: %+v", got)
		}
	}
}
