package speaker

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// field is where a vigil is tried: nodes that answer or not, packets that get
// lost, and a driver that is late at times.
type field struct {
	rand  *rand.Rand
	now   time.Time
	vigil *vigil
	nodes map[string]netip.Addr

	dead     map[string]bool // no kernel
	filtered map[string]bool // a firewall drops echoes
	loss     float64         // of packets, each way
	late     time.Duration   // how late the driver is at most

	echoes map[time.Time][]netip.Addr // on their way back
	shakes map[time.Time][]string
	asked  int
	gone   []string
	took   []time.Duration
	told   []string
}

func newField(seed uint64, nodes int) *field {
	f := &field{
		rand: rand.New(rand.NewPCG(seed, 2)), now: epoch, vigil: newVigil(Echo{}.orDefault()), nodes: map[string]netip.Addr{},
		dead: map[string]bool{}, filtered: map[string]bool{}, echoes: map[time.Time][]netip.Addr{}, shakes: map[time.Time][]string{},
	}
	for i := range nodes {
		f.nodes[fmt.Sprint("n", i+1)] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
	}
	f.vigil.watch(f.nodes)
	return f
}

// run drives the vigil as a lookout does.
func (f *field) run(d time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); {
		for at, from := range f.echoes {
			if !at.After(f.now) {
				delete(f.echoes, at)
				for _, addr := range from {
					f.vigil.echoed(addr)
				}
			}
		}
		for at, nodes := range f.shakes {
			if !at.After(f.now) {
				delete(f.shakes, at)
				for _, node := range nodes {
					f.vigil.shaken(node)
				}
			}
		}
		o := f.vigil.tick(f.now)
		f.obey(o)
		next := f.now.Add(time.Second)
		if !o.next.IsZero() && o.next.Before(next) {
			next = o.next
		}
		f.now = next
		if f.late > 0 && f.rand.IntN(20) == 0 {
			f.now = f.now.Add(time.Duration(f.rand.Int64N(int64(f.late))))
		}
	}
}

func (f *field) obey(o watching) {
	f.asked += len(o.ask)
	for node, addr := range f.nodes {
		if slices.Contains(o.ask, addr) && !f.dead[node] && !f.filtered[node] && f.rand.Float64() >= f.loss && f.rand.Float64() >= f.loss {
			at := f.now.Add(time.Duration(f.rand.Int64N(int64(2 * ms))))
			f.echoes[at] = append(f.echoes[at], addr)
		}
		// Three handshakes, of which each takes four packets.
		if slices.Contains(o.shake, node) && !f.dead[node] && f.rand.Float64() >= f.loss*f.loss {
			at := f.now.Add(time.Duration(f.rand.Int64N(int64(10 * ms))))
			f.shakes[at] = append(f.shakes[at], node)
		}
	}
	for _, g := range o.gone {
		f.gone, f.took = append(f.gone, g.node), append(f.took, g.silent)
	}
	f.told = append(f.told, o.suspect...)
}

// A node that dies is found dead within the timeout and one interval, however
// many packets are lost; and before that, the others are told.
func TestAlwaysFindsTheDead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newField(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 3).Draw(t, "wards"))
		f.loss = rapid.SampledFrom([]float64{0, 0, 0.05, 0.2}).Draw(t, "loss")
		f.run(time.Second + f.between(50*ms))
		f.gone, f.told = nil, nil
		f.dead["n1"] = true
		e := f.vigil.config
		bound := e.Timeout + e.Interval
		if f.loss > 0 {
			bound += e.Timeout // what was lost before may have disarmed it
		}
		f.run(bound + 15*ms)
		if !slices.Equal(f.gone, []string{"n1"}) {
			t.Fatalf("after %s found dead: %v", bound, f.gone)
		}
		if f.loss == 0 && !slices.Equal(f.told, []string{"n1"}) {
			t.Errorf("told the others of %v", f.told)
		}
	})
}

func (f *field) between(most time.Duration) time.Duration {
	return time.Duration(f.rand.Int64N(int64(most)))
}

// Nobody who lives is found dead: with a fifth of all packets lost both ways, and
// with a driver that is often late by up to a second.
func TestNeverFindsTheLivingDead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newField(rapid.Uint64().Draw(t, "seed"), 3)
		f.loss = rapid.SampledFrom([]float64{0, 0.05, 0.2}).Draw(t, "loss")
		f.late = rapid.SampledFrom([]time.Duration{0, 20 * ms, time.Second}).Draw(t, "late")
		f.run(2 * time.Minute)
		if len(f.gone) > 0 {
			t.Fatalf("found dead: %v after %v", f.gone, f.took)
		}
	})
}

