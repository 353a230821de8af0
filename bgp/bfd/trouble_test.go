package bfd

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"holdfast.dev/holdfast/deploy/world"
)

// A profile that changes on either side never takes a session down (invariant 5).
func TestAnotherProfileOnTheWire(t *testing.T) {
	p := newPair(t)
	a, b := speak(t, p.a, Config{}, with("10.0.0.2", fast)), speak(t, p.b, Config{}, with("10.0.0.1", fast))
	a.reach(t, Up)
	b.reach(t, Up)
	for _, other := range []Profile{
		{Transmit: time.Second, Receive: 100 * time.Millisecond},
		{Transmit: 100 * time.Millisecond, Receive: time.Second, Multiplier: 4},
		fast,
	} {
		a.Set([]Session{with("10.0.0.2", other)})
		want := other.complete()
		eventually(t, "the new timers are in use", func() bool {
			st, peer := a.only(t), b.only(t)
			return st.TransmitEvery == max(want.Transmit, fast.Receive) && st.DetectAfter == 10*max(want.Receive, fast.Transmit) &&
				peer.RemoteTransmit == want.Transmit && peer.TransmitEvery == max(want.Receive, fast.Transmit) &&
				peer.DetectAfter == time.Duration(want.Multiplier)*max(want.Transmit, fast.Receive)
		})
	}
	a.stays(t, 1)
	b.stays(t, 1)
}

// Run ends in silence, Shutdown does not (invariant 6).
func TestWhatThePeerIsToldAtTheEnd(t *testing.T) {
	p := newPair(t)
	a, b := speak(t, p.a, Config{}, with("10.0.0.2", fast)), speak(t, p.b, Config{}, with("10.0.0.1", fast))
	b.reach(t, Up)
	n := len(b.changes())
	a.stop()
	if c := b.next(t, n, Down); !c.Failed() || c.Reason != "detection time expired" {
		t.Errorf("%+v", c)
	}
	if st := a.only(t); st.State != Down || st.Trouble == "" {
		t.Errorf("what does not run is %v: %s", st.State, st.Trouble)
	}

	n = len(b.changes())
	again := speak(t, p.a, Config{}, with("10.0.0.2", fast))
	b.next(t, n, Up)
	n = len(b.changes())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again.Shutdown(ctx)
	if c := b.next(t, n, Down); c.Failed() || c.PeerState != AdminDown || c.Local != NeighborSignaledSessionDown || c.Remote != AdministrativelyDown {
		t.Errorf("%+v", c)
	}
}

// A session that is taken away and comes back at once, or from another address, comes up.
func TestComingAndGoing(t *testing.T) {
	p := newPair(t)
	must(t, world.IP(p.a, "addr add 10.0.0.9/24 dev eth0"))
	old, moved := with("10.0.0.2", fast), with("10.0.0.2", fast)
	moved.Local = netip.MustParseAddr("10.0.0.9")
	a, b := speak(t, p.a, Config{}, old), speak(t, p.b, Config{}, with("10.0.0.1", fast), with("10.0.0.9", fast))
	a.reach(t, Up)
	n := len(a.changes())
	a.Set(nil)
	a.Set([]Session{old})
	a.next(t, n, Up)
	if gone := a.next(t, n, AdminDown); gone.Reason != "no longer wanted" || gone.Failed() {
		t.Errorf("%+v", gone)
	}
	n = len(a.changes())
	a.Set([]Session{moved})
	a.next(t, n, Up)
	eventually(t, "up at the new address and down at the old", func() bool {
		all := b.Status()
		return all[0].State == Down && all[0].RemoteDiscr == 0 && all[1].State == Up
	})
}

// inject sends a packet from a namespace.
func inject(t *testing.T, ns, from, to string, port uint16, ttl int, payload []byte) {
	must(t, world.Within(ns, func() error {
		src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
		fd, err := udpSocket(src.Is4())
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		level, name := unix.IPPROTO_IP, unix.IP_TTL
		if src.Is6() {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
		}
		if err := setOptions(fd, []option{{level, name, ttl}}); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddr(src, 0, 0)); err != nil {
			return err
		}
		return unix.Sendto(fd, payload, 0, sockaddr(dst, port, 0))
	}))
}

