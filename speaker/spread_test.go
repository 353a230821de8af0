package speaker

import "testing"

// Addresses are spread evenly when they come, when their owner dies, and, if that
// is wanted, when a node comes back; and none of them is ever without an owner that
// had one.
func TestAlwaysSpreadOverNodes(t *testing.T) {
	t.Run("sticky", func(t *testing.T) { spreads(t, false) })
	t.Run("rebalanced", func(t *testing.T) { spreads(t, true) })
}

func spreads(t *testing.T, rebalance bool) {
	b := newTestbed(t, 3)
	b.times.Rebalance = rebalance
	p := seats(30, "n1", "n2", "n3")
	n1, n2, n3 := b.start("n1", "k", p), b.start("n2", "k", p), b.start("n3", "k", p)
	b.inSight(2, n1, n2, n3)
	b.oneOwnerEach(p)
	b.evenly(p, 3)
	b.told(p, n1, n2)
	n3.kill()
	<-n3.done
	b.inSight(1, n1, n2)
	b.oneOwnerEach(p)
	b.evenly(p, 2)

	n3 = b.start("n3", "k", p)
	b.inSight(2, n1, n2, n3)
	if !rebalance {
		b.oneOwnerEach(p)
		if n := b.owned(p)["n3"]; n > 0 {
			t.Errorf("a node that came back took %d addresses", n)
		}
		return
	}
	b.eventually("the node that came back has its share", func() bool {
		for _, s := range p.Seats {
			if len(b.seg.holders(s.Addr)) == 0 {
				t.Errorf("%s has no owner", s.Addr)
			}
		}
		return b.owned(p)["n3"] >= 8
	})
	b.oneOwnerEach(p)
	b.evenly(p, 3)
}
