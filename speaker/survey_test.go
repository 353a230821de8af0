package speaker

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// bench is one core, with a clock that tests move.
type bench struct {
	*core
	now   time.Time
	notes []note
	probe []netip.Addr
}

func newBench(peers ...string) *bench {
	b := &bench{core: newCore("n1", 1, Times{}), now: epoch}
	b.know(append([]string{"n1"}, peers...))
	return b
}

// turn lets time pass and the core decide whenever it wants to.
func (b *bench) turn(d time.Duration) {
	end := b.now.Add(d)
	for {
		o := b.decide(b.now)
		b.notes = append(b.notes, o.notes...)
		for _, e := range o.probe {
			b.probe = append(b.probe, e.Addr)
		}
		if o.wake.IsZero() || o.wake.After(end) {
			b.now = end
			return
		}
		b.now = o.wake
	}
}

// hears is what another node says.
func (b *bench) hears(node string, addrs ...netip.Addr) { b.hearsAt(stride, node, addrs...) }

// hearsAt is the same with an epoch.
func (b *bench) hearsAt(epoch uint64, node string, addrs ...netip.Addr) {
	m := message{kind: kindFull, node: node, life: 1, from: 1, to: 1, standing: standing{ready: true}}
	for _, a := range addrs {
		m.entries = append(m.entries, entry{addr: a, claim: claim{epoch: epoch, basis: b.now}})
	}
	b.receive(b.now, m)
}

func (b *bench) kinds() (all []Change) {
	for _, n := range b.notes {
		all = append(all, n.kind)
	}
	b.notes = nil
	return all
}

var used = netip.MustParseAddr("192.0.2.9")

func seatFor(addr netip.Addr, nodes ...string) allocator.Placement {
	s := allocator.Seat{Addr: addr, Services: []allocator.ServiceName{{Namespace: "default", Name: "a"}}, Dwell: true}
	for _, n := range nodes {
		s.Layer2 = append(s.Layer2, allocator.Candidate{Node: n})
	}
	return allocator.Placement{Seats: []allocator.Seat{s}}
}

// An address that a machine answers for is not announced, which is told once; and
// it is announced when the machine is gone.
func TestNeverTakesWhatAMachineUses(t *testing.T) {
	b := newBench()
	b.place(b.now, seatFor(used, "n1"))
	b.turn(10 * ms)
	if !slices.Equal(b.probe, []netip.Addr{used}) || len(b.held) > 0 {
		t.Fatalf("asked for %v, holds %d before an answer could come", b.probe, len(b.held))
	}
	for range 3 {
		b.heard(b.now, used, "eth0", "02:00:00:00:00:99")
		b.turn(hush)
		b.turn(askUsed)
	}
	b.heard(b.now, used, "eth0", "02:00:00:00:00:99")
	b.turn(hush)
	if got := b.kinds(); !slices.Equal(got, []Change{Used}) || len(b.held) > 0 {
		t.Fatalf("noted %v, holds %d", got, len(b.held))
	}
	if len(b.probe) != 4 {
		t.Errorf("asked %d times in 30 s", len(b.probe))
	}
	b.turn(2 * askUsed)
	if b.held[used] == nil {
		t.Error("not announced though the machine is gone")
	}
	free := netip.MustParseAddr("192.0.2.10")
	b.times.TakeUsed = true
	b.place(b.now, seatFor(free, "n1"))
	b.turn(0)
	if b.held[free] == nil {
		t.Error("asks although it need not")
	}
}

// A node that answers for an address whose claim has not come yet is no foreign
// machine: the claim is waited for, but not for ever.
func TestWaitsForTheClaimOfANode(t *testing.T) {
	b := newBench("n2")
	b.joined("n2")
	b.stations("n2", []string{"02:00:00:00:00:02"})
	b.hears("n2")
	b.place(b.now, seatFor(used, "n1", "n2"))
	for b.held[used] == nil && b.now.Sub(epoch) < 10*time.Second {
		b.heard(b.now, used, "eth0", "02:00:00:00:00:02")
		b.turn(20 * ms)
	}
	if waited := b.now.Sub(epoch); waited < uncertain || waited > uncertain+gaze+askSoon+2*hush {
		t.Errorf("waited for %s", waited)
	}
	if got := b.kinds(); slices.Contains(got, Used) {
		t.Errorf("noted %v", got)
	}
}

