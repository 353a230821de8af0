package bfd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"holdfast.dev/holdfast/deploy/world"
)

// BenchmarkSession is the CPU time that a packet costs, sent and received together with
// its share of everything else: an operation is 50 ms of 100 sessions that send every
// 50 ms and hear as much. Both ends are in this process, so the figure is for both.
func BenchmarkSession(b *testing.B) {
	const sessions = 100
	p := newPair(b)
	quick := Profile{Transmit: 50 * time.Millisecond, Receive: 50 * time.Millisecond, Multiplier: 20}
	ends := map[string][]Session{}
	for i := range sessions {
		peer := func(side int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(side), byte(i + 1)}) }
		must(b, world.IP(p.a, fmt.Sprintf("addr add %v/16 dev eth0", peer(1))))
		must(b, world.IP(p.b, fmt.Sprintf("addr add %v/16 dev eth0", peer(2))))
		ends[p.a] = append(ends[p.a], Session{Peer: peer(2), Local: peer(1), Profile: quick})
		ends[p.b] = append(ends[p.b], Session{Peer: peer(1), Local: peer(2), Profile: quick})
	}
	a, z := quiet(b, p.a, ends[p.a]), quiet(b, p.b, ends[p.b])
	(&speaker{Detector: a}).allUp(b, sessions)
	(&speaker{Detector: z}).allUp(b, sessions)
	packets := func() (n uint64) {
		for _, st := range slices.Concat(a.Status(), z.Status()) {
			n += st.PacketsOut
		}
		return n
	}
	before, spent := packets(), cpu()
	b.ResetTimer()
	time.Sleep(time.Duration(b.N) * 50 * time.Millisecond)
	b.StopTimer()
	b.ReportMetric(float64((cpu()-spent).Nanoseconds())/float64(packets()-before), "cpu-ns/packet")
}

// BenchmarkDetection is how long after the detection time the change is told: the peer
// vanishes, and the time of its last packet is known to the detector.
func BenchmarkDetection(b *testing.B) {
	quick := Profile{Transmit: 50 * time.Millisecond, Receive: 50 * time.Millisecond}
	p := newPair(b)
	told := make(chan time.Duration, 1)
	up := make(chan struct{}, 1)
	d := New(Config{RealTime: true, Changed: func(c Change) {
		switch {
		case c.To == Up:
			up <- struct{}{}
		case c.Failed():
			told <- c.SinceHeard + time.Since(c.At) - 150*time.Millisecond
		}
	}})
	d.Set([]Session{with("10.0.0.2", quick)})
	begin(b, p.a, d)
	var late []time.Duration
	for b.Loop() {
		peer := New(Config{})
		peer.Set([]Session{with("10.0.0.1", quick)})
		stop := begin(b, p.b, peer)
		<-up
		eventually(b, "the fast interval", func() bool { return d.Status()[0].DetectAfter == 150*time.Millisecond })
		stop()
		late = append(late, <-told)
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[len(late)/2].Microseconds()), "µs-late-p50")
	b.ReportMetric(float64(late[len(late)-1].Microseconds()), "µs-late-max")
}

// BenchmarkMachine is what a packet costs without a wire.
func BenchmarkMachine(b *testing.B) {
	m := newMachine(Profile{}.complete(), 1, 42, epoch)
	p, now := from(Up), epoch
	var out [packetLen]byte
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(300 * time.Millisecond)
		p.put(&out)
		heard, _ := parse(out[:])
		m.receive(heard, now, now)
		if s := m.tick(now, now); s.send {
			s.packet.put(&out)
		}
	}
}

func quiet(b *testing.B, ns string, sessions []Session) *Detector {
	d := New(Config{Log: slog.New(slog.DiscardHandler)})
	d.Set(sessions)
	begin(b, ns, d)
	return d
}

// begin runs a detector in a namespace until the benchmark ends or stop is called.
func begin(b *testing.B, ns string, d *Detector) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- world.Within(ns, func() error { return d.Run(ctx) }) }()
	return func() {
		cancel()
		must(b, <-done)
	}
}

func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
