package speaker

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
)

var both = layer2.Usability{Unnamed: true, IPv6: true}

// An advertisement that names an interface which this node does not have is told,
// once, with the Services that are not announced for it; and the address is
// announced when the interface comes.
func TestAnInterfaceThatIsNotThereIsTold(t *testing.T) {
	addr, name := netip.MustParseAddr("192.0.2.1"), allocator.ServiceName{Namespace: "default", Name: "a"}
	now := time.UnixMilli(0)
	c := newCore("n1", 1, Times{})
	c.know([]string{"n1"})
	c.place(now, allocator.Placement{Seats: []allocator.Seat{{
		Addr: addr, Services: []allocator.ServiceName{name},
		Layer2: []allocator.Candidate{{Node: "n1", Interfaces: []string{"eth7"}}},
	}}})
	var told []note
	run := func(after time.Duration, on bool) {
		now = now.Add(after)
		usable := map[string]layer2.Usability{"eth0": both}
		if on {
			usable["eth7"] = both
		}
		c.interfaces(now, usable)
		c.reach(now, map[netip.Addr]bool{addr: on})
		told = append(told, c.decide(now).notes...)
	}
	for range 10 {
		run(time.Second, false)
	}
	if len(told) != 1 || told[0].kind != Stranded || !slices.Equal(told[0].services, []allocator.ServiceName{name}) || !slices.Equal(told[0].interfaces, []string{"eth7"}) {
		t.Fatalf("told %+v", told)
	}
	told = nil
	for range 3 { // asks the segment, takes it, is heard
		run(time.Second, true)
	}
	if len(told) != 1 || told[0].kind != Announced {
		t.Errorf("told %+v", told)
	}
}

// When the advertisements name interfaces that this node does not have, it goes on
// where it was until another node answers; or for good, if there is none. A node
// that is due and has none says so, and is not waited for.
func TestGoesOnWhereItWasUntilAnotherAnswers(t *testing.T) {
	b := newBench("n2")
	b.interfaces(b.now, map[string]layer2.Usability{"eth0": both})
	b.joined("n2")
	b.hears("n2")
	b.place(b.now, seatFor(used, "n1", "n2"))
	b.turn(time.Second)
	b.announced(b.now, used)
	b.turn(5 * time.Second)
	next := seatFor(used, "n1", "n2")
	for i := range next.Seats[0].Layer2 {
		next.Seats[0].Layer2[i].Interfaces = []string{"eth1"}
	}
	b.place(b.now, next)
	b.turn(ms)
	own := b.ledger.own.claims[used]
	if b.held[used] == nil || !own.yielding || len(b.entries()[0].Interfaces) != 0 {
		t.Fatalf("holds %v, claim %+v", b.held[used], own)
	}
	b.hearsAt(own.epoch+stride, "n2", used)
	b.turn(ms)
	if b.held[used] != nil {
		t.Error("goes on although another node answers")
	}
	b.left("n2")
	b.turn(ms)
	if b.held[used] != nil || !b.ledger.own.unfit[used] {
		t.Error("takes what it has no interface for, or does not say that it can not")
	}
	b.interfaces(b.now, map[string]layer2.Usability{"eth0": both, "eth1": {IPv6: true}})
	b.turn(gaze + uncertain)
	if b.held[used] == nil || b.ledger.own.unfit[used] {
		t.Error("does not take it although the interface has come")
	}
}

// A node that says that it has no interface is not waited for.
func TestWhoCannotIsNotWaitedFor(t *testing.T) {
	b := newBench("n2")
	b.interfaces(b.now, map[string]layer2.Usability{"eth0": both})
	b.joined("n2")
	b.hears("n2", used)
	b.place(b.now, seatFor(used, "n1", "n2"))
	b.turn(5 * time.Second)
	m := message{kind: kindDelta, node: "n2", life: 1, from: 1, to: 2, standing: standing{ready: true},
		entries: []entry{{addr: used, gone: true, dark: true, unfit: true}}}
	parsed, err := parseMessage(appendMessage(nil, m, b.now), b.now)
	if err != nil {
		t.Fatal(err)
	}
	b.receive(b.now, parsed)
	b.turn(0)
	if b.held[used] == nil {
		t.Error("waits for a node that said that it can not")
	}
}

// Where no node has an interface, one of them tells.
func TestOneTellsThatNobodyCan(t *testing.T) {
	told := 0
	for _, node := range []string{"n1", "n2"} {
		b := newBench("n1", "n2")
		b.node, b.ledger.own.node = node, node
		other := map[string]string{"n1": "n2", "n2": "n1"}[node]
		b.know([]string{"n1", "n2"})
		b.interfaces(b.now, map[string]layer2.Usability{})
		b.joined(other)
		m := message{kind: kindFull, node: other, life: 1, to: 1, standing: standing{ready: true},
			entries: []entry{{addr: used, gone: true, unfit: true}}}
		b.receive(b.now, m)
		b.place(b.now, seatFor(used, "n1", "n2"))
		b.turn(time.Minute)
		for _, kind := range b.kinds() {
			if kind == Stranded {
				told++
			}
		}
	}
	if told != 1 {
		t.Errorf("%d tell", told)
	}
}

// Who answers follows the interfaces that the advertisements name, where it has them.
func TestFollowsTheInterfaces(t *testing.T) {
	b := newBench()
	b.interfaces(b.now, map[string]layer2.Usability{"eth0": both, "eth1": both})
	b.place(b.now, seatFor(used, "n1"))
	b.turn(time.Second)
	b.announced(b.now, used)
	b.decide(b.now)
	for _, name := range []string{"eth1", "eth0"} {
		next := seatFor(used, "n1")
		next.Seats[0].Layer2[0].Interfaces = []string{name}
		b.place(b.now, next)
		if o := b.decide(b.now); !o.set || !slices.Equal(b.entries()[0].Interfaces, []string{name}) {
			t.Errorf("%s: told layer2: %v, %v", name, o.set, b.entries())
		}
		if o := b.decide(b.now); o.set {
			t.Error("layer2 is told again")
		}
	}
}
