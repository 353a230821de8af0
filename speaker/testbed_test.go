package speaker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
)

// segment joins wires: what one announces, the others hear.
type segment struct {
	mu    sync.Mutex
	wires []*wireEnd
	owner map[netip.Addr]string // who announced last
}

type wireEnd struct {
	seg    *segment
	name   string
	config layer2.Config
	set    map[netip.Addr]bool

	unplugged bool // its interface is gone; the gossip goes elsewhere
}

func (w *wireEnd) Run(ctx context.Context) error {
	<-ctx.Done()
	w.seg.mu.Lock()
	defer w.seg.mu.Unlock()
	clear(w.set)
	return nil
}

func (w *wireEnd) Stats() layer2.Stats { return layer2.Stats{} }

func (w *wireEnd) Status() (all []layer2.Status) {
	w.seg.mu.Lock()
	defer w.seg.mu.Unlock()
	for addr := range w.set {
		s := layer2.Status{Addr: addr}
		if !w.unplugged {
			s.Interfaces = []string{"eth0"}
		}
		all = append(all, s)
	}
	return all
}

func (w *wireEnd) Set(entries []layer2.Entry) {
	w.seg.mu.Lock()
	defer w.seg.mu.Unlock()
	next := make(map[netip.Addr]bool, len(entries))
	for _, e := range entries {
		next[e.Addr] = true
		if !w.set[e.Addr] {
			go w.announce(e.Addr)
		}
	}
	w.set = next
}

func (w *wireEnd) Announce(addrs ...netip.Addr) {
	for _, a := range addrs {
		go w.announce(a)
	}
}

func (w *wireEnd) mac() net.HardwareAddr {
	return append(net.HardwareAddr{2, 0, 0, 0}, w.name[len(w.name)-2:]...)
}

func (w *wireEnd) Usable() map[string]layer2.Usability {
	w.seg.mu.Lock()
	defer w.seg.mu.Unlock()
	if w.unplugged {
		return map[string]layer2.Usability{}
	}
	return map[string]layer2.Usability{"eth0": {Unnamed: true, IPv6: true}}
}

func (w *wireEnd) Stations() []net.HardwareAddr { return []net.HardwareAddr{w.mac()} }

func (w *wireEnd) Probe(entries ...layer2.Entry) {
	go func() {
		for _, e := range entries {
			for _, o := range w.seg.others(w, e.Addr) {
				w.config.Heard(e.Addr, "eth0", o.mac())
			}
		}
	}()
}

// others are those who hold an address, and are heard.
func (seg *segment) others(than *wireEnd, addr netip.Addr) (all []*wireEnd) {
	seg.mu.Lock()
	defer seg.mu.Unlock()
	for _, o := range seg.wires {
		if o != than && o.set[addr] && !o.unplugged && !than.unplugged {
			all = append(all, o)
		}
	}
	return all
}

func (w *wireEnd) announce(addr netip.Addr) {
	w.seg.mu.Lock()
	unplugged, holds := w.unplugged, w.set[addr]
	if holds && !unplugged {
		w.seg.owner[addr] = w.name
	}
	w.seg.mu.Unlock()
	if unplugged {
		return
	}
	w.config.Announced(addr, "eth0")
	if !holds {
		return
	}
	for _, o := range w.seg.others(w, addr) {
		o.config.Heard(addr, "eth0", w.mac())
	}
}

func (seg *segment) holders(addr netip.Addr) (names []string) {
	seg.mu.Lock()
	defer seg.mu.Unlock()
	for _, w := range seg.wires {
		if w.set[addr] {
			names = append(names, w.name)
		}
	}
	return names
}

// daemon is a Speaker that runs.
type daemon struct {
	*Speaker
	name string
	kill context.CancelFunc
	log  *lines
	done chan struct{}
}

// lines collects a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// testbed is a segment and the peers on loopback.
type testbed struct {
	*testing.T
	seg   *segment
	net   byte
	peers map[string][]netip.Addr
	times Times
	log   slog.Level
}

var testNets atomic.Int32

