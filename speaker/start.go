package speaker

import (
	"time"
)

// settle ends the first look around when every peer is in sight, has told its
// claims and can announce, and when time is up. When a majority has told its
// claims for a while, this node is sure enough to announce what it is the first
// for: nobody answers, and no peer that may still come would be asked before it.
func (c *core) settle(now time.Time) {
	if c.settled || c.started.IsZero() {
		return
	}
	passed := now.Sub(c.started)
	if passed >= c.times.Start || c.peers != nil && c.complete() {
		c.settled, c.glanced = true, true
		c.all()
	}
	if !c.glanced && passed >= c.times.Start/4 && len(c.peers) > 0 && c.majority() && c.synced() {
		c.glanced = true
		c.all()
	}
}

// glance is when a look around may end next; zero if it is over or has not begun.
func (c *core) glance(now time.Time) time.Time {
	if c.started.IsZero() || c.settled {
		return time.Time{}
	}
	if at := c.started.Add(c.times.Start / 4); now.Before(at) {
		return at
	}
	return c.started.Add(c.times.Start)
}

// synced tells whether every member in sight has told its claims and can
// announce.
func (c *core) synced() bool {
	for n := range c.members {
		if a := c.ledger.peers[n]; a == nil || !a.whole || !a.ready {
			return false
		}
	}
	return true
}

// complete tells whether every node that there should be is in sight, has told
// its claims and can announce.
func (c *core) complete() bool {
	for n := range c.peers {
		if !c.alive(n) {
			return false
		}
	}
	return c.synced()
}

// majority tells whether more than half of the nodes that there should be are
// in sight, and talk. A node that knows of no others is a majority.
func (c *core) majority() bool {
	seen := 1
	for n := range c.peers {
		if q := c.inquests[n]; c.members[n] && (q == nil || q.verdict == suspected) {
			seen++
		}
	}
	return 2*seen > len(c.peers)+1
}
