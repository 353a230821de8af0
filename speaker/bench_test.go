package speaker

import (
	"fmt"
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
