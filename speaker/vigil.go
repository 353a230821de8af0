package speaker

import (
	"cmp"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Echo is how the death of a node is noticed before gossip notices it: by its
// kernel, which answers ICMP echo requests (RFC 792, RFC 4443 §4) without waiting
// for any process, however busy the node is. Zero values mean the defaults.
type Echo struct {
	// Interval is the time between two requests to a node that answers (default
	// 50 ms). When one is not answered, they come ten times as fast.
	Interval time.Duration
	// Timeout is how long a node may leave all requests unanswered, and TCP
	// handshakes too, before it is taken for dead (default 150 ms).
	Timeout time.Duration
}

func (e Echo) orDefault() Echo {
	if e.Interval == 0 {
		e.Interval = 50 * time.Millisecond
	}
	if e.Timeout == 0 {
		e.Timeout = 150 * time.Millisecond
	}
	return e
}

const (
	// wards is how many nodes each node watches, and is watched by: a node stays
	// watched when two die at once, and the load does not grow with the cluster.
	wards = 3
	// hurry is how much faster requests come to a node that left one unanswered.
	hurry = 10
	// enough requests must be unanswered in a row. With a fifth of all packets
	// lost, both ways, that happens by chance once in 10^8 times.
	enough = 18
	// suspectEvery is the least time between two words to the others about one node.
	suspectEvery = time.Second
)

// vigil decides which nodes are dead, from the echoes of their kernels. It is a
// state machine without a clock or a socket: inputs are methods that take the
// time, and tick says what to do next. Whoever drives it takes in what was
// answered before each tick, so that a driver that was late learns of life first.
//
// A node that has never answered is not judged: something filters echoes there,
// and gossip alone has to do. Nor is any while none of several wards answers:
// more likely than that all of them died, this node is the one that is cut off.
type vigil struct {
	config        Echo
	hurry, enough int
	wards         map[string]*ward
}

// ward is a node that is watched.
type ward struct {
	addr   netip.Addr
	roused bool // watched only until it is clear what another node's suspicion is worth
	armed  bool // it has answered, so that silence means something
	gone   bool

	asked int       // requests without an answer since the last one
	first time.Time // when the first of them was sent
	last  time.Time // when the last of them was sent
	told  time.Time // when the others were last told
	shook bool      // a handshake is being tried since first
}

// watching is what tick wants done.
type watching struct {
	ask     []netip.Addr // to be sent an echo request each
	shake   []string     // to be tried by TCP handshakes: answered tells
	suspect []string     // the others are to be told
	gone    []death
	next    time.Time // the next tick; zero: when something changes
}

// death is a node that was found dead, and how long it has not answered.
type death struct {
	node   string
	silent time.Duration
}

func newVigil(c Echo) *vigil {
	return &vigil{config: c, hurry: hurry, enough: enough, wards: map[string]*ward{}}
}

// alarm is how long an answer may take before requests come faster.
func (v *vigil) alarm() time.Duration { return v.config.Timeout / 8 }

// watch makes nodes the wards. Of those that stay, everything is still known.
func (v *vigil) watch(nodes map[string]netip.Addr) {
	for node, w := range v.wards {
		if addr, stays := nodes[node]; (!stays && !w.roused) || (stays && addr != w.addr) {
			delete(v.wards, node)
		}
	}
	for node, addr := range nodes {
		if w := v.wards[node]; w == nil {
			v.wards[node] = &ward{addr: addr}
		} else {
			w.roused = false
		}
	}
}

// rouse takes in that another node suspects one: it is asked until it answers or
// is found dead.
func (v *vigil) rouse(now time.Time, node string, addr netip.Addr) {
	w := v.wards[node]
	if w == nil {
		w = &ward{addr: addr, roused: true, armed: true}
		v.wards[node] = w
	}
	if w.asked == 0 {
		w.asked, w.first, w.last = 1, now.Add(-v.alarm()), now.Add(-v.config.Interval)
	}
}

// forget ends the watch over a node that is known to be gone.
func (v *vigil) forget(node string) { delete(v.wards, node) }

// echoed takes in an answer, and tells of a node that it was taken for dead.
func (v *vigil) echoed(addr netip.Addr) (back []string) {
	for node, w := range v.wards {
		if w.addr != addr {
			continue
		}
		if w.gone {
			back = append(back, node)
		}
		if w.roused {
			delete(v.wards, node)
			continue
		}
		w.armed, w.gone, w.asked, w.shook = true, false, 0, false
	}
	return back
}

// unsent takes in that the last request could not be sent, which is nobody
// else's fault.
func (v *vigil) unsent(addr netip.Addr) {
	for _, w := range v.wards {
		if w.addr == addr && w.asked > 0 {
			w.asked--
		}
	}
}

// shaken takes in that a node answered a handshake, though perhaps no echo: if
// it goes on like that, echoes say nothing about it.
func (v *vigil) shaken(node string) {
	w := v.wards[node]
	switch {
	case w == nil || w.gone:
	case w.roused:
		delete(v.wards, node)
	default:
		w.armed, w.asked, w.shook = false, 0, false
	}
}

// tick judges every ward.
func (v *vigil) tick(now time.Time) (o watching) {
	for _, node := range slices.Sorted(maps.Keys(v.wards)) {
		w := v.wards[node]
		v.judge(now, node, w, &o)
		interval := v.config.Interval
		if v.suspected(now, w) {
			interval /= time.Duration(v.hurry)
		}
		if w.asked == 0 && now.Sub(w.last) >= interval {
			w.first, w.asked, w.last = now, 1, now
			o.ask = append(o.ask, w.addr)
		} else if w.asked > 0 && now.Sub(w.last) >= interval {
			w.asked++
			w.last = now
			o.ask = append(o.ask, w.addr)
		}
		next := w.last.Add(interval)
		if alarm := w.first.Add(v.alarm()); w.asked > 0 && !w.gone && alarm.After(now) && alarm.Before(next) {
			next = alarm
		}
		o.next = earlier(o.next, next)
	}
	return o
}

// suspected tells whether a ward should have answered by now.
func (v *vigil) suspected(now time.Time, w *ward) bool {
	return w.armed && !w.gone && w.asked > 0 && now.Sub(w.first) >= v.alarm()
}

// judge decides about a ward that should have answered.
func (v *vigil) judge(now time.Time, node string, w *ward, o *watching) {
	if !v.suspected(now, w) {
		return
	}
	silent := now.Sub(w.first)
	if !w.shook && silent >= v.config.Timeout/2 {
		w.shook = true
		o.shake = append(o.shake, node)
	}
	if !w.roused && silent >= 2*v.alarm() && now.Sub(w.told) >= suspectEvery {
		w.told = now
		o.suspect = append(o.suspect, node)
	}
	if silent >= v.config.Timeout && w.asked >= v.enough && !v.alone(now, w) {
		w.gone = true
		o.gone = append(o.gone, death{node, silent})
	}
}

// alone tells whether there are other wards, and none that answers.
func (v *vigil) alone(now time.Time, but *ward) bool {
	others := 0
	for _, w := range v.wards {
		if w == but || w.roused || !w.armed {
			continue
		}
		if !w.gone && !v.suspected(now, w) {
			return false
		}
		others++
	}
	return others > 0
}

// ring returns the nodes that self watches: those that follow it when all are
// arranged in a circle by a hash of their names. So everybody watches and is
// watched by the same number of nodes, and neighbours in a rack are not
// neighbours in the circle.
func ring(self string, nodes []string) []string {
	place := func(node string) uint64 {
		h := fnv.New64a()
		h.Write([]byte(node)) // never fails
		return mix(h.Sum64())
	}
	type distant struct {
		node string
		way  uint64 // along the circle: the difference wraps around
	}
	var others []distant
	own := place(self)
	for _, n := range nodes {
		if n != self {
			others = append(others, distant{n, place(n) - own})
		}
	}
	slices.SortFunc(others, func(a, b distant) int {
		return cmp.Or(cmp.Compare(a.way, b.way), cmp.Compare(a.node, b.node))
	})
	var next []string
	for _, o := range others[:min(wards, len(others))] {
		next = append(next, o.node)
	}
	return next
}

// mix spreads what FNV leaves close together (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
