package speaker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
)

// ---- scenarios

var vips = []netip.Addr{
	netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1"),
}

// seatOf makes a seat with the nodes in the order of the address's rank.
func (cl *cluster) seatOf(addr netip.Addr, local bool, nodes []string, weights map[string]int) allocator.Seat {
	i := slices.Index(vips, addr)
	s := allocator.Seat{Addr: addr, Services: []allocator.ServiceName{{Namespace: "default", Name: fmt.Sprintf("s%d", i)}}}
	if local {
		s.HealthPorts = []uint16{uint16(30000 + i)}
	} else {
		s.Dwell = true
	}
	rank := slices.Concat(cl.names[i%len(cl.names):], cl.names[:i%len(cl.names)])
	for _, n := range rank {
		if slices.Contains(nodes, n) {
			s.Layer2 = append(s.Layer2, allocator.Candidate{Node: n, Weight: weights[n]})
		}
	}
	slices.SortStableFunc(s.Layer2, func(a, b allocator.Candidate) int { return b.Weight - a.Weight })
	return s
}

// edit changes the seat of an address as an operator or a pod would.
func (cl *cluster) edit(t *rapid.T, addr netip.Addr, weights bool) {
	all := rapid.Bool().Draw(t, "cluster policy")
	nodes, w := cl.names, map[string]int{}
	if !all {
		nodes = rapid.SliceOfNDistinct(rapid.SampledFrom(cl.names), 1, -1, rapid.ID).Draw(t, "nodes with pods")
	}
	if weights && rapid.IntRange(0, 3).Draw(t, "preference") == 0 {
		w[rapid.SampledFrom(nodes).Draw(t, "preferred")] = 10
	}
	cl.put(cl.seatOf(addr, !all, nodes, w))
}

func begin(t *rapid.T) *cluster {
	cl := newCluster(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(2, 5).Draw(t, "nodes"))
	cl.loss = rapid.SampledFrom([]float64{0, 0, 0.05, 0.3}).Draw(t, "loss")
	return cl
}

// boot starts every daemon within a second, and lets the dust settle.
func (cl *cluster) boot(t *rapid.T) {
	for _, a := range vips {
		cl.edit(t, a, false)
	}
	for _, n := range cl.names {
		cl.after(cl.between(0, time.Second), func() { cl.start(n) })
	}
	cl.run(6 * time.Second)
}

// planned is everything that an operator may do to a cluster in health.
func planned(t *rapid.T, cl *cluster, steps int, outages bool) {
	for range steps {
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		default:
			cl.edit(t, rapid.SampledFrom(vips).Draw(t, "address"), !outages)
		case 6, 7:
			name := rapid.SampledFrom(cl.names).Draw(t, "node to restart")
			cl.setAPI(name, true) // else it cannot know who is to take over
			cl.run(200 * ms)
			cl.stop(name, true)
			cl.run(cl.between(4200*ms, 5*time.Second))
			cl.start(name)
			cl.run(4 * time.Second)
		case 8, 9:
			if outages {
				some := rapid.SliceOfDistinct(rapid.SampledFrom(cl.names), rapid.ID).Draw(t, "without API")
				for _, n := range cl.names {
					cl.setAPI(n, !slices.Contains(some, n))
				}
			}
		}
		cl.run(rapid.SampledFrom([]time.Duration{20 * ms, 300 * ms, 2 * time.Second, 7 * time.Second}).Draw(t, "pause"))
	}
	for _, n := range cl.names {
		cl.setAPI(n, true)
	}
	cl.run(8 * time.Second)
}

var sound = bounds{dark: ms / 1000, first: 4500 * ms, double: 1200 * ms, serves: true, cause: true, ahead: true}

func verdict(t interface{ Fatalf(string, ...any) }, cl *cluster, ch *checker) {
	if ch.found != "" {
		t.Fatalf("%s\n%s", ch.found, strings.Join(cl.log, "\n"))
	}
}

// Invariants 1, 2, 3 and 4: edits, endpoints that come and go, rolling
// restarts, datagrams lost.
func TestNeverSilentWhenPlanned(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cl := begin(t)
		ch := watch(cl, sound)
		cl.boot(t)
		planned(t, cl, 8, false)
		verdict(t, cl, ch)
	})
}

// Invariant 7: the same while the API server is away for some or all nodes.
func TestNeverSilentWithoutAPI(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cl := begin(t)
		b := sound
		b.cause, b.serves, b.ahead = false, false, false
		ch := watch(cl, b)
		cl.boot(t)
		planned(t, cl, 8, true)
		verdict(t, cl, ch)
	})
}

// Invariants 5 and 6: whatever fails, somebody answers soon, and only one.
func TestAlwaysOneOwnerAfterFailures(t *testing.T) {
	t.Parallel()
	failures(t, false, bounds{dark: 2 * time.Second, first: 4500 * ms, double: time.Hour})
}

