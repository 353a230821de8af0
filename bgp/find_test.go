package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"holdfast.dev/holdfast/deploy/world"
)

// What RFC 4861 §6.1 demands of each message, one thing at a time.
func TestNeighborMessage(t *testing.T) {
	ifi := &net.Interface{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	router := netip.MustParseAddr("fe80::1%eth0")
	change := func(b []byte, at int, to byte) []byte { b[at] = to; return b }
	for _, row := range []struct {
		name string
		b    []byte
		from netip.Addr
		hops int
		want uint8
	}{
		{"advertisement", advertisement(ifi), router, 255, routerAdvertisement},
		{"advertisement without options", advertisement(&net.Interface{}), router, 255, routerAdvertisement},
		{"solicitation", solicitation(ifi), router, 255, routerSolicitation},
		{"forwarded", advertisement(ifi), router, 254, 0},
		{"of a global address", advertisement(ifi), netip.MustParseAddr("fd00::1"), 255, 0},
		{"of nobody", solicitation(ifi), netip.IPv6Unspecified(), 255, 0},
		{"code 1", change(advertisement(ifi), 1, 1), router, 255, 0},
		{"too short", advertisement(ifi)[:15], router, 255, 0},
		{"option of length 0", change(advertisement(ifi), 17, 0), router, 255, 0},
		{"option that is cut off", advertisement(ifi)[:23], router, 255, 0},
		{"another type", change(advertisement(ifi), 0, 136), router, 255, 0},
	} {
		if kind, ok := neighborMessage(row.b, row.from, row.hops); kind != row.want || ok != (row.want != 0) {
			t.Errorf("%s: type %d, %t", row.name, kind, ok)
		}
	}
}

// An interface that gets another name ends the search on it without a complaint.
func TestARenamedInterfaceIsNoError(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	quiet := make(chan error, 1)
	go func() {
		quiet <- world.Within(f.ns, func() error {
			finder{iface: f.cable.there, found: func(netip.Addr) {}}.run(ctx, func(error) {})
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); must(t, <-quiet) })
	heard, ended := make(chan netip.Addr, 100), make(chan error, 1)
	go func() {
		ended <- finder{iface: f.cable.here, found: func(router netip.Addr) { heard <- router }}.once(ctx)
	}()
	select {
	case router := <-heard:
		if router != f.cable.linkLocal(f.ns, f.cable.there).WithZone(f.cable.here) {
			t.Errorf("the router is %s", router)
		}
	case err := <-ended:
		t.Fatalf("it has ended before: %v", err)
	}
	must(t, world.IP("", fmt.Sprintf("link set %s down", f.cable.here), fmt.Sprintf("link set %s name renamed0", f.cable.here)))
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
