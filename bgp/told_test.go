package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// A router that does not read has not been told what waits to be written.
func TestNeverShownAsToldBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	n := run(t, Config{})
	p := f.peer(func(p *Peer) { p.HoldTime = time.Minute })
	one := []Prefix{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}}
	n.Set(one, []Peer{p})
	l := f.accept()
	must(t, l.c.SetReadBuffer(4096))
	l.establish(fakeOpen(func(o *open) { o.Hold = time.Minute }))
	told := func(want int) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d prefixes to be told", want), func() error {
			if s := n.status(p.Name); s.AdvertisedV4 != want {
				return fmt.Errorf("it is %s, and %d", s.State, s.AdvertisedV4)
			}
			return nil
		})
	}
	told(1)
	many := make([]Prefix, 200_000) // each in a message of its own: more than the kernel holds
	for i := range many {
		many[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		many[i].Communities = []uint32{uint32(i)}
	}
	n.Set(many, []Peer{p})
	waitFor(t, "the messages to be made", func() error {
		if s := n.status(p.Name); s.Sent.Updates < uint64(len(many)) {
			return fmt.Errorf("there are %d", s.Sent.Updates)
		}
		return nil
	})
	if s := n.status(p.Name); s.AdvertisedV4 != 1 {
		t.Errorf("while nothing is read %d prefixes have been told", s.AdvertisedV4)
	}
	go func() {
		for {
			if _, _, err := l.hear(); err != nil {
				return
			}
		}
	}()
	told(len(many))
}

// The end comes in time also for a router that reads so slowly that each write does
// get done.
func TestNeverHeldUpByASlowReader(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	n := run(t, Config{})
	p := f.peer(func(p *Peer) { p.HoldTime = time.Minute })
	many := make([]Prefix, 200_000)
	for i := range many {
		many[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		many[i].Communities = []uint32{uint32(i)}
	}
	n.Set(many, []Peer{p})
	l := f.accept()
	must(t, l.c.SetReadBuffer(4096))
	l.establish(fakeOpen(func(o *open) { o.Hold = time.Minute }))
	n.waitState(p.Name, Established)
	ended := make(chan struct{})
	go func() { // some 200 kB a second, of 10 MB
		defer close(ended)
		for part := make([]byte, 4096); ; time.Sleep(20 * time.Millisecond) {
			if _, err := l.r.Read(part); err != nil {
				return
			}
		}
	}()
	waitFor(t, "the messages to be made", func() error {
		if s := n.status(p.Name); s.Sent.Updates < uint64(len(many)) {
			return fmt.Errorf("there are %d", s.Sent.Updates)
		}
		return nil
	})
	start := time.Now()
	n.Close(t.Context(), "")
	if took := time.Since(start); took > 10*goodbyeWait {
		t.Errorf("the end took %s", took)
	}
	must(t, l.c.Close())
	<-ended
}
