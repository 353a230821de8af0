package layer2

import (
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Plays about the life of interfaces.

func playLate(t *testing.T, s segment) {
	n, st := s.node(t), s.station(t, foreign)
	a := n.run(t, Config{})
	a.Set(entries(both...))
	time.Sleep(20 * time.Millisecond)
	n.add(t, "eth0", macA)
	announced(t, a, both, "eth0")
	for _, addr := range both {
		checkBurst(t, s, st, addr, macA)
	}
	served(t, st, macA, both...)
	if g := n.groups(t, "eth0"); len(g) != 1 || g[0] != solicitedNode(vip6) {
		t.Errorf("joined %v", g)
	}
}

func playLinkBack(t *testing.T, s segment) {
	n, a, st := stand(t, s, Config{})
	n.add(t, "eth1", macB)
	announced(t, a, both, "eth0", "eth1")
	for name, cut := range map[string]func(testing.TB, string, bool){"link": n.up, "carrier": n.cable} {
		quiet(t, a, st)
		cut(t, "eth0", false)
		announced(t, a, both, "eth1")
		for _, addr := range both { // the other interface goes on
			st.forget()
			st.ask(t, addr)
			until(t, name+" down, the other answers", func() bool { return len(st.sightings(answers(addr), by(macB))) == 1 })
		}
		st.forget()
		cut(t, "eth0", true)
		announced(t, a, both, "eth0", "eth1")
		for _, addr := range both {
			until(t, name+" back, announced", func() bool { return len(st.sightings(announces(addr), by(macA))) > 1 })
		}
	}
}

func playNewMAC(t *testing.T, s segment) {
	h := s.host(t, hostNet4, hostNet6)
	n, a, st := stand(t, s, Config{})
	for _, addr := range both {
		h.reach(t, addr)
		until(t, "reached", func() bool { _, ok := h.neighbour(t, addr); return ok })
	}
	quiet(t, a, st)
	n.setMAC(t, "eth0", macB)
	for _, addr := range both {
		checkBurst(t, s, st, addr, macB)
		until(t, "the host knows the new address", func() bool { m, _ := h.neighbour(t, addr); return m == macB })
	}
	served(t, st, macB, both...)
	st.forget()
	time.Sleep(20 * time.Millisecond)
	for _, f := range st.sightings(by(macA)) {
		if f.addr.IsValid() {
			t.Errorf("the old hardware address is still used: %+v", f)
		}
	}
}

func playRename(t *testing.T, s segment) {
	n, st := s.node(t), s.station(t, foreign)
	n.add(t, "eth0", macA)
	a := n.run(t, Config{})
	a.Set([]Entry{{Addr: vip4, Interfaces: []string{"lan"}}, {Addr: vip6, Interfaces: []string{"eth0"}}})
	announced(t, a, []netip.Addr{vip6}, "eth0")
	unserved(t, st, vip4)
	n.rename(t, "eth0", "lan")
	announced(t, a, []netip.Addr{vip4}, "lan")
	served(t, st, macA, vip4)
	unserved(t, st, vip6)
	n.rename(t, "lan", "cali1") // excluded, and not named
	until(t, "left", func() bool { return a.Stats().Interfaces == 0 })
	unserved(t, st, both...)
}

func playRecreate(t *testing.T, s segment) {
	n, a, st := stand(t, s, Config{})
	n.remove(t, "eth0")
	until(t, "left", func() bool { return a.Stats().Interfaces == 0 })
	st.forget()
	n.add(t, "eth0", macB)
	announced(t, a, both, "eth0")
	for _, addr := range both {
		until(t, "announced", func() bool { return len(st.sightings(announces(addr), by(macB))) > 0 })
	}
	served(t, st, macB, both...)
	if g := n.groups(t, "eth0"); len(g) != 1 {
		t.Errorf("joined %v", g)
	}
}

func playInterfaces(t *testing.T, s segment) {
	n, st := s.node(t), s.station(t, foreign)
	n.add(t, "eth0", macA)
	n.add(t, "veth1", macB) // excluded, unless it is named
	a := n.run(t, Config{})
	a.Set([]Entry{{Addr: vip4}, {Addr: vip6, Interfaces: []string{"veth1", "gone"}}})
	announced(t, a, []netip.Addr{vip4}, "eth0")
	announced(t, a, []netip.Addr{vip6}, "veth1")
	served(t, st, macA, vip4)
	served(t, st, macB, vip6)
	quiet(t, a, st)
	// The set of interfaces grows: announced there, and only there.
	a.Set([]Entry{{Addr: vip4, Interfaces: []string{"eth0", "veth1"}}, {Addr: vip6, Interfaces: []string{"veth1"}}})
	announced(t, a, []netip.Addr{vip4}, "eth0", "veth1")
	until(t, "announced", func() bool { return len(st.sightings(announces(vip4), by(macB))) >= 6 })
	if got := st.sightings(announces(vip4), by(macA)); len(got) > 0 {
		t.Errorf("announced where it stayed: %+v", got)
	}
	if got := st.sightings(claims(vip6)); len(got) > 0 {
		t.Errorf("announced what stayed: %+v", got)
	}
	// And shrinks: the excluded interface is given up with its last name.
	a.Set([]Entry{{Addr: vip4, Interfaces: []string{"eth0"}}, {Addr: vip6, Interfaces: []string{"eth0"}}})
	served(t, st, macA, both...)
	until(t, "left", func() bool { return a.Stats().Interfaces == 1 })
}

func playUsable(t *testing.T, s segment) {
	n, changed := s.node(t), make(chan struct{}, 100)
	a := n.run(t, Config{Changed: func() { changed <- struct{}{} }})
	full, named := Usability{Unnamed: true, IPv6: true}, Usability{IPv6: true}
	usable := func(why string, want map[string]Usability) {
		t.Helper()
		until(t, why, func() bool {
			now := maps.Clone(a.Usable())
			maps.DeleteFunc(now, func(name string, _ Usability) bool { return name == "lo" })
			return maps.Equal(now, want)
		})
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not told", why)
		}
		for len(changed) > 0 {
			<-changed
		}
	}
	n.add(t, "eth0", macA)
	usable("an interface, though there is no address", map[string]Usability{"eth0": full})
	n.add(t, "veth9", macB)
	usable("one that is excluded", map[string]Usability{"eth0": full, "veth9": named})
	n.cable(t, "eth0", false)
	usable("one without a carrier", map[string]Usability{"veth9": named})
	n.cable(t, "eth0", true)
	usable("its carrier is back", map[string]Usability{"eth0": full, "veth9": named})
	n.up(t, "veth9", false)
	usable("one that is down", map[string]Usability{"eth0": full})
	n.remove(t, "eth0")
	usable("one that is gone", map[string]Usability{})
}

