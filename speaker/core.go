package speaker

import (
	"container/heap"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
)

// core decides what this node answers for. It is a state machine without a
// clock, a socket or a goroutine: inputs are methods that take the time, and
// decide says what to do next.
type core struct {
	node  string
	times Times

	seats   map[netip.Addr]*seat
	held    map[netip.Addr]*seat
	ledger  *ledger
	members map[string]bool // the other nodes in sight
	peers   map[string]bool // the other nodes that there should be; nil: not known yet

	started time.Time // first placement
	glanced bool      // what it has seen is enough for what it is the first for
	settled bool      // the first look around is over
	leaving bool

	vouched map[string]time.Time // members in sight only because they spoke: when they last did

	links    map[string]layer2.Usability // interfaces that are usable; nil: not known yet
	departed map[string]time.Time        // those that were until a moment ago

	macs     map[string]string   // the stations of the other nodes
	inquests map[string]*inquest // nodes that seem dead

	loads      map[string]int // addresses that each node answers for
	counted    time.Time      // when they were counted
	countedTo  uint64         // and how many claims had ended by then
	rebalanced time.Time      // when it was last looked for a node with too many

	inquired time.Time // when all members were last asked for their claims

	ok      map[healthPort]time.Time           // when they last answered 200
	waiting map[healthPort]map[netip.Addr]bool // seats that wait for a port
	dirty   map[netip.Addr]bool
	timers  timers
	roll    roll
	out     orders
}

// Times are the durations that hand-over follows. Zero means the default.
type Times struct {
	// Dwell is how long a newly eligible node waits before it takes over an
	// address whose Services have no health check port (default 2 s).
	Dwell time.Duration
	// Start is the longest time that a node which has just started looks around
	// before it announces what nobody seems to announce (default 2 s).
	Start time.Duration
	// Rebalance makes a node take addresses, one a second, from another one that
	// answers for clearly more.
	Rebalance bool
	// Drain is how long BGP routers have to prefer other nodes before this one
	// withdraws a route that it could go on serving; 0: it is withdrawn at once.
	Drain time.Duration
	// TakeUsed makes a node announce an address although a station that is no node
	// answers for it already.
	TakeUsed bool
}

func (t Times) orDefault() Times {
	if t.Dwell == 0 {
		t.Dwell = 2 * time.Second
	}
	if t.Start == 0 {
		t.Start = 2 * time.Second
	}
	return t
}

// bound is how long a node that leaves waits for its heirs: a little longer
// than they are patient with each other.
func (t Times) bound() time.Duration { return t.patience() + time.Second }

// linger is how long a node that leaves waits although nobody can take what it
// holds: a placement that says who can may be on its way.
const linger = 300 * time.Millisecond

// patience is how long an address waits for the node that is due before the
// next in the rank takes it.
func (t Times) patience() time.Duration { return t.Dwell + time.Second }

// orders are what decide wants done.
type orders struct {
	set   bool           // the addresses to answer for changed: entries has them
	again []netip.Addr   // to be announced again
	tell  []message      // for all members, in this order
	probe []layer2.Entry // to be asked for on the segment
	ask   []string       // members whose whole account is wanted
	polls bool           // the ports to poll may have changed
	roll  bool           // what is announced, and with whom in sight, changed
	notes []note
	wake  time.Time // when to decide again if nothing happens before; zero: never
}

func newCore(node string, life uint64, times Times) *core {
	return &core{
		node: node, times: times.orDefault(),
		seats: map[netip.Addr]*seat{}, held: map[netip.Addr]*seat{},
		ledger: newLedger(node, life), members: map[string]bool{}, vouched: map[string]time.Time{}, departed: map[string]time.Time{},
		macs: map[string]string{}, inquests: map[string]*inquest{},
		ok: map[healthPort]time.Time{}, waiting: map[healthPort]map[netip.Addr]bool{},
		dirty: map[netip.Addr]bool{}, roll: newRoll(),
	}
}

// place takes in a placement.
func (c *core) place(now time.Time, p allocator.Placement) {
	if c.started.IsZero() {
		c.started = now
		c.all()
	}
	for _, next := range p.Seats {
		s := c.seats[next.Addr]
		if s == nil {
			s = &seat{}
			c.seats[next.Addr] = s
		}
		c.unwait(s)
		if s.held != nil {
			c.assign(s, next.Services)
			c.rolls(next.Addr)
		}
		s.replace(now, c.node, next, c.ok, c.times.Dwell)
		c.wait(now, s)
		c.dirty[next.Addr] = true
	}
	for _, addr := range p.Gone {
		if s := c.seats[addr]; s != nil {
			c.unwait(s)
			s.Seat = allocator.Seat{Addr: addr}
			c.dirty[addr] = true
		}
	}
}

// know takes in the names of all the nodes that there should be.
func (c *core) know(nodes []string) {
	c.peers = make(map[string]bool, len(nodes))
	for _, n := range nodes {
		if n != c.node {
			c.peers[n] = true
		}
	}
	c.all()
}

// joined takes in that a node came into sight, or back before it was given up.
func (c *core) joined(node string) {
	if node == c.node {
		return
	}
	c.out.ask = append(c.out.ask, node)
	delete(c.inquests, node)
	delete(c.vouched, node)
	if !c.members[node] {
		c.members[node] = true
		c.out.roll = true
		c.all()
	}
}

