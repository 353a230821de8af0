package bgp

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/deploy/world"
)

// In a process that follows another one BFD speaks before BGP, if a peer has it;
// but one whose router does not speak it is not waited for without end.
func TestBFDSpeaksFirst(t *testing.T) {
	t.Parallel()
	bfdPort.Lock()
	t.Cleanup(bfdPort.Unlock)
	patient := func(p *Peer) { p.GracefulRestart, p.BFD = true, &bfd.Profile{Multiplier: 5} }
	opened := fakeOpen(func(o *open) { o.GracefulRestart = true })

	t.Run("up", func(t *testing.T) {
		f := newFake(t, "")
		theirs := f.speakBFD()
		n := run(t, Config{})
		n.Set(nil, []Peer{f.peer(patient)})
		f.accept().establish(opened)
		waitBFD(t, n, f.peer().Name, bfd.Up)
		n.end()
		restarted := time.Now()
		n = run(t, Config{Restarting: true})
		n.Set(nil, []Peer{f.peer(patient)})
		f.accept().establish(opened)
		waitFor(t, "the router's BFD to be up anew", func() error {
			if up := theirs.up(); up.Before(restarted) {
				return fmt.Errorf("it has been since %s", up)
			}
			return nil
		})
		for _, e := range n.seen() {
			if early := theirs.up().Sub(e.At); e.To != Active && early > 0 {
				t.Errorf("%s came %s before the router's BFD was up: %s", e.To, early, e.Reason)
			}
		}
	})

	t.Run("another source", func(t *testing.T) {
		f := newFake(t, "")
		theirs := f.speakBFD()
		n := run(t, Config{})
		p := f.peer(patient)
		n.Set(nil, []Peer{p})
		f.accept().establish(opened)
		n.waitState(p.Name, Established)
		waitBFD(t, n, p.Name, bfd.Up)
		changed := time.Now()
		p.Source = p.Address.Next() // the same one, but BFD's session is made anew
		n.Set(nil, []Peer{p})
		f.accept().establish(opened)
		n.waitState(p.Name, Established)
		for _, e := range n.seen() {
			if early := theirs.up().Sub(e.At); e.At.After(changed) && e.To > Active && early > 0 {
				t.Errorf("%s came %s before the router's BFD was up: %s", e.To, early, e.Reason)
			}
		}
		if theirs.up().Before(changed) {
			t.Error("the router's BFD has not come up anew")
		}
	})

	t.Run("silent", func(t *testing.T) {
		f := newFake(t, "")
		start := time.Now()
		n := run(t, Config{Restarting: true, Listen: 1820})
		p := f.peer(patient)
		n.Set(nil, []Peer{p})
		early := f.dial(1820) // which may not be faster
		if s := n.waitState(p.Name, Active); !strings.Contains(s.Reason, "BFD speaks first") || s.LastError != "" {
			t.Errorf("status %+v", s)
		}
		early.establish(opened)
		n.waitState(p.Name, Established)
		if took := time.Since(start); took < firstWord || took > 2*firstWord {
			t.Errorf("there was a session after %s", took)
		}
	})

	t.Run("none", func(t *testing.T) {
		f := newFake(t, "")
		n := run(t, Config{Restarting: true})
		n.Set(nil, []Peer{f.peer()})
		f.accept().establish(opened)
		if e := n.seen()[0]; e.From != Idle || e.To != Connect {
			t.Errorf("at first %+v", e)
		}
	})
}

// The wait for BFD follows from the detection time, within bounds.
func TestBFDWait(t *testing.T) {
	for _, row := range []struct {
		profile *bfd.Profile
		want    time.Duration
	}{
		{nil, 0},
		{&bfd.Profile{}, firstWord},
		{&bfd.Profile{Passive: true}, firstWord},
		{&bfd.Profile{Multiplier: 10}, 3*time.Second + hearsay},
		{&bfd.Profile{Transmit: 100 * time.Millisecond, Receive: time.Second, Multiplier: 5}, 5*time.Second + hearsay},
		{&bfd.Profile{Transmit: time.Minute, Multiplier: 255}, longestWord},
	} {
		want := Peer{Address: netip.MustParseAddr("192.0.2.1"), BFD: row.profile}
		p := newPeer(&Config{Log: slog.New(slog.DiscardHandler)}, want, nil, nil, nil)
		p.is, p.resuming = want, true
		if got := p.bfdWait(); got != row.want {
			t.Errorf("%+v: %s, want %s", row.profile, got, row.want)
		}
		if p.resuming = false; p.bfdWait() != 0 {
			t.Errorf("%+v: a session that follows none waits", row.profile)
		}
	}
}

// A fakeBFD is the BFD of a fake.
type fakeBFD struct {
	mu    sync.Mutex
	since time.Time // when it came up last
}

func (b *fakeBFD) up() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since
}

// speakBFD gives a fake a BFD session with us.
func (f *fake) speakBFD() *fakeBFD {
	b := &fakeBFD{}
	d := bfd.New(bfd.Config{Changed: func(c bfd.Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if c.To == bfd.Up {
			b.since = c.At
		}
	}})
	d.Set([]bfd.Session{{Peer: f.addr.Addr().Next(), Profile: bfd.Profile{Multiplier: 10}}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- world.Within(f.ns, func() error { return d.Run(ctx) }) }()
	f.t.Cleanup(func() { cancel(); must(f.t, <-ended) })
	return b
}

// dial is a connection that the fake opens.
func (f *fake) dial(port uint16) (l *line) {
	f.t.Helper()
	return f.dialTo(netip.AddrPortFrom(f.our4, port))
}

func (f *fake) dialTo(us netip.AddrPort) (l *line) {
	f.t.Helper()
	waitFor(f.t, "a connection", func() error {
		return world.Within(f.ns, func() error {
			c, err := net.Dial("tcp", us.String())
			if err != nil {
				return err
			}
			f.t.Cleanup(func() { c.Close() })
			l = &line{t: f.t, c: c.(*net.TCPConn), r: bufio.NewReaderSize(c, maxMessageLen)}
			return nil
		})
	})
	return l
}
