package speaker

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// Tests run in a world of their own, where no address but the loopback's is a
// machine's.
func TestMain(m *testing.M) { world.Main(m.Run) }

// A process that hangs accepts nothing, and one that is gone refuses: the kernel
// answers for both. Nothing answers for an address that is no machine's.
func TestDoubtAsksTheKernel(t *testing.T) {
	world.Require(t)
	hangs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.Close()
	ends, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ends.Close()
	for name, c := range map[string]struct {
		addr string
		want bool
	}{"hangs": {hangs.Addr().String(), true}, "is gone": {ends.Addr().String(), true}, "no machine": {"192.0.2.1:7946", false}} {
		if got := kernelAnswers(t.Context(), netip.MustParseAddrPort(c.addr)); got != c.want {
			t.Errorf("%s: the kernel answers: %v", name, got)
		}
	}
}

// While the kernel answers there is grace, without it none, and a node that is
// seen again is not given up.
func TestDoubtEnds(t *testing.T) {
	world.Require(t)
	ends, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ends.Close()
	alive, nobody := netip.MustParseAddrPort(ends.Addr().String()), netip.MustParseAddrPort("192.0.2.1:7946")

	const grace = 300 * time.Millisecond
	began := time.Now()
	gone := false
	doubt(t.Context(), alive, grace, func(v verdict) { gone = v == mute })
	if took := time.Since(began); !gone || took < grace {
		t.Errorf("given up: %v, after %v of %v", gone, took, grace)
	}
	gone = false
	doubt(t.Context(), nobody, time.Hour, func(v verdict) { gone = v == dead })
	if !gone {
		t.Error("a dead node is not given up")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	doubt(ctx, alive, time.Hour, func(verdict) { t.Error("a node that was seen again is given up") })
}
