package speaker

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// Three daemons share the addresses; one yields, one is killed, both come back.
func TestDaemonsShareAndHandOver(t *testing.T) {
	b := newTestbed(t, 3)
	p := seats(30, "n1", "n2", "n3")
	n1, n2, n3 := b.start("n1", "k", p), b.start("n2", "k", p), b.start("n3", "k", p)
	b.inSight(2, n1, n2, n3)
	b.oneOwnerEach(p)
	share := n1.Stats().Held
	if share == 0 || n2.Stats().Held == 0 || n3.Stats().Held == 0 {
		t.Errorf("shares are %d, %d, %d", share, n2.Stats().Held, n3.Stats().Held)
	}

	silent, watch := b.silence(p)
	began := time.Now()
	if err := n1.Yield(context.Background()); err != nil {
		t.Error(err)
	}
	t.Logf("yielded %d addresses in %s", share, time.Since(began))
	watch()
	if len(*silent) > 0 {
		t.Errorf("nobody answered for %v for a moment", *silent)
	}
	n1.kill()
	<-n1.done
	b.oneOwnerEach(p)

	began = time.Now()
	n2.kill()
	b.eventually("n3 has all", func() bool { return n3.Stats().Claimed == len(p.Seats) })
	t.Logf("the survivor had all after %s", time.Since(began))

	n1, n2 = b.start("n1", "k", p), b.start("n2", "k", p)
	b.inSight(2, n1, n2, n3)
	b.oneOwnerEach(p)
	if n1.Stats().Held+n2.Stats().Held > 0 {
		t.Errorf("who comes back took %d and %d addresses", n1.Stats().Held, n2.Stats().Held)
	}
}

// silence looks for addresses that nobody answers for, until stopped.
func (b *testbed) silence(p allocator.Placement) (found *[]netip.Addr, stop func()) {
	found = new([]netip.Addr)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, s := range p.Seats {
				if len(b.seg.holders(s.Addr)) == 0 {
					*found = append(*found, s.Addr)
				}
			}
			select {
			case <-end:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	}()
	return found, func() { close(end); <-ended }
}

// A node with another key hears nobody, says so once, and does no harm.
func TestWrongKeyWorksAlone(t *testing.T) {
	b := newTestbed(t, 3)
	p := seats(12, "n1", "n2", "n3")
	n1, n2 := b.start("n1", "k", p), b.start("n2", "k", p)
	b.eventually("all claimed", func() bool { return n1.Stats().Claimed+n2.Stats().Claimed == len(p.Seats) })
	n3 := b.start("n3", "wrong", p)
	b.eventually("n3 has looked around", func() bool { return n3.Stats().Settled })
	b.eventually("n3 finds that all addresses are answered for", func() bool {
		return n3.Stats().Changes[Moved{Used, ""}] == uint64(len(p.Seats))
	})
	if n := n3.Stats().Changes[Moved{Announced, Unclaimed}]; n > 0 {
		t.Errorf("n3 announced %d addresses", n)
	}
	b.oneOwnerEach(p)
	if n1.Stats().Members != 1 || n3.Stats().Members != 0 {
		t.Errorf("n1 sees %d others, n3 %d", n1.Stats().Members, n3.Stats().Members)
	}
	const line = "another membership key"
	b.eventually("n3 says what is wrong", func() bool { return n3.log.count(line) > 0 })
	if n := n3.log.count(line); n > 2 { // once for each of the others
		t.Errorf("n3 says %d times that keys differ", n)
	}
	// The key is put right: the node is one of them, and takes nothing.
	n3.SetKey([]byte("k"))
	b.inSight(2, n1, n2, n3)
	b.oneOwnerEach(p)
}

// A node whose gossip can not start serves what is its own alone.
func TestWithoutKeyTheFirstInTheRankServes(t *testing.T) {
	b := newTestbed(t, 2)
	p := seats(6, "n1", "n2")
	b.start("n1", "", p)
	b.start("n2", "", p)
	b.oneOwnerEach(p)
}

// The key changes at different times on the nodes; they go on hearing each other.
func TestKeyRotation(t *testing.T) {
	b := newTestbed(t, 2)
	p := seats(4, "n1", "n2")
	n1, n2 := b.start("n1", "old", p), b.start("n2", "old", p)
	b.inSight(1, n1, n2)
	b.eventually("n1's gossip has n2 too", func() bool {
		n1.gossip.mu.Lock()
		defer n1.gossip.mu.Unlock()
		return len(n1.gossip.nodes) == 1
	})
	n1.SetKey([]byte("new"))
	time.Sleep(time.Second) // n2 learns later
	n2.SetKey([]byte("new"))
	b.eventually("the new key is used", func() bool {
		n1.gossip.keys.mu.Lock()
		defer n1.gossip.keys.mu.Unlock()
		return n1.gossip.keys.use.IsZero() && n1.gossip.keys.keys != nil
	})
	b.inSight(1, n1, n2)
	if n := n1.log.count("another membership key") + n2.log.count("another membership key"); n > 0 {
		t.Errorf("%d messages could not be read", n)
	}
	b.oneOwnerEach(p)
}

