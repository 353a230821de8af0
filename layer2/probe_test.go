package layer2

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A probe claims nothing: its sender is nobody.
func asks(addr netip.Addr) func(sighting) bool {
	return func(f sighting) bool {
		return f.asked == addr && f.link != (mac{}) == (f.kind == "request") && (f.kind == "request" && f.addr == netip.IPv4Unspecified() ||
			f.kind == "solicitation" && f.from == netip.IPv6Unspecified() && f.to == solicitedNode(addr))
	}
}

func playProbe(t *testing.T, s segment) {
	var log claimLog
	st := s.station(t, foreign)
	n, owner := s.node(t), s.node(t)
	n.add(t, "eth0", macA)
	owner.add(t, "eth0", macB)
	a := n.run(t, Config{Heard: log.heard})
	o := owner.run(t, Config{})
	o.Set(entries(both...))
	announced(t, o, both, "eth0")
	quiet(t, o, st)
	st.claim(t, vip4) // of no interest yet
	st.claim(t, other6)

	probed := append([]netip.Addr{other4, other6}, both...)
	a.Probe(entries(probed...)...)
	for _, addr := range probed {
		until(t, addr.String()+" asked for three times", func() bool { return len(st.sightings(asks(addr))) == probes })
		if all := st.sightings(by(macA), claims(addr)); len(all) > 0 {
			t.Errorf("a probe claims: %+v", all)
		}
	}
	until(t, "the owner is heard", func() bool {
		all := log.list()
		return slices.Contains(all, claim{vip4, "eth0", macB}) && slices.Contains(all, claim{vip6, "eth0", macB})
	})
	st.claim(t, other4) // somebody who is slow
	until(t, "the slow one is heard", func() bool { return slices.Contains(log.list(), claim{other4, "eth0", foreign}) })
	if got := a.Stats().Probes; got != (Families{IPv4: 2 * probes, IPv6: 2 * probes}) {
		t.Errorf("probes counted: %+v", got)
	}

	until(t, "nothing is asked for any more", func() bool { return len(a.held.Load().probed) == 0 })
	heard := len(log.list())
	st.claim(t, other4)
	st.claim(t, vip6)
	a.Set(entries(other6)) // what is held needs no question
	announced(t, a, []netip.Addr{other6}, "eth0")
	quiet(t, a, st)
	a.Probe(entries(other6)...)
	time.Sleep(50 * time.Millisecond)
	if all := st.sightings(asks(other6)); len(all) > 0 || len(log.list()) != heard {
		t.Errorf("asked for what it holds: %+v; heard %v", all, log.list()[heard:])
	}
}

func playProbeElsewhere(t *testing.T, s segment) {
	var log claimLog
	st := s.station(t, foreign)
	n := s.node(t)
	n.add(t, "docker0", macA) // excluded
	a := n.run(t, Config{Heard: log.heard})
	a.Probe(Entry{Addr: vip4}, Entry{Addr: vip6, Interfaces: []string{"docker0"}})
	until(t, "asked", func() bool { return len(st.sightings(asks(vip6))) == probes })
	if all := st.sightings(asks(vip4)); len(all) > 0 {
		t.Errorf("asked on an excluded interface: %+v", all)
	}
	st.claim(t, vip6)
	until(t, "heard", func() bool { return slices.Contains(log.list(), claim{vip6, "docker0", foreign}) })
	until(t, "the interface is left", func() bool { return a.Stats().Interfaces == 0 })
}
