package layer2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"holdfast.dev/holdfast/deploy/world"
)

// pingerVar makes this binary ask for an address on eth0 and print how long
// the answers took, median and 99 %, and how many did not come: "ADDR COUNT PAUSE".
// A process of its own, so that it and the Announcer do not share a scheduler.
const pingerVar = "HOLDFAST_LAYER2_PING"

func pinger() {
	f := strings.Fields(os.Getenv(pingerVar))
	addr := netip.MustParseAddr(f[0])
	count, _ := strconv.Atoi(f[1])
	pause, _ := time.ParseDuration(f[2])
	times, err := ping(addr, count, pause)
	if err == nil && len(times) == 0 {
		err = errors.New("nothing was answered")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	slices.Sort(times)
	fmt.Println(times[len(times)/2].Nanoseconds(), times[len(times)*99/100].Nanoseconds(), count-len(times))
	os.Exit(0)
}

// flooderVar makes this binary ask for an address on eth0 so many times a second,
// until it is killed: "ADDR RATE".
const flooderVar = "HOLDFAST_LAYER2_FLOOD"

func flooder() {
	f := strings.Fields(os.Getenv(flooderVar))
	rate, _ := strconv.Atoi(f[1])
	if err := flood(netip.MustParseAddr(f[0]), rate); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

func flood(addr netip.Addr, rate int) error {
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	fd, err := packetSocket(ifi.Index, typeARP, arpFilter)
	if err != nil {
		return err
	}
	own := mac(ifi.HardwareAddr)
	frame := appendARP(nil, broadcast, arpPacket{op: arpRequest, sha: own, spa: netip.MustParseAddr("192.0.2.200"), tpa: addr})
	began, sent := time.Now(), 0
	for {
		for due := int(time.Since(began).Seconds() * float64(rate)); sent < due; sent++ {
			if _, err := unix.Write(fd, frame); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func ping(addr netip.Addr, count int, pause time.Duration) (times []time.Duration, err error) {
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		return nil, err
	}
	fd, err := packetSocket(ifi.Index, typeARP, arpFilter)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return nil, err
	}
	own := mac(ifi.HardwareAddr)
	frame := appendARP(nil, broadcast, arpPacket{op: arpRequest, sha: own, spa: hostNet4.Addr(), tpa: addr})
	buf := make([]byte, 128)
	for range count {
		start := time.Now()
		if _, err := unix.Write(fd, frame); err != nil {
			return nil, err
		}
		for {
			n, err := unix.Read(fd, buf)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				return nil, err
			}
			if p, ok := parseARP(buf[:n]); ok && p.op == arpReply && p.spa == addr {
				times = append(times, time.Since(start))
				break
			}
		}
		if pause > 0 {
			ts := syscall.NsecToTimespec(pause.Nanoseconds())
			_ = syscall.Nanosleep(&ts, nil)
		}
	}
	return times, nil
}

// BenchmarkARP measures from request to answer at a host, the kernel's own
// answer, that of the smallest program that can be written (read, swap, write,
// on a thread that does nothing else) and ours, in one run. What the kernel
// does in the sender's own system call needs a thread to be woken in any
// program: the echo is the floor.
func BenchmarkARP(b *testing.B) {
	s := newVeth(b)
	n := s.node(b).(*vethNode)
	n.add(b, "eth0", macA)
	h := s.host(b, hostNet4, hostNet6).(*vethHost)
	own, echoed := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	must(b, world.IP(n.ns, "addr add "+own.String()+"/24 dev eth0"))
	for _, pause := range []string{"0s", "1ms"} {
		for _, c := range []struct {
			name string
			addr netip.Addr
			run  func(b *testing.B)
		}{
			{"kernel", own, func(*testing.B) {}},
			{"echo", echoed, func(b *testing.B) { echo(b, n.ns, echoed) }},
			{"holdfast", vip4, func(b *testing.B) {
				a := n.run(b, Config{})
				a.Set(entries(manyAddrs(5000, vip4)...))
				until(b, "announced", func() bool { return a.Status()[4999].Since != time.Time{} })
			}},
		} {
			b.Run("pause="+pause+"/"+c.name, func(b *testing.B) {
				c.run(b)
				b.ResetTimer()
				reportPings(b, h.ns, c.addr, max(b.N, 500), pause)
			})
		}
	}
}

// again is this binary in a network namespace, with an order for it.
func again(b *testing.B, ns, order string) *exec.Cmd {
	self, err := os.Executable()
	must(b, err)
	cmd := world.Command(ns, self)
	cmd.Env = append(os.Environ(), order)
	return cmd
}

func reportPings(b *testing.B, ns string, addr netip.Addr, count int, pause string) {
	out, err := again(b, ns, fmt.Sprintf("%s=%s %d %s", pingerVar, addr, count, pause)).Output()
	if exit, is := err.(*exec.ExitError); is {
		b.Fatalf("%v: %s", err, exit.Stderr)
	}
	var p50, p99, lost float64
	if _, err := fmt.Sscan(string(out), &p50, &p99, &lost); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(p50, "p50-ns")
	b.ReportMetric(p99, "p99-ns")
	b.ReportMetric(100*lost/float64(count), "%-unanswered")
}

// BenchmarkFlood measures what a host gets while a neighbour asks 50,000 times a
// second: the kernel's answers for an address of its own, and ours.
func BenchmarkFlood(b *testing.B) {
	s := newVeth(b)
	n := s.node(b).(*vethNode)
	n.add(b, "eth0", macA)
	h, bad := s.host(b, hostNet4, hostNet6).(*vethHost), s.host(b, netip.MustParsePrefix("192.0.2.200/24"), netip.MustParsePrefix("2001:db8::200/64")).(*vethHost)
	own := netip.MustParseAddr("192.0.2.1")
	must(b, world.IP(n.ns, "addr add "+own.String()+"/24 dev eth0"))
	a := n.run(b, Config{})
	a.Set(entries(vip4))
	until(b, "announced", func() bool { return !a.Status()[0].Since.IsZero() })
	for name, addr := range map[string]netip.Addr{"kernel": own, "holdfast": vip4} {
		b.Run(name, func(b *testing.B) {
			cmd := again(b, bad.ns, fmt.Sprintf("%s=%s 50000", flooderVar, addr))
			must(b, cmd.Start())
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }() // it is to end so
			b.ResetTimer()
			reportPings(b, h.ns, addr, max(b.N, 500), "1ms")
		})
	}
}

// echo answers for one address with as few steps as there are.
func echo(b *testing.B, ns string, addr netip.Addr) {
	var fd int
	must(b, world.Within(ns, func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err = packetSocket(ifi.Index, typeARP, arpFilter)
		return err
	}))
	must(b, unix.SetNonblock(fd, false))
	must(b, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	start(b, func(ctx context.Context) error {
		defer unix.Close(fd)
		want := addr.As4()
		buf := make([]byte, 128)
		for ctx.Err() == nil {
			n, err := unix.Read(fd, buf)
			if err != nil || n < arpLen || [4]byte(buf[38:42]) != want || buf[21] != arpRequest {
				continue
			}
			copy(buf[0:6], buf[6:12])
			copy(buf[6:12], macA[:])
			buf[21] = arpReply
			copy(buf[32:42], buf[22:32])
			copy(buf[22:28], macA[:])
			copy(buf[28:32], want[:])
			if _, err := unix.Write(fd, buf[:arpLen]); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkTraffic is what IPv6 that is none of our business pays while an
// IPv6 address is held on the interface: a datagram from a host through veth and bridge to the node,
// which drops it.
func BenchmarkTraffic(b *testing.B) {
	for name, held := range map[string][]netip.Addr{"nothing held": nil, "IPv4 held": {vip4}, "IPv6 held": {vip6}} {
		b.Run(name, func(b *testing.B) {
			s := newVeth(b)
			n, h := s.node(b).(*vethNode), s.host(b, hostNet4, hostNet6).(*vethHost)
			n.add(b, "eth0", macA)
			must(b, world.IP(h.ns, fmt.Sprintf("neigh replace %s lladdr %s dev eth0 nud permanent", other6, macA)))
			a := n.run(b, Config{})
			a.Set(entries(held...))
			until(b, "open", func() bool { return a.Stats().Interfaces == 1 })
			var c net.Conn
			must(b, world.Within(h.ns, func() (err error) {
				c, err = net.Dial("udp", netip.AddrPortFrom(other6, 9).String())
				return err
			}))
			defer c.Close()
			payload := make([]byte, 64)
			for b.Loop() {
				if _, err := c.Write(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyAddrs is n addresses, first those given.
func manyAddrs(n int, first ...netip.Addr) []netip.Addr {
	for i := 0; len(first) < n; i++ {
		first = append(first, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	return first
}

func BenchmarkSet(b *testing.B) {
	for _, n := range []int{5_000, 100_000} {
		all := entries(manyAddrs(n)...)
		a := New(Config{})
		b.Run(fmt.Sprintf("%d/one-changes", n), func(b *testing.B) {
			for i := range b.N {
				all[0].Addr = netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)})
				a.Set(all)
			}
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	t, _ := (&table{}).replace(entries(append(manyAddrs(100_000), vip4, vip6)...))
	f := &face{name: "eth0", mac: macA, auto: true, ipv6: true}
	buf := make([]byte, 0, 128)
	arp := appendARP(nil, broadcast, arpPacket{op: arpRequest, sha: foreign, spa: hostNet4.Addr(), tpa: vip4})
	ndp := appendNDP(nil, macA, foreign, neighborMessage{kind: neighborSolicitation, src: hostNet6.Addr(), dst: vip6, target: vip6, link: foreign})
	for name, frame := range map[string][]byte{"ARP": arp, "NDP": ndp} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := judge(t, f, nil, frame, buf); v.reply == nil {
					b.Fatal("not answered")
				}
			}
		})
	}
}
