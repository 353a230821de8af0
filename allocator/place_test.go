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
		owner, heir := seat.Owner(alive, present)
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
		if again, _ := seat.Owner(alive, owner); again != owner {
			t.Fatalf("%s does not keep what it is given: %s", owner, again)
		}
		for _, third := range seat.Layer2 { // who is neither does not matter
			if third.Node != owner && third.Node != heir {
				o, h := seat.Owner(func(n string) bool { return living[n] && n != third.Node }, present)
				if o != owner || h != heir {
					t.Fatalf("without %s: %s, %s instead of %s, %s", third.Node, o, h, owner, heir)
				}
			}
		}
		living[owner] = false
		if next, _ := seat.Owner(alive, present); next != heir {
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
		owner, _ := Seat{Addr: a, Layer2: nodes}.Owner(everybody, "")
		owned[owner]++
		if owner, _ := (Seat{Addr: a, Layer2: nodes, Full: []string{"node-3"}}).Owner(everybody, ""); owner != "node-3" {
			t.Fatalf("%s: %s owns it, and node-3 has all endpoints", a, owner)
		}
		if owner, _ := (Seat{Addr: a, Layer2: nodes, Full: []string{"node-3"}}).Owner(everybody, "node-1"); owner != "node-1" {
			t.Fatalf("%s: taken from node-1, which could go on", a)
		}
	}
	for n, count := range owned {
		if count < 150 || count > 250 {
			t.Errorf("%s owns %d of 1000 addresses, 200 would be even", n, count)
		}
	}
}
