package controller

import (
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// A medium is a way to announce.
type medium uint8

const (
	layer2 medium = iota
	byBGP
	media // how many there are
)

// reportDelay: reports seldom come alone, and are told together.
const reportDelay = 100 * time.Millisecond

// nodeReports are what the copies say that they announce, in their ServiceL2Status and
// ServiceBGPStatus objects. Only a leader reads them, and only while its term lasts.
//
// What a copy said that is dead stays in the API: its objects go with its pod, and the
// pod of a DaemonSet goes with the Node; those about layer 2 are removed by the node that
// takes over. So a report does not count while its node is out of sight of this copy,
// if this copy sees most of those that report: else it may be the one that is cut off.
type nodeReports struct {
	news chan struct{} // holds one item while there is something to take

	mu      sync.Mutex
	of      map[name][media][]group
	nodes   words
	waits   [media]bool     // not listed yet
	absent  [media]bool     // the kind is not there
	changed map[name]bool   // Services of which something else is said
	sight   map[string]bool // nodes in sight of this copy; nil: not known
	unseen  map[string]bool // nodes whose reports do not count
	pending bool            // news is about to be told
}

// A group is the nodes that announce the same addresses of a Service by one medium.
type group struct {
	addrs string // as the annotation names them
	all   bool   // all of the Service's: there is no annotation
	nodes []uint64
}

func newReports() *nodeReports {
	return &nodeReports{
		news: make(chan struct{}, 1), of: map[name][media][]group{}, nodes: newWords(),
		waits: [media]bool{true, true}, changed: map[name]bool{},
	}
}

// A reportFact is what one object says.
type reportFact struct {
	service name
	node    string // "": nothing is said yet
	addrs   string
	all     bool
}

// put takes what a node says.
func (r *nodeReports) put(m medium, f reportFact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.node == "" {
		return
	}
	known := len(r.nodes.number)
	n := r.nodes.hold(f.node)
	list := slices.Clone(r.of[f.service][m])
	for i := range list {
		if !list[i].has(n) {
			continue
		}
		r.nodes.release(n) // it was held already
		if list[i].addrs == f.addrs && list[i].all == f.all {
			return
		}
		list[i].nodes = excluding(list[i].nodes, n)
	}
	i := slices.IndexFunc(list, func(g group) bool { return g.addrs == f.addrs && g.all == f.all })
	if i < 0 {
		i, list = len(list), append(list, group{addrs: strings.Clone(f.addrs), all: f.all})
	}
	list[i].nodes = including(list[i].nodes, n)
	r.set(m, f.service, list)
	if len(r.nodes.number) != known {
		r.judge()
	}
}

// remove takes that a node says nothing of a Service any more.
func (r *nodeReports) remove(m medium, service name, node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.nodes.number[node]
	list := slices.Clone(r.of[service][m])
	i := slices.IndexFunc(list, func(g group) bool { return ok && g.has(n) })
	if i < 0 {
		return
	}
	list[i].nodes = excluding(list[i].nodes, n)
	known := len(r.nodes.number)
	r.nodes.release(n)
	r.set(m, service, list)
	if len(r.nodes.number) != known {
		r.judge()
	}
}

// listed takes everything that is said by one medium.
func (r *nodeReports) listed(m medium, list []reportFact) {
	said := make(map[name]map[string]bool, len(list))
	for _, f := range list {
		if said[f.service] == nil {
			said[f.service] = map[string]bool{}
		}
		said[f.service][f.node] = true
	}
	type left struct {
		service name
		node    string
	}
	var gone []left
	r.mu.Lock()
	for service, by := range r.of {
		for _, g := range by[m] {
			for n := range g.each {
				if node := r.nodes.text(n); !said[service][node] {
					gone = append(gone, left{service, node})
				}
			}
		}
	}
	r.mu.Unlock()
	for _, l := range gone {
		r.remove(m, l.service, l.node)
	}
	for _, f := range list {
		r.put(m, f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known(m, false)
}

// missing takes that a kind is not there, or may not be read.
func (r *nodeReports) missing(m medium) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known(m, true)
}

func (r *nodeReports) known(m medium, absent bool) {
	before := r.ready()
	r.waits[m], r.absent[m] = false, absent
	if r.ready() && !before {
		r.tell()
	}
}

// cannot tells whether copies that announce an address have no way to say so.
func (r *nodeReports) cannot(seat *allocator.Seat) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(seat.Layer2) > 0 && r.absent[layer2] || len(seat.Routes) > 0 && r.absent[byBGP]
}

// ready tells whether it is known what all copies say.
func (r *nodeReports) ready() bool { return !slices.Contains(r.waits[:], true) }

// sees takes in which nodes are in sight of this copy.
func (r *nodeReports) sees(sight map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sight = sight
	r.judge()
}

// judge decides whose reports do not count.
func (r *nodeReports) judge() {
	unseen, copies := map[string]bool{}, len(r.sight)
	for node := range r.nodes.number {
		if !r.sight[node] {
			unseen[node] = true
			copies++
		}
	}
	if 2*len(r.sight) <= copies {
		unseen = nil
	}
	before := r.unseen
	r.unseen = unseen
	turned := map[uint32]bool{}
	for node, n := range r.nodes.number {
		if before[node] != unseen[node] {
			turned[n] = true
		}
	}
	if len(turned) == 0 {
		return
	}
	for service, by := range r.of {
		for _, list := range by {
			for i := range list {
				for n := range turned {
					if list[i].has(n) {
						r.changed[service] = true
					}
				}
			}
		}
	}
	r.tell()
}

func (r *nodeReports) set(m medium, service name, list []group) {
	by := r.of[service]
	by[m] = slices.DeleteFunc(list, func(g group) bool { return len(g.nodes) == 0 })
	if r.of[service] = by; len(by[layer2])+len(by[byBGP]) == 0 {
		delete(r.of, service)
	}
	r.changed[service] = true
	r.tell()
}

// tell says, a little later, that there is something to take.
func (r *nodeReports) tell() {
	if r.pending || !r.ready() {
		return
	}
	r.pending = true
	time.AfterFunc(reportDelay, func() {
		r.mu.Lock()
		r.pending = false
		r.mu.Unlock()
		select {
		case r.news <- struct{}{}:
		default:
		}
	})
}

// take returns the Services of which something else is said than when it was last
// called, and whether it is known by now what all copies say.
func (r *nodeReports) take() (changed map[name]bool, ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.changed
	r.changed = map[name]bool{}
	return changed, r.ready()
}

// A crew is some nodes: the first by name, and how many there are.
type crew struct {
	first []string // sorted, three at most
	count int
}

func (c *crew) add(node string) {
	c.count++
	i, _ := slices.BinarySearch(c.first, node)
	if i < 3 {
		c.first = slices.Insert(c.first, i, node)
		c.first = c.first[:min(len(c.first), 3)]
	}
}

// on tells who announces an address of a Service, by each medium.
func (r *nodeReports) on(service name, addr netip.Addr) (by [media]crew) {
	text := addr.String()
	r.mu.Lock()
	defer r.mu.Unlock()
	for m, list := range r.of[service] {
		for i := range list {
			if !list[i].names(text) {
				continue
			}
			for n := range list[i].each {
				if node := r.nodes.text(n); !r.unseen[node] {
					by[m].add(node)
				}
			}
		}
	}
	return by
}

// names tells whether the nodes announce an address.
func (g *group) names(addr string) bool {
	if g.all {
		return true
	}
	for a := range strings.SplitSeq(g.addrs, ",") {
		if a == addr {
			return true
		}
	}
	return false
}

func (g *group) has(n uint32) bool {
	return int(n/64) < len(g.nodes) && g.nodes[n/64]&(1<<(n%64)) != 0
}

// each visits the numbers of the nodes.
func (g *group) each(visit func(uint32) bool) {
	for i, set := range g.nodes {
		for ; set != 0; set &= set - 1 {
			if !visit(uint32(i*64 + bits.TrailingZeros64(set))) {
				return
			}
		}
	}
}

// including returns a set with one number more.
func including(set []uint64, n uint32) []uint64 {
	out := make([]uint64, max(len(set), int(n/64)+1))
	copy(out, set)
	out[n/64] |= 1 << (n % 64)
	return out
}

// excluding returns a set with one number less; nil: it is empty.
func excluding(set []uint64, n uint32) []uint64 {
	out := slices.Clone(set)
	out[n/64] &^= 1 << (n % 64)
	for len(out) > 0 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	if len(out) == 0 {
		return nil
	}
	return slices.Clip(out)
}
