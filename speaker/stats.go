package speaker

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/holdfast/layer2"
)

// Stats are counters since New, and gauges.
type Stats struct {
	Seats   int // addresses that some node may announce
	Held    int // addresses that this node answers for
	Claimed int // of those, the ones that have been seen on the wire

	Members int  // other nodes in sight
	Peers   int  // other nodes that there should be
	Alone   bool // no majority of the nodes is in sight
	Settled bool // the first look around is over

	// Changes counts what happened to addresses on this node, by kind and cause.
	Changes map[Moved]uint64
	// HandOvers are, by cause, the durations from being due to the announcement,
	// and, where this node handed over, from another node's being due to that one's.
	HandOvers map[Cause]Histogram
	// Deaths are the times for which nodes had not answered when they were found
	// dead by their echoes.
	Deaths Histogram
	// Decisions are the durations of rounds of decision, with their effect.
	Decisions Histogram

	Malformed  uint64 // messages that made no sense
	SendErrors uint64 // messages that could not be sent

	Layer2 layer2.Stats
}

// Moved is a kind of change and its cause.
type Moved struct {
	Change Change
	Cause  Cause
}

// Bounds are the upper bounds of the buckets of a Histogram.
var Bounds = [...]time.Duration{
	100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
}

// Histogram counts durations. Buckets[i] counts those up to Bounds[i], not
// cumulated; the last bucket counts the longer ones.
type Histogram struct {
	Count   uint64
	Sum     time.Duration
	Buckets [len(Bounds) + 1]uint64
}

func (h *Histogram) observe(d time.Duration) {
	h.Count++
	h.Sum += d
	for i, b := range Bounds {
		if d <= b {
			h.Buckets[i]++
			return
		}
	}
	h.Buckets[len(Bounds)]++
}

// tally keeps the counters.
type tally struct {
	malformed, unsent atomic.Uint64

	mu    sync.Mutex
	stats Stats
}

// decided takes the gauges after a round of decision.
func (t *tally) decided(took time.Duration, c *core) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Decisions.observe(took)
	t.stats.Seats, t.stats.Held, t.stats.Claimed = len(c.seats), len(c.held), len(c.ledger.own.claims)
	t.stats.Members, t.stats.Peers = len(c.members), len(c.peers)
	t.stats.Alone, t.stats.Settled = !c.majority(), c.settled
}

// dead counts a node that was found dead.
func (t *tally) dead(silent time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Deaths.observe(silent)
}

func (t *tally) count(n note) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stats.Changes == nil {
		t.stats.Changes = map[Moved]uint64{}
	}
	t.stats.Changes[Moved{n.kind, n.cause}]++
	if n.kind == Announced || n.kind == Yielded {
		if t.stats.HandOvers == nil {
			t.stats.HandOvers = map[Cause]Histogram{}
		}
		h := t.stats.HandOvers[n.cause]
		h.observe(n.took)
		t.stats.HandOvers[n.cause] = h
	}
}

// Stats returns the counters and gauges.
func (s *Speaker) Stats() Stats {
	s.tally.mu.Lock()
	st := s.tally.stats
	st.Changes, st.HandOvers = maps.Clone(st.Changes), maps.Clone(st.HandOvers)
	s.tally.mu.Unlock()
	st.Malformed, st.SendErrors = s.tally.malformed.Load(), s.tally.unsent.Load()
	st.Layer2 = s.wire.Stats()
	return st
}
