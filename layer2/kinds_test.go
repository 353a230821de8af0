package layer2

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdfast.dev/holdfast/deploy/world"
)

// On a bridge, the bridge answers, with its own hardware address, and its ports do not.
func TestBridge(t *testing.T) {
	s := newVeth(t)
	t.Parallel()
	h, n := s.host(t, hostNet4, hostNet6), s.node(t).(*vethNode)
	n.add(t, "eth0", macA)
	must(t, world.IP(n.ns, "link add br0 address "+macB.String()+" type bridge", "link set br0 up", "link set eth0 master br0"))
	a := n.run(t, Config{})
	a.Set(entries(both...))
	announced(t, a, both, "br0")
	resolves(t, h, macB, both...)
	must(t, world.IP(n.ns, "link set eth0 nomaster")) // an interface again; the bridge has no carrier left
	announced(t, a, both, "eth0")
}

// A macvlan is an interface of its own, beside the one below it.
func TestMacvlan(t *testing.T) {
	s := newVeth(t)
	t.Parallel()
	h, n := s.host(t, hostNet4, hostNet6), s.node(t).(*vethNode)
	n.add(t, "eth0", macA)
	must(t, world.IP(n.ns, "link add link eth0 name mv0 address "+macB.String()+" type macvlan mode bridge", "link set mv0 up"))
	a := n.run(t, Config{})
	above := []Entry{{Addr: vip4, Interfaces: []string{"mv0"}}, {Addr: vip6, Interfaces: []string{"mv0"}}}
	a.Set(above)
	announced(t, a, both, "mv0")
	resolves(t, h, macB, both...)
	a.Set(append(above, entries(other4, other6)...))
	announced(t, a, []netip.Addr{other4, other6}, "eth0", "mv0")
}

// An MTU that IPv6 can not do with takes IPv6 from the interface, and nothing else;
// any other MTU changes nothing.
func TestMTU(t *testing.T) {
	s := newVeth(t)
	t.Parallel()
	n, st := s.node(t).(*vethNode), s.station(t, foreign)
	n.add(t, "eth0", macA)
	a := n.run(t, Config{})
	a.Set(entries(both...))
	announced(t, a, both, "eth0")
	must(t, world.IP(n.ns, "link set eth0 mtu 1000"))
	announced(t, a, []netip.Addr{vip4}, "eth0")
	until(t, "IPv6 is gone", func() bool { return !onAny(a, vip6) })
	served(t, st, macA, vip4)
	unserved(t, st, vip6)
	for _, mtu := range []string{"1280", "9000"} {
		must(t, world.IP(n.ns, "link set eth0 mtu "+mtu))
		announced(t, a, both, "eth0")
		served(t, st, macA, both...)
	}
}

// resolves waits until a host knows the addresses at a hardware address.
func resolves(t *testing.T, h host, m mac, addrs ...netip.Addr) {
	t.Helper()
	for _, addr := range addrs {
		h.reach(t, addr)
		until(t, "the host knows "+addr.String(), func() bool { got, ok := h.neighbour(t, addr); return ok && got == m })
		if !h.verify(t, addr) {
			t.Errorf("the host's probe of %v was not answered", addr)
		}
	}
}

func onAny(a *Announcer, addr netip.Addr) bool {
	return slices.ContainsFunc(a.Status(), func(s Status) bool { return s.Addr == addr && len(s.Interfaces) > 0 })
}

// What netlink tells of an interface decides whether it is used. VLAN, bond and VRF
// are judged here alone: not every kernel has them.
func TestNetlinkAttributes(t *testing.T) {
	const broadcasting = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_BROADCAST
	attrs := func(change func(*netlink.LinkAttrs)) netlink.LinkAttrs {
		a := netlink.LinkAttrs{Index: 7, Name: "x", MTU: 1500, EncapType: "ether", RawFlags: broadcasting, HardwareAddr: net.HardwareAddr(macA[:])}
		change(&a)
		return a
	}
	plain := attrs(func(*netlink.LinkAttrs) {})
	for _, c := range []struct {
		name string
		link netlink.Link
		fit  bool
		ipv6 bool
	}{
		{"Ethernet", &netlink.Device{LinkAttrs: plain}, true, true},
		{"VLAN", &netlink.Vlan{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.ParentIndex = 3 }), VlanId: 7}, true, true},
		{"bond", &netlink.Bond{LinkAttrs: plain}, true, true},
		{"port of a bond", &netlink.Device{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.MasterIndex, a.Slave = 3, &netlink.BondSlave{} })}, false, true},
		{"port of a bridge", &netlink.Device{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.MasterIndex = 3 })}, false, true},
		{"member of a VRF", &netlink.Device{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.MasterIndex, a.Slave = 3, &netlink.VrfSlave{} })}, true, true},
		{"macvlan", &netlink.Macvlan{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.ParentIndex = 3 })}, true, true},
		{"loopback", &netlink.Device{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.RawFlags |= unix.IFF_LOOPBACK })}, false, true},
		{"without ARP", &netlink.Device{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.RawFlags |= unix.IFF_NOARP })}, false, true},
		{"point to point", &netlink.GenericLink{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.RawFlags = unix.IFF_UP | unix.IFF_POINTOPOINT })}, false, true},
		{"WireGuard", &netlink.GenericLink{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.EncapType = "none" })}, false, true},
		{"too small for IPv6", &netlink.Device{LinkAttrs: attrs(func(a *netlink.LinkAttrs) { a.MTU = 1279 })}, true, false},
	} {
		if got := fromNetlink(c.link); got.fit != c.fit || got.ipv6 != c.ipv6 || got.mac != macA {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
