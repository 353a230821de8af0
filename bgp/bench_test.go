package bgp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"holdfast.dev/holdfast/deploy/world"
)

// A drain is a router that takes everything. It is as cheap as can be, since it
// shares the cores with what is measured. One with a thread of its own costs more,
// but what it costs can be told apart.
type drain struct {
	addr  netip.AddrPort
	l     net.Listener
	apart bool         // it has a thread of its own
	whole chan int     // octets, at the End-of-RIB of each session
	some  chan int     // octets of each UPDATE after that
	spent atomic.Int64 // CPU time of the thread until the latest of them
}

func newDrain(tb testing.TB, ns string, i int, apart bool) *drain {
	d := &drain{apart: apart, whole: make(chan int, 1), some: make(chan int, 1024)}
	d.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)}), bgpPort)
	must(tb, world.Within(ns, func() error {
		l, err := net.Listen("tcp4", d.addr.String())
		d.l = l
		return err
	}))
	tb.Cleanup(func() { d.l.Close() })
	go func() {
		for {
			c, err := d.l.Accept()
			if err != nil {
				return
			}
			go d.serve(c)
		}
	}()
	return d
}

// A blocking reads in the thread that asks, without the runtime's poller.
type blocking uintptr

func (fd blocking) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == nil && n > 0:
			return n, nil
		case err != unix.EINTR:
			return 0, io.EOF
		}
	}
}

func (d *drain) serve(c net.Conn) {
	defer c.Close()
	_, _ = c.Write(append(fakeOpen().message(), keepalive...))
	r := bufio.NewReaderSize(c, 64<<10)
	if d.apart {
		runtime.LockOSThread() // the thread ends with this goroutine
		file, err := c.(*net.TCPConn).File()
		if err != nil {
			return
		}
		defer file.Close()
		r.Reset(blocking(file.Fd()))
	}
	octets, told := 0, false
	for {
		head, err := r.Peek(headerLen)
		if err != nil {
			return
		}
		length, kind := int(binary.BigEndian.Uint16(head[16:])), head[18]
		if _, err := r.Discard(length); err != nil {
			return
		}
		if kind != packet.BGP_MSG_UPDATE {
			continue
		}
		octets += length
		switch {
		case told:
			d.spent.Store(int64(cpuTime(unix.RUSAGE_THREAD)))
			d.some <- length
		case length == 23: // End-of-RIB
			told = true
			d.whole <- octets
		}
	}
}

var segments int

// segment is a cable to a namespace of its own, at 10.8.0.1.
func segment(b *testing.B) (ns string) {
	segments++ // names are not used again: a namespace ends some time after its deletion
	ns = fmt.Sprint("drains", segments)
	addRouterNamespace(b, ns)
	here := fmt.Sprint("bench", segments)
	must(b, world.AddCable("", here, ns, "eth0"))
	must(b, world.IP("", "addr add 10.8.0.2/16 dev "+here))
	must(b, world.IP(ns, "addr add 10.8.0.1/16 dev eth0"))
	b.Cleanup(func() { must(b, world.IP("", "link del "+here)) })
	return ns
}

func drains(b *testing.B, n int, apart bool) (all []*drain, peers []Peer) {
	ns := segment(b)
	must(b, world.IP("", "route add 10.7.0.0/16 via 10.8.0.1"))
	for i := range n {
		must(b, world.IP(ns, fmt.Sprintf("addr add 10.7.%d.%d/32 dev lo", (i+1)>>8, (i+1)&255)))
		all = append(all, newDrain(b, ns, i+1, apart))
		peers = append(peers, Peer{Name: fmt.Sprint("p", i), Address: all[i].addr.Addr(), MyAS: ourAS, PeerAS: routerAS, IPv4: true,
			HoldTime: 90 * time.Second, Connect: time.Second})
	}
	return all, peers
}

