package speaker

import (
	"testing"
	"time"
)

// Histories that went wrong once, each with many seeds.

// One side of a divided gossip has n2 and n3. n2's daemon comes back there, and so
// has never heard of n1 and n4. When n3 dies, one of those takes an address that all
// may answer for. That is no sign of n3's life: n2 takes what only it can.
func TestAlwaysTakenThoughStrangersTookTheRest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		cl := newCluster(seed, 4)
		ch := watch(cl, bounds{dark: 5 * time.Second, first: 4500 * ms, double: time.Hour})
		cl.put(cl.seatOf(vips[0], true, []string{"n2"}, nil))
		cl.put(cl.seatOf(vips[1], false, cl.names, nil))
		cl.put(cl.seatOf(vips[2], true, []string{"n2", "n3"}, nil))
		for _, n := range cl.names {
			cl.after(cl.between(0, time.Second), func() { cl.start(n) })
		}
		cl.run(6 * time.Second)
		cl.gossipParts["n2"], cl.gossipParts["n3"] = 1, 1
		cl.relink()
		cl.run(8 * time.Second)
		cl.stop("n2", false)
		cl.run(time.Second)
		cl.start("n2")
		cl.run(7 * time.Second)
		ch.dark = 1500 * ms
		cl.powerOff("n3")
		cl.run(repeat)
		ch.one(cl)
		judge(t, cl, ch)
	}
}
