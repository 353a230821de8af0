package main

import (
	"net/netip"
	"strings"
	"testing"

	"holdfast.dev/holdfast/deploy/world"
)

// The kernel's next hops are read as they are: none, one, several, and link-local
// ones, of the route's family or not.
func TestNextHops(t *testing.T) {
	world.Require(t)
	const ns = "fib"
	if err := world.AddNamespace(ns); err != nil {
		t.Fatal(err)
	}
	err := world.IP(ns, "link add eth1 type veth peer name far1", "link add eth2 type veth peer name far2",
		"link set eth1 up", "link set far1 up", "link set eth2 up", "link set far2 up",
		"addr add 10.0.0.1/24 dev eth1", "addr add fd00::1/64 dev eth1 nodad",
		"route add 192.0.2.1 via 10.0.0.2",
		"route add 192.0.2.2 nexthop via 10.0.0.3 nexthop via 10.0.0.2",
		"route add 192.0.2.3 nexthop via inet6 fe80::9 dev eth1 nexthop via inet6 fe80::9 dev eth2",
		"route add 192.0.2.0/24 via 10.0.0.9",
		"route add 2001:db8::1 via fd00::2",
		"route add 2001:db8::3 nexthop via fe80::9 dev eth1 nexthop via fe80::9 dev eth2")
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFIB("router", ns)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for to, want := range map[string]string{
		"192.0.2.1":   "10.0.0.2",
		"192.0.2.2":   "10.0.0.3 10.0.0.2",
		"192.0.2.3":   onLink("eth1") + "," + onLink("eth2"),
		"192.0.2.4":   "", // a wider route is not this one
		"2001:db8::1": "fd00::2",
		"2001:db8::3": onLink("eth1") + "," + onLink("eth2"),
		"2001:db8::4": "",
	} {
		words := strings.Fields(want)
		if strings.Contains(want, ",") {
			words = strings.Split(want, ",")
		}
		if err := f.expect(netip.MustParseAddr(to), words); err != nil {
			t.Error(err)
		}
		if f.expect(netip.MustParseAddr(to), append(words, "10.0.0.77")) == nil {
			t.Errorf("%s: a next hop that is missing is not missed", to)
		}
		if len(words) > 0 && f.expect(netip.MustParseAddr(to), words[1:]) == nil {
			t.Errorf("%s: a next hop too many is not seen", to)
		}
	}
}