// left takes in that a node went out of sight: its claims are void.
func (c *core) left(node string) {
	if !c.members[node] {
		return
	}
	delete(c.members, node)
	delete(c.inquests, node)
	delete(c.vouched, node)
	c.out.roll = true
	c.ledger.void(node)
	c.all()
}

// receive takes in what another node says.
func (c *core) receive(now time.Time, m message) {
	if m.node == c.node || m.kind == kindAsk {
		return
	}
	got := c.ledger.receive(now, m)
	c.vouch(now, m)
	for _, addr := range got.addrs {
		c.dirty[addr] = true
	}
	if got.stood {
		c.all()
	}
	if got.ask {
		c.out.ask = append(c.out.ask, m.node)
	}
}

// announced takes in that an address is on the wire.
func (c *core) announced(now time.Time, addr netip.Addr) {
	if s := c.held[addr]; s != nil && !s.held.announced {
		s.held.announced = true
		c.rolls(addr)
		c.claim(s)
		c.tellTaken(now, s)
		c.dirty[addr] = true
	}
}

// heard takes in that another station announced an address.
func (c *core) heard(now time.Time, addr netip.Addr, iface, mac string) {
	if s := c.held[addr]; s != nil {
		s.held.heard = now
		s.fight.hear(now, iface, mac)
		c.dirty[addr] = true
		return
	}
	c.testify(now, addr, iface, mac)
}

// leave begins to hand everything over.
func (c *core) leave() {
	c.leaving = true
	c.all()
}

// healthy takes in that a health port answered 200 on this node.
func (c *core) healthy(now time.Time, port healthPort) {
	if len(c.waiting[port]) == 0 {
		return
	}
	c.ok[port] = now
	for addr := range c.waiting[port] {
		c.dirty[addr] = true
	}
	delete(c.waiting, port)
	c.out.polls = true
}

// wait notes which ports a seat waits for.
func (c *core) wait(now time.Time, s *seat) {
	if s.eligible.IsZero() || s.serving {
		return
	}
	for _, port := range portsOf(&s.Seat) {
		if c.ok[port].Before(s.eligible) {
			if c.waiting[port] == nil {
				c.waiting[port] = map[netip.Addr]bool{}
			}
			c.waiting[port][s.Addr] = true
			c.out.polls = true
		}
	}
}

func (c *core) unwait(s *seat) {
	for _, port := range portsOf(&s.Seat) {
		if w := c.waiting[port]; w[s.Addr] {
			if delete(w, s.Addr); len(w) == 0 {
				delete(c.waiting, port)
			}
			c.out.polls = true
		}
	}
}

// polls returns the health ports that somebody waits for; true: with urgency,
// since this node is due and another one answers.
func (c *core) polls() map[healthPort]bool {
	ports := make(map[healthPort]bool, len(c.waiting))
	for port, addrs := range c.waiting {
		ports[port] = false
		for addr := range addrs {
			if c.seats[addr].due.node == c.node {
				ports[port] = true
			}
		}
	}
	return ports
}

// alive tells whether another node is there and can take an address.
func (c *core) alive(node string) bool {
	a := c.ledger.peers[node]
	return c.members[node] && a != nil && a.whole && a.ready && !a.leaving
}

// all makes every seat be decided anew.
func (c *core) all() {
	for addr := range c.seats {
		c.dirty[addr] = true
	}
}

// decide judges every seat that something happened to, and returns what to do.
func (c *core) decide(now time.Time) orders {
	c.settle(now)
	dead := earlier(c.expire(now), c.judgeDead(now))
	for addr := range c.timers.due(now) {
		if s := c.seats[addr]; s != nil && !s.wake.IsZero() && !s.wake.After(now) {
			s.wake = time.Time{}
			c.dirty[addr] = true
		}
	}
	c.ledger.stand(standing{ready: !c.started.IsZero(), looking: !c.settled, leaving: c.leaving})
	c.count(now)
	for _, addr := range c.inOrder() {
		c.judge(now, addr)
	}
	spread := c.rebalance(now)
	clear(c.dirty)
	c.out.tell = c.ledger.flush()
	c.out.wake = earlier(earlier(c.timers.next(), c.glance(now)), earlier(dead, spread))
	out := c.out
	c.out = orders{}
	return out
}

// inOrder returns the seats to judge, by address.
func (c *core) inOrder() []netip.Addr {
	addrs := make([]netip.Addr, 0, len(c.dirty))
	for addr := range c.dirty {
		if c.seats[addr] != nil {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// entries is the whole set to answer for, in no order.
func (c *core) entries() []layer2.Entry {
	all := make([]layer2.Entry, 0, len(c.held))
	for _, s := range c.held {
		all = append(all, c.entry(s))
	}
	return all
}

// stuck counts the addresses that somebody else could take and has not taken.
func (c *core) stuck() int {
	n := 0
	for _, s := range c.held {
		if v := c.look(s); v.owner != "" && v.owner != c.node {
			n++
		}
	}
	return n
}

// later makes a seat be judged again at a time.
func (c *core) later(s *seat, at time.Time) {
	if s.wake.IsZero() || at.Before(s.wake) {
		s.wake = at
		heap.Push(&c.timers, timer{at, s.Addr})
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