// The test above sees a vigil that believes four unanswered requests.
func TestHastyVigilIsSeen(t *testing.T) {
	wrong := 0
	for seed := range uint64(10) {
		f := newField(seed, 3)
		f.loss = 0.2
		f.vigil.hurry, f.vigil.enough = 1, 4
		f.run(2 * time.Minute)
		wrong += len(f.gone)
	}
	if wrong == 0 {
		t.Error("nobody who lives was found dead")
	}
}

// Where a firewall drops echoes, nothing is concluded: never answered, or not any
// more while a handshake succeeds. And nothing is asked in haste for ever.
func TestNeverJudgesByFilteredEchoes(t *testing.T) {
	f := newField(1, 3)
	f.filtered["n1"] = true
	f.run(5 * time.Second)
	f.filtered["n2"] = true
	f.asked = 0
	f.run(10 * time.Second)
	if len(f.gone) > 0 {
		t.Errorf("found dead: %v", f.gone)
	}
	if steady := 3 * int(10*time.Second/f.vigil.config.Interval); f.asked > steady+100 {
		t.Errorf("%d requests in 10 s, want about %d", f.asked, steady)
	}
	f.filtered["n1"], f.filtered["n2"] = false, false
	f.run(time.Second)
	f.dead["n1"] = true
	f.run(300 * ms)
	if !slices.Equal(f.gone, []string{"n1"}) {
		t.Errorf("found dead: %v", f.gone)
	}
}

// A node that hears nobody any more is the one that is cut off, unless there is
// only one other.
func TestNeverJudgesAlone(t *testing.T) {
	f := newField(1, 3)
	f.run(time.Second)
	for n := range f.nodes {
		f.dead[n] = true
	}
	f.run(10 * time.Second)
	if len(f.gone) > 0 {
		t.Errorf("found dead: %v", f.gone)
	}
	f.dead["n1"], f.dead["n2"] = false, false
	f.run(time.Second)
	if !slices.Equal(f.gone, []string{"n3"}) {
		t.Errorf("with the others back, found dead: %v", f.gone)
	}
}

// Somebody else's suspicion is looked into, and believed only if it is true.
func TestRoused(t *testing.T) {
	f := newField(1, 1)
	for i, node := range []string{"m1", "m2"} {
		f.nodes[node] = netip.AddrFrom4([4]byte{192, 0, 2, byte(101 + i)})
	}
	f.run(time.Second)
	f.dead["m1"] = true
	f.vigil.rouse(f.now, "m1", f.nodes["m1"])
	f.vigil.rouse(f.now, "m2", f.nodes["m2"])
	f.run(f.vigil.config.Timeout + 5*ms)
	if !slices.Equal(f.gone, []string{"m1"}) {
		t.Errorf("found dead: %v", f.gone)
	}
	if f.vigil.wards["m2"] != nil {
		t.Error("goes on asking a node that answered")
	}
	f.dead["m1"] = false
	back := f.vigil.echoed(f.nodes["m1"])
	if !slices.Equal(back, []string{"m1"}) || f.vigil.wards["m1"] != nil {
		t.Errorf("back: %v", back)
	}
}

// However many nodes there are, everybody watches three, and is watched by three.
func TestRingIsFlat(t *testing.T) {
	var nodes []string
	for i := range 1000 {
		nodes = append(nodes, fmt.Sprintf("node-%d", i))
	}
	watchers := map[string]int{}
	neighbours := 0
	for i, n := range nodes {
		for _, w := range ring(n, nodes) {
			watchers[w]++
			if w == n {
				t.Fatal("watches itself")
			}
			if i > 0 && w == nodes[i-1] {
				neighbours++
			}
		}
	}
	for n, k := range watchers {
		if k != wards {
			t.Errorf("%s is watched by %d", n, k)
		}
	}
	if len(watchers) != len(nodes) || neighbours > 20 {
		t.Errorf("%d of %d are watched; %d watch the node beside them", len(watchers), len(nodes), neighbours)
	}
	if got := ring("a", []string{"a", "b"}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("of two: %v", got)
	}
}
