package apitest

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller"
)

// A voice is what a copy's node does, as it is told to its Controller: nothing, until
// the test says something else.
type voice struct {
	mu         sync.Mutex
	node       string
	follows    bool // the node answers for every address for which it is the first that may
	announced  reported
	advertised reported
	sight      map[string]bool // nil: as told last
}

// reported is what is so, and of which Services that was not told yet.
type reported struct {
	now  map[allocator.ServiceName]allocator.Report
	news map[allocator.ServiceName]bool
}

func (r *reported) set(now map[allocator.ServiceName]allocator.Report) {
	if r.news == nil {
		r.news = map[allocator.ServiceName]bool{}
	}
	for n := range r.now {
		r.news[n] = true
	}
	for n := range now {
		r.news[n] = true
	}
	r.now = now
}

func (r *reported) tell(whole bool) map[allocator.ServiceName]allocator.Report {
	out := map[allocator.ServiceName]allocator.Report{}
	for n := range r.news {
		out[n] = r.now[n]
	}
	if r.news = nil; whole {
		out = maps.Clone(r.now)
	}
	return out
}

func (v *voice) tellAnnounced(whole bool) controller.Announced {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := controller.Announced{Services: v.announced.tell(whole), InSight: v.sight}
	v.sight = nil
	return out
}

func (v *voice) tellAdvertised(whole bool) map[allocator.ServiceName]allocator.Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.advertised.tell(whole)
}

// some makes reports about addresses that do not matter to the test.
func some(services map[allocator.ServiceName][]string) map[allocator.ServiceName]allocator.Report {
	out := map[allocator.ServiceName]allocator.Report{}
	for n, on := range services {
		out[n] = allocator.Report{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, On: on}
	}
	return out
}

// advertise sets to which peers the copy's node advertises which Services.
func (c *instance) advertise(services map[allocator.ServiceName][]string) {
	c.voice.mu.Lock()
	c.voice.advertised.set(some(services))
	c.voice.mu.Unlock()
	c.Advertising()
}

// announce sets what the copy's node answers for, and whom it sees.
func (c *instance) announce(services map[allocator.ServiceName][]string, sight ...string) {
	c.voice.mu.Lock()
	c.voice.announced.set(some(services))
	c.voice.sight = map[string]bool{}
	for _, n := range sight {
		c.voice.sight[n] = true
	}
	c.voice.mu.Unlock()
	c.Announcing()
}

// follow has the copy's node answer for what it may, from now on.
func (c *instance) follow() *instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.voice.follows = true
	c.answer()
	return c
}

// answer is called when the seats have changed, under the lock.
func (c *instance) answer() {
	c.voice.mu.Lock()
	defer c.voice.mu.Unlock()
	if !c.voice.follows {
		return
	}
	now := map[allocator.ServiceName]allocator.Report{}
	for addr, seat := range c.seats {
		if len(seat.Layer2) == 0 || seat.Layer2[0].Node != c.voice.node {
			continue
		}
		for _, n := range seat.Services {
			r := now[n]
			r.Addrs = append(r.Addrs, addr)
			slices.SortFunc(r.Addrs, netip.Addr.Compare)
			now[n] = r
		}
	}
	c.voice.announced.set(now)
	c.Announcing()
}
