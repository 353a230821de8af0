package speaker

import (
	"container/heap"
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// routes decides which BGP routes this node advertises. Like core it is a state
// machine without a clock, a socket or a goroutine. Every eligible node advertises,
// so nobody has to be asked; what there is to decide is when.
type routes struct {
	node  string
	times Times

	paths   map[netip.Addr]*path
	table   table
	board   billboard
	started time.Time // first placement
	booted  bool      // the node was booted a short while before
	ready   time.Time // since when what this node can advertise is known, and sessions may come up; zero: it is not

	ok      map[healthPort]time.Time // when they last answered 200
	dirty   map[netip.Addr]bool
	timers  timers
	waiting map[healthPort]map[netip.Addr]bool // paths that wait for a port
	waits   int                                // paths that wait at all
	changed bool                               // the table, or what else the routers are told
	polls   bool                               // the ports to poll may have changed
	notes   []note
}

// path is what this node knows of the routes to one address.
type path struct {
	allocator.Seat
	mine     []allocator.Route       // that this node may advertise
	eligible time.Time               // since when there are any, without a break; zero: there are none
	trusted  time.Time               // from when on it is advertised without proof that its data path serves
	others   bool                    // nodes that advertise already were there when this one became eligible
	leavers  map[string]time.Time    // other nodes that serve it and may not advertise it any more: when they will have withdrawn
	placed   time.Time               // the last time
	steady   witness                 // another node that may advertise it
	told     []allocator.Route       // that it advertises
	drains   []drain                 // that it is about to withdraw
	known    []allocator.ServiceName // Services as of the last time that it was judged
	waits    bool                    // until its data path is known to serve
	wake     time.Time               // the earliest entry of the path in the timers
}

func newRoutes(node string, times Times) *routes {
	return &routes{
		node: node, times: times.orDefault(), paths: map[netip.Addr]*path{}, table: newTable(), board: newBillboard(),
		ok: map[healthPort]time.Time{}, dirty: map[netip.Addr]bool{}, waiting: map[healthPort]map[netip.Addr]bool{},
	}
}

// place takes in a placement.
func (r *routes) place(now time.Time, p allocator.Placement) {
	first := r.started.IsZero()
	if first {
		r.started = now
	}
	for _, seat := range p.Seats {
		if len(seat.Routes) > 0 || r.paths[seat.Addr] != nil {
			r.replace(now, seat, first)
		}
	}
	for _, addr := range p.Gone {
		if r.paths[addr] != nil {
			r.replace(now, allocator.Seat{Addr: addr, Local: true}, false)
		}
	}
}

// replace takes over what the allocator says of an address now.
func (r *routes) replace(now time.Time, seat allocator.Seat, first bool) {
	p := r.paths[seat.Addr]
	if p == nil {
		p = &path{Seat: allocator.Seat{Addr: seat.Addr}}
		r.paths[seat.Addr] = p
	}
	r.unwait(p)
	before := p.Seat
	p.Seat, p.mine = seat, r.own(seat.Routes)
	switch {
	case len(p.mine) == 0:
		p.eligible = time.Time{}
	case p.eligible.IsZero() && first:
		p.eligible, p.others, p.trusted = now, r.elsewhere(seat.Routes), now.Add(r.credit())
	case p.eligible.IsZero():
		p.eligible, p.others, p.trusted = now, r.elsewhere(before.Routes), now.Add(max(longestProof, r.times.patience()))
	}
	p.others = p.others && r.elsewhere(seat.Routes)
	r.leaversOf(now, p, before)
	r.look(now, p, before, first)
	r.leaveBehind(now, p, before)
	r.wait(p)
	r.dirty[seat.Addr] = true
}

// longestProof is how long a node that has become eligible for an address waits for
// proof that it serves, while others may advertise it. kube-proxy takes two seconds,
// and on a node that boots some ten. What takes its place may serve no
// healthCheckNodePort at all, and whether the others advertise is not known either:
// nodes that all wait for ever would leave the address to nobody.
const longestProof = 30 * time.Second

// credit is how long proof is waited for where this node has been eligible since the
// first placement. As a rule the daemon was restarted, and the node serves as it did
// before. Routers that kept the routes drop what is not repeated when the sessions
// open: until then, and no longer.
func (r *routes) credit() time.Duration {
	if r.booted {
		return max(longestProof, r.times.patience())
	}
	return r.times.patience()
}

// own are the routes that this node may advertise, reduced to what it says of itself.
func (r *routes) own(all []allocator.Route) (mine []allocator.Route) {
	for _, route := range all {
		i, found := slices.BinarySearch(route.Nodes, r.node)
		if !found {
			continue
		}
		route.Nodes = nil
		if route.Weights != nil {
			route.Weights = route.Weights[i : i+1]
		}
		mine = append(mine, route)
	}
	return mine
}

// elsewhere tells whether another node may advertise one of the routes.
func (r *routes) elsewhere(all []allocator.Route) bool {
	return slices.ContainsFunc(all, func(route allocator.Route) bool {
		return slices.ContainsFunc(route.Nodes, func(n string) bool { return n != r.node })
	})
}

// wait notes which ports a path waits for.
func (r *routes) wait(p *path) {
	if p.eligible.IsZero() || !p.others && len(p.leavers) == 0 || len(p.told) > 0 {
		return
	}
	p.waits = true
	r.waits++
	for _, port := range portsOf(&p.Seat) {
		if r.waiting[port] == nil {
			r.waiting[port] = map[netip.Addr]bool{}
		}
		r.waiting[port][p.Addr] = true
		r.polls = true
	}
}

func (r *routes) unwait(p *path) {
	if !p.waits {
		return
	}
	p.waits = false
	r.waits--
	for _, port := range portsOf(&p.Seat) {
		if delete(r.waiting[port], p.Addr); len(r.waiting[port]) == 0 {
			delete(r.waiting, port)
		}
		r.polls = true
	}
}

// healthy takes in that a health port answered 200 on this node.
func (r *routes) healthy(now time.Time, port healthPort) {
	r.ok[port] = now
	for addr := range r.waiting[port] {
		r.dirty[addr] = true
	}
}

// decide judges every path that something happened to, and returns when to do so
// again if nothing happens before.
func (r *routes) decide(now time.Time) time.Time {
	for addr := range r.timers.due(now) {
		if p := r.paths[addr]; p != nil && !p.wake.IsZero() && !p.wake.After(now) {
			p.wake = time.Time{}
			r.dirty[addr] = true
		}
	}
	for _, addr := range slices.SortedFunc(maps.Keys(r.dirty), netip.Addr.Compare) {
		r.judge(now, r.paths[addr])
	}
	clear(r.dirty)
	return earlier(r.timers.next(), r.open(now))
}

// open tells when sessions may come up: routers that kept the routes of this
// node's last daemon drop what the new one does not repeat at once.
func (r *routes) open(now time.Time) time.Time {
	if !r.ready.IsZero() || r.started.IsZero() {
		return time.Time{}
	}
	if end := r.started.Add(r.times.patience()); r.waits > 0 && now.Before(end) {
		return end
	}
	r.ready, r.changed = now, true
	return time.Time{}
}

// judge decides one address.
func (r *routes) judge(now time.Time, p *path) {
	before, resumed, served := len(p.told) > 0, false, p.served(now)
	p.drains = slices.DeleteFunc(p.drains, func(d drain) bool {
		resumed = resumed || slices.ContainsFunc(p.mine, d.resumedBy)
		return covers(p.mine, d.Route) || !now.Before(d.until)
	})
	switch {
	case len(p.mine) == 0:
		p.told = nil
	case before || resumed || !p.others && served.IsZero() || proven(&p.Seat, p.eligible, now, r.ok, r.times.Dwell):
		p.told = p.mine
	case !now.Before(p.trusted):
		p.told = p.mine
		r.notes = append(r.notes, note{kind: Unproven, addr: p.Addr, services: p.Services, took: now.Sub(p.eligible)})
	default:
		r.later(p, p.trusted)
		if end := p.eligible.Add(r.times.Dwell); p.Dwell && now.Before(end) {
			r.later(p, end)
		}
	}
	if len(p.told) > 0 {
		r.unwait(p)
	}
	for i := range p.drains {
		p.drains[i].fresh = false
		r.later(p, p.drains[i].until)
	}
	switch joined := p.joined(before); {
	case len(p.told) > 0 && (!before || len(joined) > 0):
		r.notes = append(r.notes, note{kind: Advertised, addr: p.Addr, services: joined})
	case before && len(p.told) == 0:
		r.notes = append(r.notes, note{kind: Withdrawn, addr: p.Addr, cause: gentleness(p)})
	}
	if r.table.put(p) || !slices.Equal(p.known, p.Services) {
		r.changed = true
		r.board.put(p)
		p.known = p.Services
	}
	switch {
	case !served.IsZero():
		r.later(p, served)
	case len(p.Routes)+len(p.told)+len(p.drains) == 0:
		delete(r.paths, p.Addr)
	}
}

// joined are the Services for which the address was not advertised before.
func (p *path) joined(before bool) (all []allocator.ServiceName) {
	if !before {
		return p.Services
	}
	for _, s := range p.Services {
		if !slices.Contains(p.known, s) {
			all = append(all, s)
		}
	}
	return all
}

// gentleness says how an address is withdrawn.
func gentleness(p *path) Cause {
	if len(p.drains) > 0 {
		return Drained
	}
	return Unserved
}

// asked adds the ports that paths wait for to those that seats wait for; all are
// asked with urgency, since each node that advertises carries its share.
func (r *routes) asked(ports map[healthPort]bool) map[healthPort]bool {
	for port := range r.waiting {
		ports[port] = true
	}
	return ports
}

// later makes a path be judged again at a time that is to come.
func (r *routes) later(p *path, at time.Time) {
	if p.wake.IsZero() || at.Before(p.wake) {
		p.wake = at
		heap.Push(&r.timers, timer{at, p.Addr})
	}
}
