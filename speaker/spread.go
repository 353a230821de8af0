package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
)

const (
	// recent claims are not counted as load: not every node has heard of them, and
	// two that count differently choose differently.
	recent = 2 * time.Second
	// countEvery is the time between two counts; countSoon, if a claim is gone. Two
	// nodes whose counts are of different times may both take an address.
	countEvery = time.Second
	countSoon  = 50 * time.Millisecond
	// rebalanceEvery is the pace at which addresses are moved to nodes with fewer.
	rebalanceEvery = time.Second
)

// count counts how many addresses every node has answered for, for a while.
func (c *core) count(now time.Time) {
	age, same := now.Sub(c.counted), c.ledger.ended == c.countedTo
	if age < countSoon || same && age < countEvery {
		return
	}
	c.counted, c.countedTo = now, c.ledger.ended
	c.loads = map[string]int{}
	for _, s := range c.held {
		if now.Sub(s.held.since) >= recent {
			c.loads[c.node]++
		}
	}
	for node, a := range c.ledger.peers {
		for _, cl := range a.claims {
			if now.Sub(cl.heard) >= recent {
				c.loads[node]++
			}
		}
	}
}

func (c *core) load(node string) int { return c.loads[node] }

// rebalance takes one address from the node that has clearly more than this one,
// which has the fewest, if all is calm; and returns when to look again. The taker
// announces first, and the giver hears it: made before broken.
func (c *core) rebalance(now time.Time) (next time.Time) {
	if !c.times.Rebalance || !c.settled || c.leaving {
		return time.Time{}
	}
	if at := c.rebalanced.Add(rebalanceEvery); now.Before(at) {
		return at
	}
	c.rebalanced = now
	next = now.Add(rebalanceEvery)
	if !c.majority() || len(c.inquests) > 0 || !c.synced() {
		return next
	}
	load := func(node string) int {
		if node == c.node {
			return len(c.held)
		}
		return len(c.ledger.peers[node].claims)
	}
	nodes := []string{c.node}
	for n := range c.members {
		if c.alive(n) {
			nodes = append(nodes, n)
		}
	}
	slices.Sort(nodes)
	byLoad := func(a, b string) int { return load(a) - load(b) }
	most, least := slices.MaxFunc(nodes, byLoad), slices.MinFunc(nodes, byLoad)
	if least != c.node || !allocator.Crowded(load(most), load(c.node)) {
		return next
	}
	for _, addr := range slices.SortedFunc(maps.Keys(c.ledger.peers[most].claims), netip.Addr.Compare) {
		if s := c.seats[addr]; s != nil && s.held == nil && c.equal(now, s, most) {
			v := c.look(s)
			c.announce(now, s, &v)
			s.held.cause = Rebalanced
			break
		}
	}
	return next
}

// equal tells whether this node may answer for an address as well as its owner.
func (c *core) equal(now time.Time, s *seat, owner string) bool {
	mine, may := s.candidate(c.node)
	theirs, might := s.candidate(owner)
	s.serving = s.serves(now, c.ok, c.times.Dwell)
	return may && might && c.fit(s) && mine.Weight == theirs.Weight && s.serving && !s.fight.lost && len(c.ledger.byAddr[s.Addr]) == 1
}
