package peering

import (
	"fmt"
	"net/netip"
	"testing"
)

// The identifier of a node without IPv4 looks like the address of a station: Quagga
// and older FRR refuse others.
func TestNeverARouterIDThatOldRoutersRefuse(t *testing.T) {
	nodes := map[netip.Addr]string{}
	for i := range 5000 {
		n := fmt.Sprintf("node-%d.example.com", i)
		id := routerIDOf(n, []netip.Addr{netip.MustParseAddr("2001:db8::1")})
		if first := id.As4()[0]; !id.Is4() || first == 0 || first == 127 || first >= 224 || id != SomeRouterID(n) {
			t.Fatalf("%s has %s", n, id)
		}
		if nodes[id] != "" {
			t.Errorf("%s and %s have %s", nodes[id], n, id)
		}
		nodes[id] = n
	}
	if id := routerIDOf("n", []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.1")}); id != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("with an IPv4 address: %s", id)
	}
}
