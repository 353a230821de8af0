package witness

import (
	"net/netip"
	"testing"
	"time"
)

// A change that takes a claim away counts from when it was asked for: kube-proxy may see
// it before the watch does. One that brings a claim counts from when it was seen.
func TestUnclaimedFromWhenItWasAskedFor(t *testing.T) {
	var h History
	addr, port := netip.MustParseAddr("192.0.2.1"), Port{"TCP", 80}
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	state := func(ms int, ports ...Port) {
		h.Add(Service{At: at(ms), Name: "default/a", Addresses: []netip.Addr{addr}, Ports: ports})
	}
	state(0, port)
	h.Asked("default/a", at(1000))
	state(1100)
	h.Asked("default/b", at(1500)) // somebody else
	h.Asked("default/a", at(2000))
	state(2100, port)
	state(3000) // nobody here asked for it
	got, err := h.Unclaimed(addr, port, at(500), at(4000))
	want := []Interval{{at(1000), at(2100)}, {at(3000), at(4000)}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("unclaimed %v, %v, want %v", got, err, want)
	}
}