// What does not come the way that the session prescribes moves nothing (invariant 3).
func TestNeverMovedByStrangers(t *testing.T) {
	hello := packet{state: Down, my: 99, multiplier: 3, desiredTx: time.Second, requiredRx: time.Second}
	one4, many4, one6 := with("10.0.0.2", fast), with("10.0.0.2", fast), with("fd00::2", fast)
	one4.Interface = "eth1" // it comes in on eth0
	many4.Multihop, many4.Profile.MinimumTTL = true, 250
	forged := hello
	forged.your, forged.state = 12345, Up
	for _, c := range []struct {
		name    string
		session Session
		to      string
		port    uint16
		ttl     int
		packet  packet
		status  string // what the session counts
		stats   string // or the detector
	}{
		{"one hop, TTL 254", with("10.0.0.2", fast), "10.0.0.1", Port, 254, hello, "TTL", ""},
		{"one hop, hop limit 64", one6, "fd00::1", Port, 64, hello, "TTL", ""},
		{"another interface", one4, "10.0.0.1", Port, 255, hello, "interface", ""},
		{"many hops, TTL 249", many4, "10.0.0.1", MultihopPort, 249, hello, "TTL", ""},
		{"the port of the other kind", with("10.0.0.2", fast), "10.0.0.1", Port, 255, forged, "", "no such session"},
		{"a stranger", with("10.0.0.3", fast), "10.0.0.1", Port, 255, hello, "", "no such session"},
		{"version", with("10.0.0.2", fast), "10.0.0.1", Port, 255, packet{}, "", "multiplier is 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			must(t, world.IP(p.a, "link add eth1 type veth peer name eth2"))
			a := speak(t, p.a, Config{}, c.session)
			eventually(t, "it speaks", func() bool { return a.only(t).PacketsOut > 0 })
			from := "10.0.0.2"
			if strings.Contains(c.to, ":") {
				from = "fd00::2"
			}
			var b [packetLen]byte
			c.packet.put(&b)
			eventually(t, "it is dropped", func() bool {
				inject(t, p.b, from, c.to, c.port, c.ttl, b[:]) // again and again: the kernel lets in a sample
				return c.status != "" && a.only(t).Dropped[c.status] > 0 || c.stats != "" && a.Stats().Dropped[c.stats] > 0
			})
			if st := a.only(t); st.State != Down || st.PacketsIn != 0 || c.status != "" && st.Trouble == "" {
				t.Errorf("%+v", st)
			}
		})
	}
}

// The same packet is taken when nothing is wrong with it.
func TestAStrangersPacketWouldBeTaken(t *testing.T) {
	p := newPair(t)
	a := speak(t, p.a, Config{}, with("10.0.0.2", fast))
	eventually(t, "it speaks", func() bool { return a.only(t).PacketsOut > 0 })
	var b [packetLen]byte
	packet{state: Down, my: 99, multiplier: 3, desiredTx: time.Second, requiredRx: time.Second}.put(&b)
	inject(t, p.b, "10.0.0.2", "10.0.0.1", Port, 255, b[:])
	a.next(t, 0, Init)
}

// A port that another program holds, an address and an interface that are not there, are
// tried again, and told.
func TestWhatIsMissingIsToldAndTriedAgain(t *testing.T) {
	p := newPair(t)
	var taken int
	must(t, world.Within(p.a, func() (err error) {
		taken, err = newListener(listenerKey{four: true}, Port, false)
		return err
	}))
	late, far := with("10.0.0.2", fast), with("fe80::2%eth7", fast)
	late.Local = netip.MustParseAddr("10.0.0.77")
	bad := with("10.0.0.5", Profile{Multiplier: 1})
	a := speak(t, p.a, Config{}, late, far, bad)
	trouble := func(want ...string) func() bool {
		return func() bool {
			all := a.Status()
			for i, w := range want {
				if (w == "") != (all[i].Trouble == "") || !strings.Contains(all[i].Trouble, w) {
					return false
				}
			}
			return len(all) == len(want)
		}
	}
	const refused, missing = "must be 2 to 255", "there is no interface eth7"
	eventually(t, "the port is taken", trouble("another program holds it", refused, missing))
	must(t, unix.Close(taken))
	eventually(t, "the address is missing", trouble("the node has no such address", refused, missing))
	must(t, world.IP(p.a, "addr add 10.0.0.77/24 dev eth0", "link add eth7 type veth peer name eth8", "link set eth7 up"))
	eventually(t, "all is there", trouble("", refused, ""))
	b := speak(t, p.b, Config{}, with("10.0.0.77", fast))
	b.reach(t, Up)
}

// Two sessions with the same router, one bound to a device, have sockets of their own on one port.
func TestADeviceHasSocketsOfItsOwn(t *testing.T) {
	p := newPair(t)
	bound := with("10.0.0.2", fast)
	bound.Device = "eth0" // any device does: there need be no VRF in this kernel
	a := speak(t, p.a, Config{}, with("10.0.0.3", fast), bound)
	b := speak(t, p.b, Config{}, with("10.0.0.1", fast))
	b.reach(t, Up)
	for _, st := range a.Status() {
		if st.Trouble != "" {
			t.Errorf("%v: %s", st.Peer, st.Trouble)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		session Session
		wrong   string
	}{
		{with("10.0.0.1", Profile{}), ""},
		{with("10.0.0.1", Profile{Transmit: 10 * time.Millisecond, Receive: time.Minute, Multiplier: 255, MinimumTTL: 254}), ""},
		{with("fe80::1", Profile{}), "zone"},
		{with("224.0.0.1", Profile{}), "unicast"},
		{Session{}, "unicast"},
		{Session{Peer: netip.MustParseAddr("fe80::1%eth0"), Multihop: true}, "several hops"},
		{Session{Peer: netip.MustParseAddr("fd00::1"), Local: netip.MustParseAddr("10.0.0.1")}, "families"},
		{with("10.0.0.1", Profile{Transmit: 9 * time.Millisecond}), "transmit interval is 9ms: it must be 10ms to 1m0s"},
		{with("10.0.0.1", Profile{Receive: 61 * time.Second}), "receive interval"},
		{with("10.0.0.1", Profile{Multiplier: 256}), "2 to 255"},
		{with("10.0.0.1", Profile{MinimumTTL: 255}), "1 to 254"},
	} {
		err := c.session.Check()
		if (err == nil) != (c.wrong == "") || !strings.Contains(fmt.Sprint(err), c.wrong) && err != nil {
			t.Errorf("%+v: %v", c.session, err)
		}
	}
}