// Five thousand addresses change hands.
func TestManyClaims(t *testing.T) {
	b := newTestbed(t, 2)
	b.log = slog.LevelWarn
	p := seats(5000, "n1", "n2")
	n1, n2 := b.start("n1", "k", p), b.start("n2", "k", p)
	b.inSight(1, n1, n2)
	b.eventually("all claimed", func() bool { return n1.Stats().Claimed+n2.Stats().Claimed == len(p.Seats) })
	began := time.Now()
	if err := n1.Yield(context.Background()); err != nil {
		t.Error(err)
	}
	t.Logf("5,000 seats: yielded in %s; %+v", time.Since(began), n1.Stats().Decisions)
	if n := n2.Stats().Claimed; n != len(p.Seats) {
		t.Errorf("n2 claims %d of %d", n, len(p.Seats))
	}
}

// A node that has no interface for an address, or loses it, gives it away.
func TestWithoutInterfaceTheNextServes(t *testing.T) {
	b := newTestbed(t, 2)
	p := seats(6, "n1", "n2")
	n1 := b.start("n1", "k", p)
	b.unplug("n1", true)
	n2 := b.start("n2", "k", p)
	b.inSight(1, n1, n2)
	b.eventually("n2 has all", func() bool { return n2.Stats().Claimed == len(p.Seats) && n1.Stats().Held == 0 })
	b.unplug("n1", false)
	b.unplug("n2", true)
	b.eventually("n1 has all", func() bool { return n1.Stats().Claimed == len(p.Seats) && n2.Stats().Held == 0 })
}

func (b *testbed) unplug(name string, out bool) {
	for _, w := range b.seg.wires {
		if w.name == name {
			b.seg.mu.Lock()
			w.unplugged = out
			b.seg.mu.Unlock()
			w.config.Changed()
		}
	}
}

// A newly eligible node waits for the health port.
func TestHealthPortDecides(t *testing.T) {
	b := newTestbed(t, 2)
	b.times.Dwell = 10 * time.Second
	p := seats(1, "n1")
	n1, n2 := b.start("n1", "k", p), b.start("n2", "k", p)
	b.inSight(1, n1, n2)
	b.oneOwnerEach(p)
	b.eventually("n2 knows", func() (known bool) {
		n2.ask(func(time.Time) { known = len(n2.core.ledger.byAddr) == 1 })
		return known
	})

	listener, err := net.Listen("tcp", b.peers["n2"][0].String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	programmed := false
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !programmed {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	go server.Serve(listener)
	defer server.Close()

	moved := p.Seats[0]
	moved.Layer2, moved.Dwell = []allocator.Candidate{{Node: "n2"}}, false
	moved.HealthPorts = []uint16{uint16(listener.Addr().(*net.TCPAddr).Port)}
	for _, d := range []*daemon{n1, n2} {
		d.Set(allocator.Placement{Seats: []allocator.Seat{moved}})
	}
	b.eventually("n2 asks", func() bool {
		n2.health.mu.Lock()
		defer n2.health.mu.Unlock()
		return len(n2.health.ports) > 0
	})
	if got := b.seg.holders(moved.Addr); !slices.Equal(got, []string{"n1"}) {
		t.Fatalf("%v answer, want n1 until n2 serves", got)
	}
	mu.Lock()
	programmed = true
	mu.Unlock()
	b.eventually("n2 has it", func() bool { return slices.Equal(b.seg.holders(moved.Addr), []string{"n2"}) })
}

// Another program has the port: that is told once, the node works alone, takes
// nothing from others, and joins them when the port is free.
func TestPortTakenWorksAlone(t *testing.T) {
	b := newTestbed(t, 2)
	p := seats(6, "n1", "n2")
	other, err := net.Listen("tcp", netip.AddrPortFrom(b.peers["n2"][0], 7946).String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	n1 := b.start("n1", "k", p)
	b.eventually("n1 has all", func() bool { return n1.Stats().Claimed == len(p.Seats) })
	n2 := b.start("n2", "k", p)
	b.eventually("n2 has looked around", func() bool { return n2.Stats().Settled })
	time.Sleep(3 * joinEvery)
	const line = "gossip can not start"
	if n := n2.log.count(line); n != 1 || n2.log.count("port=7946") == 0 {
		t.Errorf("n2 says %d times that its gossip can not start", n)
	}
	if n := n2.Stats().Claimed; n > 0 {
		t.Errorf("n2 took %d addresses", n)
	}
	other.Close()
	b.inSight(1, n1, n2)
	b.oneOwnerEach(p)
}

// A node that was given up in error is asked for its account as soon as it speaks,
// though gossip has not found it again.
func TestAsksWhoIsOutOfSight(t *testing.T) {
	b := newTestbed(t, 2)
	p := seats(6, "n1", "n2")
	n1, n2 := b.start("n1", "k", p), b.start("n2", "k", p)
	b.inSight(1, n1, n2)
	b.oneOwnerEach(p)
	n2.gossip.mu.Lock()
	delete(n2.gossip.nodes, "n1")
	n2.gossip.mu.Unlock()
	n2.ask(func(time.Time) { n2.core.left("n1") })
	n1.Set(seats(12, "n1", "n2")) // something to speak of
	b.eventually("n2 knows what n1 claims", func() (known bool) {
		n2.ask(func(time.Time) { known = n2.core.alive("n1") })
		return known
	})
}
