package allocator_test

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

// placing draws histories of few Services on few addresses, and of many changes
// to where they are served.
func placing() *rapid.Generator[history] {
	return drawHistory(40, drawEdit, drawFlip, drawPlaceEdit, drawPlaceEdit, drawPlaceEdit, drawPoolEdit)
}

// drawFlip draws a Service that turns Local, or Cluster again.
func drawFlip(t *rapid.T) step {
	name, local := pick(t, "service", serviceNames[:4]...), often(t, 8, "local")
	return step{fmt.Sprint("flip ", name, " local ", local), func(w *world) {
		if v, ok := w.services[name]; ok {
			v.Local, v.HealthPort = local, 0
			w.change(PutService{v})
		}
	}}
}

// Invariants 14 and 15.
func TestAlwaysAnnouncedFromTheNodesThatServeMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := placing().Draw(t, "history").run(rightPlanner, seated); err != nil {
			fail(t, w, err)
		}
	})
}

func drawSeat(t *rapid.T) (Seat, map[string]bool) {
	seat := Seat{Addr: netip.MustParseAddr(drawAddress(t, pick(t, "family", IPv4, IPv6)))}
	living := map[string]bool{}
	for i := range rapid.IntRange(0, 6).Draw(t, "nodes") {
		n := fmt.Sprint("m", i)
		living[n] = often(t, 7, "alive")
		if often(t, 7, "candidate") {
			seat.Layer2 = append(seat.Layer2, Candidate{Node: n, Weight: rapid.IntRange(0, 2).Draw(t, "weight")})
		}
		if rapid.Bool().Draw(t, "full") {
			seat.Full = append(seat.Full, n)
		}
	}
	return seat, living
}

// Invariant 16.
func TestAlwaysOneOwnerAndItsHeir(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seat, living := drawSeat(t)
		alive := func(n string) bool { return living[n] }
		present := pick(t, "present", "", "m0", "m1", "m2", "m9")
		owner := seat.Owner(alive, present, nil)
		heir := seat.Owner(func(n string) bool { return living[n] && n != owner }, present, nil)
		best, able, weights := -1, 0, map[string]int{}
		for _, c := range seat.Layer2 {
			if living[c.Node] {
				able, best, weights[c.Node] = able+1, max(best, c.Weight), c.Weight
			}
		}
		if (owner != "") != (able > 0) || (heir != "") != (able > 1) || owner != "" && owner == heir {
			t.Fatalf("of %d candidates: owner %q, heir %q", able, owner, heir)
		}
		if owner == "" {
			return
		}
		if w, ok := weights[owner]; !ok || w != best {
			t.Fatalf("owner %s has weight %d, the best is %d", owner, w, best)
		}
		if w, ok := weights[present]; ok && w == best && owner != present {
			t.Fatalf("%s owned it, could go on, and lost it to %s", present, owner)
		}
		if again := seat.Owner(alive, owner, nil); again != owner {
			t.Fatalf("%s does not keep what it is given: %s", owner, again)
		}
		for _, third := range seat.Layer2 { // who is neither does not matter
			if third.Node != owner && third.Node != heir {
				o := seat.Owner(func(n string) bool { return living[n] && n != third.Node }, present, nil)
				if o != owner {
					t.Fatalf("without %s: %s instead of %s", third.Node, o, owner)
				}
			}
		}
		living[owner] = false
		if next := seat.Owner(alive, present, nil); next != heir {
			t.Fatalf("%s is dead, and %s follows instead of %s", owner, next, heir)
		}
	})
}

