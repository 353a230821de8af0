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
		case 5:
			cl.run(2 * time.Second)
			cl.alarm(rapid.SampledFrom(cl.names).Draw(t, "alarmed"), rapid.SampledFrom(cl.names).Draw(t, "about"))
			cl.run(4 * time.Second) // who leaves meanwhile has two heirs for a moment
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

func judge(t interface{ Fatalf(string, ...any) }, cl *cluster, ch *checker) {
	if ch.found != "" {
		t.Fatalf("%s\n%s", ch.found, strings.Join(cl.log, "\n"))
	}
}

// Invariants 1, 2, 3 and 4: edits, endpoints that come and go, rolling
// restarts, false alarms, datagrams lost.
func TestNeverSilentWhenPlanned(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cl := begin(t)
		ch := watch(cl, sound)
		cl.boot(t)
		planned(t, cl, 8, false)
		judge(t, cl, ch)
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
		judge(t, cl, ch)
	})
}

// Invariants 5 and 6: whatever fails, somebody answers soon, and only one.
func TestAlwaysOneOwnerAfterFailures(t *testing.T) {
	t.Parallel()
	// Gossip takes up to a second to miss a daemon; where the kernel lives, so that
	// nothing is lost, the segment is asked for another one; and a daemon that has
	// come back meanwhile may have to be waited for.
	failures(t, []calamity{edited, killed, powered, cabled, unfitted, wireSplit, healed}, bounds{dark: 2*time.Second + gaze + 2*hush, first: 4500 * ms, double: time.Hour})
}

// A node that loses its power or its cable is missed as long as its echoes are, at
// most 260 ms in a simulation, and the time that it takes to ask the segment; or,
// where who is due has just died too or come up, until that one is passed over.
func TestAlwaysSoonAfterADeath(t *testing.T) {
	t.Parallel()
	failures(t, []calamity{powered, cabled, unfitted, healed}, bounds{dark: 260*ms + gaze + 2*hush, first: 4500 * ms, double: time.Hour})
}

// Where gossip fails in parts and the wire does not, the wire decides. A node
// that gave way may be the next to be needed: then it takes until the truce ends.
func TestAlwaysOneOwnerWithoutGossip(t *testing.T) {
	t.Parallel()
	failures(t, []calamity{edited, killed, powered, cabled, gossipSplit, healed}, bounds{dark: 15 * time.Second, first: 15 * time.Second, double: time.Hour})
}

// A calamity is what may break, or come back.
type calamity int

const (
	edited calamity = iota
	killed
	powered  // off, or on again
	cabled   // pulled, or plugged again
	unfitted // the interface of the addresses goes while gossip lives, or comes back
	gossipSplit
	wireSplit
	healed
)

func failures(t *testing.T, kinds []calamity, b bounds) {
	gossip := slices.Contains(kinds, gossipSplit)
	rapid.Check(t, func(t *rapid.T) {
		cl := begin(t)
		ch := watch(cl, b)
		cl.boot(t)
		for range 6 {
			cl.calamity(t, rapid.SampledFrom(kinds).Draw(t, "calamity"))
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
		judge(t, cl, ch)
	})
}

// calamity lets something break, or come back.
func (cl *cluster) calamity(t *rapid.T, kind calamity) {
	name := rapid.SampledFrom(cl.names).Draw(t, "node")
	n := cl.nodes[name]
	switch kind {
	case edited:
		cl.edit(t, rapid.SampledFrom(vips).Draw(t, "address"), true)
	case killed:
		if n.core != nil {
			cl.stop(name, false)
			cl.after(cl.between(10*ms, 3*time.Second), func() {
				if n.power && n.core == nil {
					cl.start(name)
				}
			})
		}
	case powered:
		if n.power {
			cl.powerOff(name)
		} else {
			cl.powerOn(name)
		}
	case cabled:
		n.cable = !n.cable
		cl.say("%s: cable %v", name, n.cable)
		cl.relink()
		if n.cable {
			cl.announceAll(n)
		}
	case unfitted:
		cl.setNIC(n, !n.nic)
	case gossipSplit:
		cl.divide(t, cl.gossipParts, "gossip")
	case wireSplit:
		cl.divide(t, cl.parts, "wire")
	case healed:
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
		if !n.nic {
			cl.setNIC(n, true)
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
		{"no confirmation", wrong{unconfirmed: true}, "without a cause"},
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
	judge(t, cl, ch)
}

// scenario flips two addresses to Local and back, moves a pod, has false alarms,
// and restarts the daemons one after the other.
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
	for _, a := range cl.names {
		for _, b := range cl.names {
			if a != b {
				cl.alarm(a, b)
				cl.run(8 * time.Second)
			}
		}
	}
	for _, n := range cl.names {
		cl.stop(n, true)
		cl.run(5 * time.Second)
		cl.start(n)
		cl.run(8 * time.Second)
	}
}
