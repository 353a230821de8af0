package controller

import (
	"maps"
	"sync"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// Stats are figures of one copy since it started. Maps are the caller's.
type Stats struct {
	Leads    bool // this copy leads now
	Synced   bool // every kind has been listed
	Services int  // of type LoadBalancer, ours

	// What the leader knows; empty on other copies.
	Pools   map[string]allocator.Use  // addresses held and left, by pool
	Waiting map[allocator.Code]int    // Services that hold nothing, by reason
	Moves   map[allocator.Code]uint64 // addresses taken or left, by what was done and why

	Refused     uint64            // decisions that Check did not let pass
	Writes      map[string]uint64 // answered writes, by resource
	WriteErrors map[string]uint64 // writes that were not answered with success, by resource
	EventsLost  uint64            // Events that were not sent, for there were too many
	Place, Plan Durations
}

// Durations sums up how long something took.
type Durations struct {
	Count  uint64
	Total  time.Duration
	Latest time.Duration
}

func (d *Durations) add(t time.Duration) {
	d.Count++
	d.Total += t
	d.Latest = t
}

// counters are the figures as they are being counted.
type counters struct {
	mu sync.Mutex
	Stats
}

func newCounters() *counters {
	return &counters{Stats: Stats{
		Moves:  map[allocator.Code]uint64{},
		Writes: map[string]uint64{}, WriteErrors: map[string]uint64{},
	}}
}

// count changes the figures.
func (c *counters) count(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.Stats)
}

func (c *counters) wrote(kind string, err error) {
	c.count(func(s *Stats) {
		if err != nil {
			s.WriteErrors[kind]++
			return
		}
		s.Writes[kind]++
	})
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.Stats
	out.Pools, out.Waiting, out.Moves = maps.Clone(out.Pools), maps.Clone(out.Waiting), maps.Clone(out.Moves)
	out.Writes, out.WriteErrors = maps.Clone(out.Writes), maps.Clone(out.WriteErrors)
	return out
}
