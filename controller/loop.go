package controller

import (
	"context"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// loop turns what is believed into a snapshot, and has it placed: the announcement
// path of this node. It waits for the API once, until every kind has been listed,
// and never again, and never for what a leader does beside it.
func (c *Controller) loop(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.belief.ready:
	}
	l := &round{c: c, feed: c.belief.subscribe(false)}
	defer l.feed.close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.feed.news:
			l.step()
		}
	}
}

// round is what the loop keeps from one step to the next.
type round struct {
	c        *Controller
	feed     *feed
	snapshot *allocator.Snapshot // its own: who plans has another
	peering  *peering.Plan       // what the snapshot's BGPAdvertisements come from
	sessions []peering.Session   // the last ones told
}

// step takes in what changed and places it.
func (l *round) step() {
	changes, facts := l.feed.take()
	l.peer(&changes)
	placement := l.place(changes, facts)
	if facts != nil || changes.nodes || len(placement.Seats)+len(placement.Gone) > 0 {
		l.c.Placed(placement, l.snapshot.Peers())
	}
	if changes.keys {
		l.c.learnKey()
	}
}

func (l *round) with(facts *allocator.Facts) allocator.Facts {
	facts.Settings, facts.BGP = l.c.Settings, l.peering.Advertisements
	return *facts
}

// place makes the next snapshot and places it.
func (l *round) place(changes changes, facts *allocator.Facts) allocator.Placement {
	began := time.Now()
	if facts != nil {
		l.snapshot = allocator.NewSnapshot(l.with(facts))
	} else if len(changes.facts) > 0 {
		l.snapshot = l.snapshot.With(changes.facts...)
	}
	placement := allocator.Place(l.snapshot)
	l.c.stats.count(func(s *Stats) { s.Place.add(time.Since(began)) })
	return placement
}