func playAgain(t *testing.T, s segment) {
	_, a, st := stand(t, s, Config{})
	quiet(t, a, st)
	a.Announce(vip4, other4)
	until(t, "announced", func() bool { return len(st.sightings(announces(vip4))) == 6 })
	for _, addr := range []netip.Addr{vip6, other4} {
		if got := st.sightings(claims(addr)); len(got) > 0 {
			t.Errorf("announced too: %+v", got)
		}
	}
}

func playGroups(t *testing.T, s segment) {
	n, a, st := stand(t, s, Config{})
	step := func(want int, addrs ...netip.Addr) {
		t.Helper()
		a.Set(entries(addrs...))
		until(t, "groups", func() bool { return a.Stats().Groups == want && len(n.groups(t, "eth0")) == want })
		served(t, st, macA, addrs...)
	}
	step(2, vip6, same6, other6)
	step(2, same6, other6) // the group of vip6 still has same6
	step(1, other6)
	step(1, other6, vip4)
	step(0, vip4)
	step(1, vip6)
}

// What stays is announced again every four minutes: one round, not a burst.
func TestRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSegment{}
		_, _, st := stand(t, s, Config{})
		time.Sleep(rounds[len(rounds)-1] + time.Second)
		st.forget()
		for i := range 3 {
			time.Sleep(refresh - 10*time.Second)
			for _, addr := range both {
				if all := st.sightings(announces(addr)); len(all) > 0 {
					t.Errorf("round %d: announced too early: %+v", i, all)
				}
			}
			time.Sleep(10 * time.Second)
			if v4, v6 := st.sightings(announces(vip4)), st.sightings(announces(vip6)); len(v4) != 2 || len(v6) != 1 {
				t.Errorf("round %d: %d and %d frames, want one announcement each", i, len(v4), len(v6))
			}
			st.forget()
		}
	})
}