// Among equals those with endpoints of all Services come first, and the
// addresses are spread over the nodes.
func TestAlwaysSpreadOverEqualNodes(t *testing.T) {
	var nodes []Candidate
	for i := range 5 {
		nodes = append(nodes, Candidate{Node: fmt.Sprint("node-", i)})
	}
	owned := map[string]int{}
	everybody := func(string) bool { return true }
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i % 250)})
		owner := Seat{Addr: a, Layer2: nodes}.Owner(everybody, "", nil)
		owned[owner]++
		if owner := (Seat{Addr: a, Layer2: nodes, Full: []string{"node-3"}}).Owner(everybody, "", nil); owner != "node-3" {
			t.Fatalf("%s: %s owns it, and node-3 has all endpoints", a, owner)
		}
		if owner := (Seat{Addr: a, Layer2: nodes, Full: []string{"node-3"}}).Owner(everybody, "node-1", nil); owner != "node-1" {
			t.Fatalf("%s: taken from node-1, which could go on", a)
		}
	}
	for n, count := range owned {
		if count < 150 || count > 250 {
			t.Errorf("%s owns %d of 1000 addresses, 200 would be even", n, count)
		}
	}
}

// Invariant 17: addresses that come one after the other, and those of a node that
// dies, are spread evenly, whichever they are, and even if all pods are on one node.
// The bounds are those of max/min <= 1.6, and of no node of three with more than 40
// of 100.
func TestAlwaysSpreadEvenly(t *testing.T) {
	for _, c := range []struct{ nodes, addresses, most, least int }{{3, 100, 38, 30}, {10, 100, 13, 8}, {2, 7, 5, 2}} {
		rapid.Check(t, func(t *rapid.T) {
			var all []Candidate
			for i := range c.nodes {
				all = append(all, Candidate{Node: fmt.Sprint("node-", i)})
			}
			net := rapid.IntRange(0, 255).Draw(t, "net")
			full := rapid.SampledFrom([][]string{nil, {"node-1"}}).Draw(t, "full")
			owned, owner := map[string]int{}, map[netip.Addr]string{}
			load := func(n string) int { return owned[n] }
			dead := ""
			give := func(i int) {
				s := Seat{Addr: netip.AddrFrom4([4]byte{10, byte(net), byte(i / 250), byte(i % 250)}), Layer2: all, Full: full}
				n := s.Owner(func(n string) bool { return n != dead }, "", load)
				owner[s.Addr] = n
				owned[n]++
			}
			even := func(most, least int) {
				for n, count := range owned {
					if n != dead && (count > most || count < least) {
						t.Fatalf("%s owns %d: %v", n, count, owned)
					}
				}
			}
			for i := range c.addresses {
				give(i)
			}
			even(c.most, c.least)
			dead = "node-0"
			for i := range c.addresses {
				if owner[netip.AddrFrom4([4]byte{10, byte(net), byte(i / 250), byte(i % 250)})] == dead {
					give(i)
				}
			}
			mean := c.addresses / (c.nodes - 1)
			even(mean+mean/5+2, mean-mean/5-2)
		})
	}
}

// Addresses that follow one another are spread evenly though nobody knows the loads,
// because all come at once; and so are those of a node that dies.
func TestAlwaysDealsOutEvenly(t *testing.T) {
	for nodes := 2; nodes <= 12; nodes++ {
		var all []Candidate
		for i := range nodes {
			all = append(all, Candidate{Node: fmt.Sprint("node-", i)})
		}
		for _, base := range []string{"10.0.0.7", "2001:db8::9:1"} {
			first, heirs := map[string]int{}, map[string]int{}
			addr := netip.MustParseAddr(base)
			for range 60 * nodes {
				s := Seat{Addr: addr, Layer2: all}
				owner := s.Owner(func(string) bool { return true }, "", nil)
				first[owner]++
				if owner == "node-0" {
					heirs[s.Owner(func(n string) bool { return n != owner }, "", nil)]++
				}
				addr = addr.Next()
			}
			for n, count := range first {
				if count != 60 {
					t.Errorf("%d nodes: %s owns %d of %d", nodes, n, count, 60*nodes)
				}
			}
			even := 60 / (nodes - 1)
			for n, count := range heirs {
				if count < even-1 || count > even+2 {
					t.Errorf("%d nodes: %s inherits %d of 60", nodes, n, count)
				}
			}
		}
	}
}