func benchPrefixes(n int) []Prefix {
	all := make([]Prefix, n)
	for i := range all {
		all[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32)
	}
	return all
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// From nothing to all prefixes at all peers, sessions included; and the heap that
// it takes, that of the routers' ends included.
func BenchmarkAll(b *testing.B) {
	for _, size := range []struct{ prefixes, peers int }{{10_000, 2}, {1_000, 64}} {
		b.Run(fmt.Sprintf("prefixes=%d/peers=%d", size.prefixes, size.peers), func(b *testing.B) {
			ds, peers := drains(b, size.peers, false)
			prefixes := benchPrefixes(size.prefixes)
			var took time.Duration
			var heap float64
			for b.Loop() {
				before := heapInUse()
				n := run(b, Config{})
				began := time.Now()
				n.Set(prefixes, peers)
				for _, d := range ds {
					<-d.whole
				}
				took += time.Since(began)
				heap += float64(heapInUse()) - float64(before)
				n.end()
			}
			b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms/all")
			b.ReportMetric(heap/1024/float64(b.N), "KiB")
		})
	}
}

// One prefix among 10,000 comes and goes, at two routers: CPU time of both ends,
// and of ours alone. The prefixes are in order, and say nothing; or they are in
// none, say much, and the last one takes the place of the one that goes.
func BenchmarkOneChange(b *testing.B) {
	for _, much := range []bool{false, true} {
		b.Run(fmt.Sprintf("much=%t", much), func(b *testing.B) {
			ds, peers := drains(b, 2, true)
			prefixes := benchPrefixes(10_001)
			without := prefixes[:10_000]
			if much {
				rand.New(rand.NewPCG(1, 2)).Shuffle(len(prefixes), func(i, j int) { prefixes[i], prefixes[j] = prefixes[j], prefixes[i] })
				for i := range prefixes {
					prefixes[i].Communities, prefixes[i].LargeCommunities = []uint32{7, 0xffffff01, gracefulShutdown}, [][3]uint32{{4200000000, 2, 3}}
					prefixes[i].Weight = float32(1 + i%7)
				}
				without = slices.Clone(without)
				without[5000] = prefixes[10_000]
			}
			n := run(b, Config{})
			n.Set(without, peers)
			for _, d := range ds {
				<-d.whole
			}
			spent := func() (both, theirs time.Duration) {
				for _, d := range ds {
					theirs += time.Duration(d.spent.Load())
				}
				return cpuTime(unix.RUSAGE_SELF), theirs
			}
			tell := func(all []Prefix) {
				n.Set(all, peers)
				for _, d := range ds {
					<-d.some
				}
			}
			tell(prefixes)
			tell(without)
			both, theirs := spent()
			for b.Loop() {
				tell(prefixes)
				tell(without)
			}
			both2, theirs2 := spent()
			changes := 2 * float64(b.N)
			b.ReportMetric(float64((both2-both).Microseconds())/changes, "both-cpu-µs/change")
			b.ReportMetric(float64((both2-both-theirs2+theirs).Microseconds())/changes, "our-cpu-µs/change")
		})
	}
}

// The physical floor: the same octets as of 10,000 prefixes, written at once to
// one connection and read at the other end.
func BenchmarkFloorTCP(b *testing.B) {
	ns := segment(b)
	var l net.Listener
	must(b, world.Within(ns, func() (err error) { l, err = net.Listen("tcp4", "10.8.0.1:179"); return err }))
	defer l.Close()
	var a atlas
	views, err := a.update(benchPrefixes(10_000), []string{""})
	must(b, err)
	d := dialect{as: ourAS, fourOctetAS: true}
	octets, _ := d.write(nil, ipv4, step{announce: views[""][ipv4], hop: hopOf(netip.MustParseAddr("10.8.0.2"))})
	read := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, err = io.CopyN(io.Discard, c, int64(len(octets)))
			c.Close()
			read <- err
		}
	}()
	b.SetBytes(int64(len(octets)))
	for b.Loop() {
		c, err := net.Dial("tcp4", "10.8.0.1:179")
		must(b, err)
		_, err = c.Write(octets)
		must(b, err)
		must(b, <-read)
		c.Close()
	}
}
