package speaker

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// cluster is a simulated cluster: nodes with a core each, a segment, gossip
// that loses and delays, a control plane that lags, data paths that are
// programmed later, and a client that follows the last announcement. Time is
// virtual, and everything random comes from one seed.
type cluster struct {
	now   time.Time
	rand  *rand.Rand
	queue events
	order int

	nodes       map[string]*machine
	names       []string
	truth       map[netip.Addr]allocator.Seat
	loss        float64        // of datagrams
	parts       map[string]int // partition of gossip and of the wire
	gossipParts map[string]int // partition of gossip alone
	links       map[[2]string]link

	client map[netip.Addr]target
	was    map[netip.Addr]map[string]time.Time // when a node lost its eligibility
	check  func(*cluster)
	wrong  wrong
	log    []string
}

// wrong makes every node of a cluster misbehave in one way.
type wrong struct {
	releaseFirst bool // stops before anybody took over
	failBack     bool // the first in the rank takes back what it would own
	wideAtOnce   bool // takes over before the data path serves
	unconfirmed  bool // believes that a node is dead without asking the segment
}

// target is where the client sends.
type target struct {
	node  string
	since time.Time
}

// link is what one daemon believes of another.
type link struct {
	up   bool
	life uint64
	gen  int
}

// machine is a simulated node.
type machine struct {
	name   string
	core   *core // nil: no daemon runs
	power  bool
	cable  bool
	nic    bool // the interface of the addresses; gossip goes another way
	api    bool
	life   uint64
	set    map[netip.Addr]int // what layer2 answers for, and its life
	lives  int
	wakeAt time.Time
	serves map[netip.Addr]time.Time // since when the data path serves; absent: not
	behind map[netip.Addr]bool      // seats not delivered because the API was away
	polled map[healthPort]bool
}

type event struct {
	at    time.Time
	order int
	do    func()
}
type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

const ms = time.Millisecond

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newCluster(seed uint64, n int) *cluster {
	cl := &cluster{
		now: epoch, rand: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*machine{},
		truth: map[netip.Addr]allocator.Seat{}, parts: map[string]int{}, gossipParts: map[string]int{}, links: map[[2]string]link{},
		client: map[netip.Addr]target{}, was: map[netip.Addr]map[string]time.Time{},
	}
	for i := range n {
		name := fmt.Sprintf("n%d", i+1)
		cl.names = append(cl.names, name)
		cl.nodes[name] = &machine{
			name: name, power: true, cable: true, nic: true, api: true, serves: map[netip.Addr]time.Time{},
			set: map[netip.Addr]int{}, behind: map[netip.Addr]bool{},
		}
	}
	return cl
}

func (cl *cluster) say(format string, args ...any) {
	cl.log = append(cl.log, fmt.Sprintf("%8.3f ", cl.now.Sub(epoch).Seconds())+fmt.Sprintf(format, args...))
}

func (cl *cluster) after(d time.Duration, do func()) {
	cl.order++
	heap.Push(&cl.queue, event{cl.now.Add(d), cl.order, do})
}

// between is a random duration.
func (cl *cluster) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(cl.rand.Int64N(int64(hi-lo)+1))
}

// run lets time pass. The checker also sees what was changed before it, however
// soon that has its effect.
func (cl *cluster) run(d time.Duration) {
	end := cl.now.Add(d)
	cl.look()
	for len(cl.queue) > 0 && !cl.queue[0].at.After(end) {
		e := heap.Pop(&cl.queue).(event)
		cl.now = e.at
		e.do()
		cl.look()
	}
	cl.now = end
}

func (cl *cluster) look() {
	if cl.check != nil {
		cl.check(cl)
	}
}

// ---- control plane

// put publishes what the allocator says of an address: every node learns it
// after a lag of its own, and every data path follows later.
func (cl *cluster) put(seat allocator.Seat) {
	old := cl.truth[seat.Addr]
	cl.truth[seat.Addr] = seat
	cl.say("api: %s %s health %v dwell %v", seat.Addr, candidates(seat), seat.HealthPorts, seat.Dwell)
	if cl.was[seat.Addr] == nil {
		cl.was[seat.Addr] = map[string]time.Time{}
	}
	for _, name := range cl.names {
		before, after := has(old, name), has(seat, name)
		switch {
		case !before && after:
			cl.program(name, seat.Addr)
			delete(cl.was[seat.Addr], name)
		case before && !after:
			lost := cl.now
			cl.was[seat.Addr][name] = lost
			cl.after(cl.between(4*time.Second, 5*time.Second), func() {
				if !has(cl.truth[seat.Addr], name) && cl.was[seat.Addr][name].Equal(lost) {
					delete(cl.nodes[name].serves, seat.Addr)
				}
			})
		}
		cl.deliver(cl.nodes[name], seat.Addr)
	}
}

