package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// Where a password is wanted, nobody else on the segment takes the router's part.
func TestCallers(t *testing.T) {
	router, other := netip.MustParseAddr("fe80::1%eth1"), netip.MustParseAddr("fe80::2%eth1")
	unnumbered := caller{iface: "eth1"}
	heard := caller{iface: "eth1", address: router, password: "secret"}
	for _, test := range []struct {
		c      caller
		from   netip.Addr
		device string
		want   bool
	}{
		{unnumbered, router, "", true},
		{unnumbered, other, "", true},
		{unnumbered, router.WithZone("eth2"), "", false},
		{unnumbered, router, "red", false},
		{caller{iface: "eth1", password: "secret"}, router, "", false}, // until it has been heard
		{heard, router, "", true},
		{heard, other, "", false},
	} {
		if got := test.c.is(test.from, test.device); got != test.want {
			t.Errorf("%+v is %s on %q: %t", test.c, test.from, test.device, got)
		}
	}
}

// A password that the kernel does not take opens no door, and takes none from others.
func TestNeverSpeaksUnsigned(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	const port = 1821
	n := run(t, Config{Listen: port})
	long := func(p *Peer) { p.Port, p.Password = 9, strings.Repeat("x", maxPassword+1) }
	n.Set(nil, []Peer{f.peer(long)})
	if kind, _, err := f.dial(port).hear(); err == nil {
		t.Errorf("a connection without the password was told a message of type %d", kind)
	}

	keys := make(map[netip.Addr]string)
	good, bad := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	keys[good], keys[bad] = "secret", strings.Repeat("x", maxPassword+1)
	demanding := &listener{keys: make(map[netip.Addr]string)}
	must(t, demanding.listen(t.Context(), ear{}, port+10, keys))
	defer demanding.tcp.Close()
	if err := demanding.rekey(false, keys); err == nil || demanding.demanded(good) != "secret" || demanding.demanded(bad) != "" {
		t.Errorf("%v; demanded: %v", err, demanding.keys)
	}
}

// A router that only connects anew has not restarted: its OPEN tells (RFC 4724 §5).
func TestABareConnectionEndsNoSession(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	const port = 1822
	n := run(t, Config{Listen: port})
	p := f.peer(func(p *Peer) { p.Port, p.GracefulRestart = 9, true })
	n.Set(nil, []Peer{p})
	opened := fakeOpen(func(o *open) { o.GracefulRestart, o.RestartTime = true, time.Minute })
	first := f.dial(port)
	first.establish(opened)
	n.waitState(p.Name, Established)
	for range 2 { // the second one ends the first one
		bare := f.dial(port)
		if kind, _, err := bare.hear(); err != nil || kind != 1 {
			t.Fatalf("a second connection was told a message of type %d: %v", kind, err)
		}
		first.say(keepalive)
		if s := n.status(p.Name); s.State != Established || s.Ups != 1 {
			t.Fatalf("after a bare connection: %+v", s)
		}
	}
	f.dial(port).establish(opened)
	if note := first.hearEnd(); note != nil {
		t.Errorf("the session from before the restart ended with %s", note)
	}
	waitFor(t, "the session after the restart", func() error {
		if s := n.status(p.Name); s.State != Established || s.Ups != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// What has been forwarded is not taken from its first packet on (RFC 5082).
func TestNeverTakesWhatWasForwarded(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	const port = 1823
	n := run(t, Config{Listen: port})
	n.Set(nil, []Peer{f.peer(func(p *Peer) { p.Port, p.TTLSecurity = 9, true })})
	far := f.dial(port) // with the kernel's TTL of 64
	if _, err := far.c.Write(slices.Concat(fakeOpen().message(), keepalive)); err != nil {
		t.Log(err) // it may be closed already
	}
	if kind, _, err := far.hear(); err == nil {
		t.Errorf("what was forwarded was told a message of type %d", kind)
	}
	sysctl(t, f.ns, "ipv4/ip_default_ttl", "255")
	f.dial(port).establish(fakeOpen())
}