// Where gossip fails in parts and the wire does not, the wire decides. A node
// that gave way may be the next to be needed: then it takes until the truce ends.
func TestAlwaysOneOwnerWithoutGossip(t *testing.T) {
	t.Parallel()
	failures(t, true, bounds{dark: 15 * time.Second, first: 15 * time.Second, double: time.Hour})
}

func failures(t *testing.T, gossip bool, b bounds) {
	rapid.Check(t, func(t *rapid.T) {
		cl := begin(t)
		ch := watch(cl, b)
		cl.boot(t)
		for range 6 {
			cl.calamity(t, gossip)
			cl.run(8 * time.Second)
			if !gossip {
				ch.one(cl)
			}
		}
		if gossip { // the next words on the wire settle who stays
			cl.run(repeat + 5*time.Second)
			ch.one(cl)
		}
		cl.heal()
		cl.run(6 * time.Second)
		ch.one(cl)
		verdict(t, cl, ch)
	})
}

// calamity lets something break, or come back.
func (cl *cluster) calamity(t *rapid.T, gossip bool) {
	name := rapid.SampledFrom(cl.names).Draw(t, "node")
	n := cl.nodes[name]
	switch rapid.IntRange(0, 6).Draw(t, "calamity") {
	case 0:
		cl.edit(t, rapid.SampledFrom(vips).Draw(t, "address"), true)
	case 1:
		if n.core != nil {
			cl.stop(name, false)
			cl.after(cl.between(10*ms, 3*time.Second), func() {
				if n.power && n.core == nil {
					cl.start(name)
				}
			})
		}
	case 2:
		if n.power {
			cl.powerOff(name)
		} else {
			cl.powerOn(name)
		}
	case 3:
		n.cable = !n.cable
		cl.say("%s: cable %v", name, n.cable)
		cl.relink()
		if n.cable {
			cl.announceAll(n)
		}
	case 4:
		if gossip {
			cl.divide(t, cl.gossipParts, "gossip")
		}
	case 5:
		if !gossip {
			cl.divide(t, cl.parts, "wire")
		}
	case 6:
		cl.heal()
	}
}

// divide splits the cluster in two.
func (cl *cluster) divide(t *rapid.T, parts map[string]int, what string) {
	for _, n := range cl.names {
		parts[n] = rapid.IntRange(0, 1).Draw(t, "part")
	}
	cl.say("%s divided: %v", what, parts)
	cl.relink()
}

func (cl *cluster) heal() {
	cl.say("all heals")
	clear(cl.parts)
	clear(cl.gossipParts)
	for _, name := range cl.names {
		n := cl.nodes[name]
		if !n.cable {
			n.cable = true
			cl.announceAll(n)
		}
		if !n.power {
			cl.powerOn(name)
		}
	}
	cl.relink()
}

// announceAll is what layer2 does when the carrier comes back.
func (cl *cluster) announceAll(n *machine) {
	for _, addr := range slices.SortedFunc(maps.Keys(n.set), netip.Addr.Compare) {
		cl.burst(n, addr)
	}
}

// The checker sees what wrong implementations do.
func TestWrongHandOverIsSeen(t *testing.T) {
	for _, c := range []struct {
		name  string
		wrong wrong
		want  string
	}{
		{"release before takeover", wrong{releaseFirst: true}, "nobody answers"},
		{"fail back", wrong{failBack: true}, "without a cause"},
		{"widen at once", wrong{wideAtOnce: true}, "does not serve"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster(7, 3)
			ch := watch(cl, sound)
			cl.wrong = c.wrong
			cl.scenario()
			if !strings.Contains(ch.found, c.want) {
				t.Fatalf("the checker found %q, want %q\n%s", ch.found, c.want, strings.Join(cl.log, "\n"))
			}
		})
	}
	cl := newCluster(7, 3)
	ch := watch(cl, sound)
	cl.scenario()
	verdict(t, cl, ch)
}

// scenario flips two addresses to Local and back, moves a pod, and restarts
// the daemons one after the other.
func (cl *cluster) scenario() {
	for _, a := range vips {
		cl.put(cl.seatOf(a, false, cl.names, nil))
	}
	for _, n := range cl.names {
		cl.start(n)
	}
	cl.run(6 * time.Second)
	for i, n := range cl.names {
		cl.put(cl.seatOf(vips[0], true, []string{n}, nil))
		cl.run(8 * time.Second)
		cl.put(cl.seatOf(vips[0], true, []string{cl.names[(i+1)%3]}, nil))
		cl.run(8 * time.Second)
		cl.put(cl.seatOf(vips[0], false, cl.names, nil))
		cl.run(8 * time.Second)
	}
	for _, n := range cl.names {
		cl.stop(n, true)
		cl.run(5 * time.Second)
		cl.start(n)
		cl.run(8 * time.Second)
	}
}