// program lets the data path of a node serve an address in a while.
func (cl *cluster) program(name string, addr netip.Addr) {
	n := cl.nodes[name]
	if _, ok := n.serves[addr]; ok {
		return
	}
	cl.after(cl.between(20*ms, 900*ms), func() {
		if has(cl.truth[addr], name) {
			n.serves[addr] = cl.now
		}
	})
}

func (cl *cluster) deliver(n *machine, addr netip.Addr) {
	if !n.api {
		n.behind[addr] = true
		return
	}
	life := n.life
	cl.after(cl.between(2*ms, 150*ms), func() {
		if n.core != nil && n.life == life {
			n.core.place(cl.now, cl.placement(addr))
			cl.step(n)
		}
	})
}

func (cl *cluster) placement(addrs ...netip.Addr) allocator.Placement {
	var p allocator.Placement
	for _, a := range addrs {
		if s, ok := cl.truth[a]; ok {
			p.Seats = append(p.Seats, s)
		} else {
			p.Gone = append(p.Gone, a)
		}
	}
	return p
}

func (cl *cluster) setAPI(name string, up bool) {
	n := cl.nodes[name]
	n.api = up
	cl.say("%s: api %v", name, up)
	if !up {
		return
	}
	for _, a := range slices.SortedFunc(maps.Keys(n.behind), netip.Addr.Compare) {
		cl.deliver(n, a)
	}
	clear(n.behind)
}

// ---- daemons

func (cl *cluster) start(name string) {
	n := cl.nodes[name]
	n.life = uint64(cl.now.UnixNano())
	n.core = newCore(name, n.life, Times{})
	n.core.know(cl.names)
	n.wakeAt, n.polled = time.Time{}, nil
	cl.say("%s: daemon starts", name)
	cl.tellNIC(n)
	life := n.life
	cl.after(cl.between(20*ms, 200*ms), func() {
		if n.core == nil || n.life != life {
			return
		}
		all := slices.SortedFunc(maps.Keys(cl.truth), netip.Addr.Compare)
		if n.api {
			n.core.place(cl.now, cl.placement(all...))
			cl.step(n)
			return
		}
		for _, a := range all {
			n.behind[a] = true
		}
	})
	cl.relink()
	cl.digests(n)
}

// stop ends a daemon: at once, or after it has handed over.
func (cl *cluster) stop(name string, gracefully bool) {
	n := cl.nodes[name]
	if n.core == nil {
		return
	}
	if !gracefully {
		cl.say("%s: daemon killed", name)
		cl.end(n, false)
		return
	}
	cl.say("%s: daemon told to end", name)
	life, deadline, linger := n.life, cl.now.Add(n.core.times.bound()), cl.now.Add(linger)
	n.core.leave()
	cl.step(n)
	var poll func()
	poll = func() {
		if n.core == nil || n.life != life {
			return
		}
		if len(n.core.held) == 0 || n.core.stuck() == 0 && !cl.now.Before(linger) || !cl.now.Before(deadline) {
			cl.say("%s: daemon ends, holds %d", name, len(n.core.held))
			cl.end(n, true)
			return
		}
		cl.after(5*ms, poll)
	}
	cl.after(5*ms, poll)
}

func (cl *cluster) end(n *machine, left bool) {
	n.core = nil
	clear(n.set)
	for _, other := range cl.names {
		delete(cl.links, [2]string{n.name, other})
	}
	cl.relink()
	for _, other := range cl.names {
		if l := cl.links[[2]string{other, n.name}]; left && l.up {
			cl.unlink(other, n.name, l.gen, true)
		}
	}
}

func (cl *cluster) powerOff(name string) {
	n := cl.nodes[name]
	cl.say("%s: power off", name)
	n.power = false
	clear(n.serves)
	cl.end(n, false)
}

func (cl *cluster) powerOn(name string) {
	cl.nodes[name].power = true
	for _, addr := range vips {
		if has(cl.truth[addr], name) {
			cl.program(name, addr)
		}
	}
	cl.start(name)
}
