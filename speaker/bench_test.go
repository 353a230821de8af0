package speaker

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// settledCore is a core of one of three nodes that share n addresses.
func settledCore(n int) (*core, allocator.Placement, time.Time) {
	now := epoch
	c := newCore("n1", 1, Times{})
	c.know([]string{"n1", "n2", "n3"})
	p := seats(n, "n1", "n2", "n3")
	c.place(now, p)
	for _, other := range []string{"n2", "n3"} {
		c.joined(other)
		c.receive(now, message{kind: kindFull, node: other, life: 1, standing: standing{ready: true}})
	}
	o := c.decide(now)
	for addr := range c.held {
		c.announced(now, addr)
	}
	_ = o
	c.decide(now)
	return c, p, now
}

// One endpoint flaps among many Services: the seat changes, the owner does not.
func BenchmarkOneSeatChanges(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, p, now := settledCore(n)
			for i := 0; b.Loop(); i++ {
				s := p.Seats[i%n]
				s.Full = []string{"n1"}
				now = now.Add(time.Millisecond)
				c.place(now, allocator.Placement{Seats: []allocator.Seat{s}})
				c.decide(now)
			}
		})
	}
}

// One address changes hands among many: layer2 gets the whole set.
func BenchmarkOneAddressMoves(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, p, now := settledCore(n)
			for i := 0; b.Loop(); i++ {
				s := p.Seats[i%n]
				s.Layer2 = s.Layer2[i/n%2 : 1+i/n%2]
				now = now.Add(time.Millisecond)
				c.place(now, allocator.Placement{Seats: []allocator.Seat{s}})
				if c.decide(now).set {
					c.entries()
				}
			}
		})
	}
}

// A node goes out of sight: every address is judged.
func BenchmarkNodeDies(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _, now := settledCore(n)
			for b.Loop() {
				c.left("n3")
				now = now.Add(time.Millisecond)
				c.decide(now)
				b.StopTimer()
				c.joined("n3")
				c.receive(now, message{kind: kindFull, node: "n3", life: 1, standing: standing{ready: true}})
				c.decide(now)
				b.StartTimer()
			}
		})
	}
}

// Watching costs the same on every node, however many there are: one second of it,
// with every answer; and, at each change of the membership, the choice of wards.
func BenchmarkVigilSecond(b *testing.B) {
	v := newVigil(Echo{}.orDefault())
	nodes := map[string]netip.Addr{}
	for i := range wards {
		nodes[fmt.Sprint("n", i)] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
	}
	v.watch(nodes)
	now, asked := epoch, 0
	for b.Loop() {
		for end := now.Add(time.Second); now.Before(end); {
			o := v.tick(now)
			for _, addr := range o.ask {
				v.echoed(addr)
			}
			asked += len(o.ask)
			now = o.next
		}
	}
	b.ReportMetric(float64(asked)/float64(b.N), "requests/op")
}

func BenchmarkRing(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var nodes []string
			for i := range n {
				nodes = append(nodes, fmt.Sprint("node-", i))
			}
			for b.Loop() {
				ring("node-1", nodes)
			}
		})
	}
}