func newTestbed(t *testing.T, nodes int) *testbed {
	t.Parallel()
	b := &testbed{
		T: t, seg: &segment{owner: map[netip.Addr]string{}}, net: byte(10 + testNets.Add(1)), peers: map[string][]netip.Addr{},
		times: Times{Dwell: 300 * time.Millisecond, Start: 2 * time.Second}, log: slog.LevelInfo,
	}
	for i := range nodes {
		b.peers[fmt.Sprintf("n%d", i+1)] = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, b.net, byte(i + 1)})}
	}
	return b
}

func (b *testbed) start(name, key string, p allocator.Placement) *daemon {
	w := &wireEnd{seg: b.seg, name: name, set: map[netip.Addr]bool{}}
	d := &daemon{name: name, log: &lines{}, done: make(chan struct{})}
	d.Speaker = New(Config{
		Node: name, Times: b.times, Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: b.log})),
		Gossip: Gossip{SuspicionMult: 5},
		Wire:   func(c layer2.Config) Wire { w.config = c; return w },
	})
	b.seg.mu.Lock()
	b.seg.wires = append(slices.DeleteFunc(b.seg.wires, func(o *wireEnd) bool { return o.name == name }), w)
	b.seg.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	d.kill = cancel
	go func() {
		defer close(d.done)
		if err := d.Run(ctx); err != nil {
			b.Errorf("%s: %v", name, err)
		}
	}()
	d.SetPeers(b.peers)
	if key != "" {
		d.SetKey([]byte(key))
	}
	d.Set(p)
	b.Cleanup(func() {
		cancel()
		<-d.done
		if b.Failed() {
			d.log.mu.Lock()
			defer d.log.mu.Unlock()
			b.Logf("log of %s:\n%s", name, d.log.b.String())
		}
	})
	return d
}

// eventually waits until is holds. The time is generous: the machine may be busy.
func (b *testbed) eventually(what string, is func() bool) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	b.Fatalf("never: %s", what)
}

func seats(n int, nodes ...string) (p allocator.Placement) {
	for i := range n {
		p.Seats = append(p.Seats, seatAt(i, nodes...))
	}
	return p
}

func seatAt(i int, nodes ...string) allocator.Seat {
	s := allocator.Seat{
		Addr:     netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}),
		Services: []allocator.ServiceName{{Namespace: "default", Name: fmt.Sprint("s", i)}}, Dwell: true,
	}
	for _, n := range slices.Sorted(slices.Values(nodes)) {
		s.Layer2 = append(s.Layer2, allocator.Candidate{Node: n})
	}
	return s
}

func (b *testbed) oneOwnerEach(p allocator.Placement) {
	b.Helper()
	b.eventually("every address has one owner", func() bool {
		for _, s := range p.Seats {
			if len(b.seg.holders(s.Addr)) != 1 {
				return false
			}
		}
		return true
	})
}

func (b *testbed) inSight(n int, ds ...*daemon) {
	b.Helper()
	b.eventually(fmt.Sprintf("%d others in sight", n), func() bool {
		for _, d := range ds {
			if st := d.Stats(); st.Members != n || !st.Settled {
				return false
			}
		}
		return true
	})
}

// owned counts the addresses that each node answers for alone.
func (b *testbed) owned(p allocator.Placement) map[string]int {
	count := map[string]int{}
	for _, s := range p.Seats {
		if h := b.seg.holders(s.Addr); len(h) == 1 {
			count[h[0]]++
		}
	}
	return count
}

// evenly wants the addresses spread over so many nodes.
func (b *testbed) evenly(p allocator.Placement, nodes int) {
	b.Helper()
	owned, mean := b.owned(p), len(p.Seats)/nodes
	if len(owned) != nodes {
		b.Errorf("owned by %v, want %d nodes", owned, nodes)
	}
	for n, count := range owned {
		if count < mean-mean/4 || count > mean+mean/4 {
			b.Errorf("%s owns %d of %d addresses: %v", n, count, len(p.Seats), owned)
		}
	}
}

// told waits until daemons have heard of an owner for every address.
func (b *testbed) told(p allocator.Placement, ds ...*daemon) {
	b.Helper()
	for _, d := range ds {
		b.eventually(d.name+" knows who answers", func() bool {
			known := 0
			d.ask(func(time.Time) { known = len(d.core.ledger.byAddr) + len(d.core.ledger.own.claims) })
			return known == len(p.Seats)
		})
	}
}
