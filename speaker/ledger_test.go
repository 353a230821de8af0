package speaker

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func FuzzParseMessage(f *testing.F) {
	now := epoch
	f.Add(appendMessage(nil, message{kind: kindAsk, node: "n1", life: 7}, now))
	f.Add(appendMessage(nil, message{kind: kindFull, node: "n1", life: 7, from: 3, to: 4, standing: standing{ready: true, looking: true}, entries: []entry{
		{addr: vips[0], claim: claim{epoch: stride, basis: now.Add(-time.Hour), yielding: true}}, {addr: vips[2], gone: true},
	}}, now))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b, now)
		if err != nil {
			return
		}
		again, err := parseMessage(appendMessage(nil, m, now), now)
		if err != nil {
			t.Fatalf("%+v can not be read again: %v", m, err)
		}
		if len(again.entries) != len(m.entries) || again.node != m.node || again.to != m.to {
			t.Fatalf("%+v became %+v", m, again)
		}
		newLedger("me", 1).receive(now, m) // must not panic
	})
}

// Whatever is lost, doubled or reordered: one whole account later, a copy is
// equal to the original, and a digest tells whenever it is not.
func TestAlwaysTheSameAccountInTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := epoch
		own, copied := newLedger("a", 1), newLedger("b", 1)
		var sent []message
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			addr := rapid.SampledFrom(vips).Draw(t, "address")
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				own.put(addr, claim{epoch: nextEpoch(own.top[addr], rapid.Bool().Draw(t, "majority")), basis: now})
			case 2:
				own.withdraw(addr, false)
			case 3:
				own.stand(standing{ready: rapid.Bool().Draw(t, "ready"), leaving: rapid.Bool().Draw(t, "leaving")})
			case 4:
				if _, claimed := own.own.claims[addr]; !claimed {
					own.refuse(addr, rapid.Bool().Draw(t, "unfit"))
				}
			case 5:
				if len(sent) > 0 {
					copied.receive(now, rapid.SampledFrom(sent).Draw(t, "late or doubled"))
				}
			}
			for _, m := range own.flush() {
				sent = append(sent, m)
				if rapid.IntRange(0, 2).Draw(t, "lost") > 0 {
					copied.receive(now, m)
				}
			}
		}
		now = now.Add(time.Second)
		copied.receive(now, own.header(kindDigest))
		a := copied.peers["a"]
		if a.whole && !a.gap && (!sameClaims(own.own.claims, a.claims) || !maps.Equal(own.own.unfit, a.unfit)) {
			t.Fatalf("copy has %v, original %v, and nobody notices", a.claims, own.own.claims)
		}
		copied.receive(now, own.full())
		a = copied.peers["a"]
		if !sameClaims(own.own.claims, a.claims) || !maps.Equal(own.own.unfit, a.unfit) || a.standing != own.own.standing || a.gap {
			t.Fatalf("copy is %+v, original %+v", a, own.own)
		}
		byAddr := map[netip.Addr]claim{}
		for addr, list := range copied.byAddr {
			if len(list) != 1 {
				t.Fatalf("%s has %v", addr, list)
			}
			byAddr[addr] = list[0]
		}
		if !sameClaims(own.own.claims, byAddr) {
			t.Fatalf("by address %v, original %v", byAddr, own.own.claims)
		}
	})
}

func sameClaims(a, b map[netip.Addr]claim) bool {
	return maps.EqualFunc(a, b, func(x, y claim) bool { return x.epoch == y.epoch && x.yielding == y.yielding })
}

// What the larger part of a divided cluster decided is newer, however often the
// smaller part changed its mind.
func TestAlwaysMajorityIsNewer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Uint64Range(0, 1<<50).Draw(t, "base")
		small := base
		for range rapid.IntRange(1, 1000).Draw(t, "changes") {
			small = nextEpoch(small, false)
		}
		large := nextEpoch(base, true)
		if base%stride < stride-1000 && large <= small {
			t.Fatalf("majority has %d, minority %d", large, small)
		}
		if small <= base || large <= base {
			t.Fatalf("epoch went from %d to %d and %d", base, small, large)
		}
	})
}

// A daemon that was restarted after its node's clock had been set back is believed:
// its whole account comes first, whatever its number.
func TestClockSetBack(t *testing.T) {
	now := epoch
	before, after, l := newLedger("a", 2000), newLedger("a", 1000), newLedger("b", 1)
	before.put(vips[0], claim{epoch: stride, basis: now})
	l.receive(now, before.flush()[0])
	after.stand(standing{ready: true})
	after.flush()
	l.receive(now, after.full())
	if len(l.byAddr[vips[0]]) > 0 {
		t.Error("claims of the former daemon are left")
	}
	after.put(vips[1], claim{epoch: stride, basis: now.Add(-time.Hour)})
	for _, m := range after.flush() {
		l.receive(now, m)
	}
	if len(l.byAddr[vips[1]]) != 1 {
		t.Error("a daemon is not believed after its clock was set back")
	}
}
