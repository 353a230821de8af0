package layer2

import (
	"fmt"
	"net/netip"
	"testing"

	"holdfast.dev/holdfast/deploy/world"
)

func TestGatewaysAreTheNextHopsOfRoutes(t *testing.T) {
	world.Require(t)
	const ns = "gateways"
	must(t, world.AddNamespace(ns))
	t.Cleanup(func() { must(t, world.IP("", "netns del "+ns)) })
	must(t, world.IP(ns, "link add eth0 type veth peer name peer0", "link set eth0 up", "link set peer0 up",
		"addr add 192.0.2.5/24 dev eth0", "addr add 2001:db8::5/64 dev eth0 nodad",
		"route add default via 192.0.2.1", "route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.3",
		"route add 203.0.113.0/24 via 192.0.2.9 table 100",
		"route add 198.51.101.0/24 via inet6 2001:db8::3", "route add default via inet6 2001:db8::1 metric 9"))
	var got []netip.Addr
	must(t, world.Within(ns, func() (err error) {
		got, err = Gateways()
		return err
	}))
	if want := "[192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1 2001:db8::3]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
