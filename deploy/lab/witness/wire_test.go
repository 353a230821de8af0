package witness

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"holdfast.dev/holdfast/deploy/world"
)

// The wire is a veth pair; the kernel at its other end answers for the address.
func TestWireHearsAnswersAndAnnouncements(t *testing.T) {
	world.Require(t)
	for _, ns := range []string{"w-client", "w-node"} {
		must(t, world.AddNamespace(ns))
		t.Cleanup(func() { must(t, world.IP("", "netns del "+ns)) })
	}
	must(t, world.AddCable("w-client", "eth0", "w-node", "eth0"))
	must(t, world.IP("w-client", "addr add 172.30.0.100/24 dev eth0", "addr add fd30::100/64 dev eth0 nodad"))
	must(t, world.IP("w-node", "addr add 172.30.0.200/24 dev eth0", "addr add fd30::200/64 dev eth0 nodad"))

	var wire *Wire
	must(t, world.Within("w-client", func() (err error) { wire, err = OpenWire("eth0"); return err }))
	var mac net.HardwareAddr
	var other *packet.Conn
	must(t, world.Within("w-node", func() error {
		i, err := net.InterfaceByName("eth0")
		if err == nil {
			mac = i.HardwareAddr
			other, err = packet.Listen(i, packet.Raw, unix.ETH_P_ARP, nil)
		}
		return err
	}))
	defer other.Close()

	ctx, stop := context.WithCancel(t.Context())
	heard, arrived, ended := &Heard{}, make(chan Announcement, 100), make(chan error)
	go func() { ended <- wire.Hear(ctx, func(a Announcement) { heard.Add(a); arrived <- a }) }()
	next := func(what string) Announcement {
		t.Helper()
		select {
		case a := <-arrived:
			return a
		case <-time.After(20 * time.Second):
			t.Fatalf("%s was not heard", what)
		}
		panic("unreachable")
	}
	from := time.Now()
	for _, addr := range []netip.Addr{vip, vip6} {
		done := make(chan bool)
		go func() { // a question may be lost while the other end comes up
			for {
				_ = wire.Ask(addr)
				select {
				case <-done:
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		}()
		a := next("the answer for " + addr.String())
		for a.Addr != addr { // a late one for the other
			a = next("the answer for " + addr.String())
		}
		if a.MAC != mac.String() || a.Kind != Answer {
			t.Errorf("%+v, want an answer for %s from %s", a, addr, mac)
		}
		close(done)
		check(t, heard.NoGratuitous(addr, from), "")
	}
	frame := arpFrame(t, arp.OperationRequest, broadcast, vip.String(), vip.String())
	if _, err := other.WriteTo(frame, &packet.Addr{HardwareAddr: broadcast}); err != nil {
		t.Fatal(err)
	}
	for next("the announcement").Kind != GratuitousRequest { // late answers before it
	}
	check(t, heard.NoGratuitous(vip, from), "announced 172.30.0.200")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
