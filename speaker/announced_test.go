package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
)

// said adds up what a core answers for, from scratch.
func said(c *core) map[allocator.ServiceName]allocator.Report {
	out := map[allocator.ServiceName]allocator.Report{}
	unlimited := map[allocator.ServiceName]bool{}
	for addr, s := range c.held {
		if !s.held.announced {
			continue
		}
		interfaces := c.entry(s).Interfaces
		for _, n := range s.Services {
			r := out[n]
			r.Addrs, r.On = append(r.Addrs, addr), append(r.On, interfaces...)
			unlimited[n] = unlimited[n] || len(interfaces) == 0
			out[n] = r
		}
	}
	for n, r := range out {
		slices.SortFunc(r.Addrs, netip.Addr.Compare)
		slices.Sort(r.On)
		if r.On = slices.Compact(r.On); unlimited[n] {
			r.On = nil
		}
		out[n] = r
	}
	return out
}

// Who asks for what has changed only, and adds it up, knows what there is.
func TestAlwaysSaysWhatIsAnswered(t *testing.T) {
	names := []allocator.ServiceName{{Namespace: "shop", Name: "web"}, {Namespace: "shop", Name: "dns"}, {Namespace: "b", Name: "web"}}
	rapid.Check(t, func(t *rapid.T) {
		const n = 6
		c, p, now := settledCore(n)
		heard := map[allocator.ServiceName]allocator.Report{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			seat := p.Seats[rapid.IntRange(0, n-1).Draw(t, "address")]
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0: // other Services sit on it
				seat.Services = slices.Clone(names[:rapid.IntRange(0, len(names)).Draw(t, "services")])
				c.place(now, allocator.Placement{Seats: []allocator.Seat{seat}})
			case 1: // it is limited to interfaces
				seat.Services = names[:2]
				seat.Layer2 = []allocator.Candidate{{Node: "n1", Interfaces: []string{"eth0", "eth1"}[:rapid.IntRange(0, 2).Draw(t, "interfaces")]}}
				c.place(now, allocator.Placement{Seats: []allocator.Seat{seat}})
			case 2: // nobody may answer any more
				c.place(now, allocator.Placement{Gone: []netip.Addr{seat.Addr}})
			case 3: // it is on the wire
				c.announced(now, seat.Addr)
			}
			c.decide(now)
			if rapid.Bool().Draw(t, "asks") {
				continue
			}
			for s, r := range c.news(false) {
				if heard[s] = r; len(r.Addrs) == 0 {
					delete(heard, s)
				}
			}
			want := said(c)
			if !maps.EqualFunc(heard, want, func(a, b allocator.Report) bool {
				return slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.On, b.On)
			}) {
				t.Fatalf("heard %v, and it says %v", heard, want)
			}
			if whole := c.news(true); len(whole) != len(want) {
				t.Fatalf("in all %v, and it says %v", whole, want)
			}
		}
	})
}

// Who counts only the word of nodes in sight is told when one comes into sight, as well
// as when one goes: nothing else need change with it.
func TestTellsWhoIsInSight(t *testing.T) {
	c, _, now := settledCore(1)
	c.sight(true)
	for _, step := range []struct {
		what string
		do   func(string)
		want []string
	}{{"goes", c.left, []string{"n1", "n2"}}, {"comes", c.joined, []string{"n1", "n2", "n3"}}} {
		step.do("n3")
		if !c.decide(now).roll {
			t.Errorf("a node %s, and nobody is told to ask", step.what)
		}
		got := c.sight(false)
		if slices.Sort(got); !slices.Equal(got, step.want) {
			t.Errorf("a node %s: %v are in sight, want %v", step.what, got, step.want)
		}
	}
	if c.joined("n3"); c.decide(now).roll {
		t.Error("a node that is in sight comes again, and it is told")
	}
}

// One Service joins or leaves an address among 10,000, and who asks is told.
func BenchmarkOneReportOf10000(b *testing.B) {
	c, p, now := settledCore(10_000)
	web := allocator.ServiceName{Namespace: "shop", Name: "web"}
	c.news(true)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := p.Seats[0]
		s.Services = []allocator.ServiceName{web}[:i%2]
		c.place(now, allocator.Placement{Seats: []allocator.Seat{s}})
		c.rolls(s.Addr)
		c.news(false)
	}
}