// A node that answers nobody keeps its addresses as long as it answers for them;
// what it held is taken as soon as it does not.
func TestAlwaysAsksTheSegmentFirst(t *testing.T) {
	for _, answers := range []int{0, 1, 4} {
		b := newBench("n2")
		b.joined("n2")
		b.stations("n2", []string{"02:00:00:00:00:02"})
		b.hears("n2", used)
		b.place(b.now, seatFor(used, "n1", "n2"))
		b.turn(5 * time.Second)
		b.notes, b.probe = nil, nil

		died := b.now
		b.suspect(b.now, "n2")
		b.turn(ms)
		if !slices.Equal(b.probe, []netip.Addr{used}) {
			t.Fatalf("asked for %v", b.probe)
		}
		for i := range answers {
			b.heard(b.now, used, "eth0", "02:00:00:00:00:02")
			b.heard(b.now, used, "eth0", "02:00:00:00:00:99") // somebody else's word is none
			b.turn(100 * ms)
			if i == 0 {
				b.lost(b.now, "n2", dead)
			}
			if b.held[used] != nil {
				t.Fatalf("taken after %s, though the owner answers", b.now.Sub(died))
			}
			if i > 0 {
				b.turn(askDead - 100*ms)
			}
		}
		if answers == 0 {
			b.turn(100 * ms)
			b.lost(b.now, "n2", dead)
			b.turn(0)
		} else {
			b.turn(askDead + hush)
		}
		if b.held[used] == nil {
			t.Errorf("not taken %s after it died, and %d answers", b.now.Sub(died), answers)
		}
		told := slices.Contains(b.kinds(), Unheard)
		if told != (answers > 1) {
			t.Errorf("%d answers: told that it keeps its addresses: %v", answers, told)
		}
	}
}

// A station of which this node knows nothing has taken one address of a node that
// died. The dead does not live on by that: this node takes the others, at once; and
// that one when nobody answers for it any more.
func TestWhatAStrangerTookSpeaksForNothingElse(t *testing.T) {
	other := netip.MustParseAddr("192.0.2.10")
	for _, v := range []verdict{mute, dead} {
		b := newBench("n2", "n3")
		b.joined("n2")
		b.stations("n2", []string{"02:00:00:00:00:02"})
		b.hears("n2", used, other)
		b.place(b.now, seatFor(used, "n1", "n2", "n3"))
		b.place(b.now, seatFor(other, "n1", "n2"))
		b.turn(5 * time.Second)
		b.lost(b.now, "n2", v)
		died := b.now
		for b.now.Sub(died) < 5*time.Second {
			b.heard(b.now, used, "eth0", "02:00:00:00:00:03")
			b.turn(10 * ms)
			if b.held[used] != nil {
				t.Fatalf("verdict %d: taken although another station answers", v)
			}
			if b.held[other] == nil && b.now.Sub(died) > 2*v.bound()+20*ms {
				t.Fatalf("verdict %d: the other address is not taken after %s", v, b.now.Sub(died))
			}
		}
		b.turn(askSoon + sure + askAgain)
		if b.held[used] == nil {
			t.Errorf("verdict %d: not taken although nobody answers any more", v)
		}
	}
}

// A node that comes back in time is asked for no more.
func TestInquestEnds(t *testing.T) {
	b := newBench("n2")
	b.joined("n2")
	b.stations("n2", []string{"02:00:00:00:00:02"})
	b.hears("n2", used)
	b.place(b.now, seatFor(used, "n1", "n2"))
	b.turn(5 * time.Second)
	b.lost(b.now, "n2", dead)
	b.turn(hush / 2)
	b.joined("n2")
	b.turn(5 * time.Second)
	if b.held[used] != nil || len(b.inquests) > 0 {
		t.Error("taken from a node that is back")
	}
	for _, answered := range []bool{false, true} { // suspicions that come to nothing
		b.suspect(b.now, "n2")
		b.turn(ms)
		b.probe = nil
		if answered {
			b.heard(b.now, used, "eth0", "02:00:00:00:00:02")
		}
		b.turn(5 * time.Second)
		if len(b.inquests) > 0 || b.held[used] != nil {
			t.Errorf("answered %v: the suspicion stays", answered)
		}
		if most := int(uncertain / askAgain); len(b.probe) > most || answered && len(b.probe) > 0 {
			t.Errorf("answered %v: asked %d times more", answered, len(b.probe))
		}
	}
}

// A node that was given up and speaks was given up in error: what it claims counts,
// and the segment is not fought over. If nothing else of it is found to answer, the
// segment is asked, and it is given up for good.
func TestWhoSpeaksIsInSight(t *testing.T) {
	b := newBench("n2")
	b.joined("n2")
	b.hears("n2")
	b.place(b.now, seatFor(used, "n1", "n2"))
	b.turn(gaze + 3*time.Second)
	b.announced(b.now, used)
	b.turn(time.Second)
	if b.held[used] == nil {
		t.Fatal("the first in the rank does not answer")
	}
	b.lost(b.now, "n2", dead)
	b.turn(time.Second)
	b.hearsAt(4*stride, "n2", used)
	b.heard(b.now, used, "eth0", "02:00:00:00:00:02")
	b.turn(100 * ms)
	if b.held[used] != nil || slices.Contains(b.kinds(), Contested) {
		t.Error("a newer claim of a node that speaks is fought")
	}
	b.turn(hearsay + sure + 2*askAgain)
	if b.held[used] == nil || b.members["n2"] {
		t.Error("a node that spoke once is in sight for ever")
	}
	goodbye := message{kind: kindDelta, node: "n2", life: 1, from: 1, to: 2, standing: standing{ready: true, leaving: true}}
	b.receive(b.now, goodbye)
	if b.members["n2"] {
		t.Error("a node that says goodbye is called back")
	}
}
