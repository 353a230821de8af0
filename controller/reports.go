package controller

import (
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
	heard   map[string]string // by node: its BGP sessions, as its object has them
	waits   [media]bool       // not listed yet
	absent  [media]bool       // the kind is not there
	changed map[name]bool     // Services of which something else is said
	sight   map[string]bool   // nodes in sight of this copy; nil: not known
	unseen  map[string]bool   // nodes whose reports do not count
	pending bool              // news is about to be told
}

// A group is the nodes that announce the same addresses of a Service by one medium.
type group struct {
	content
	nodes []uint64
}

// A content is what an object says beside who says it of what.
type content struct {
	addrs string // as the annotation names them
	all   bool   // all of the Service's: there is no annotation
	peers string // BGP peers that are told, with commas between them
}

func newReports() *nodeReports {
	return &nodeReports{
		news: make(chan struct{}, 1), of: map[name][media][]group{}, nodes: newWords(), heard: map[string]string{},
		waits: [media]bool{true, true}, changed: map[name]bool{},
	}
}

// A reportFact is what one object says.
type reportFact struct {
	service name   // zero: addrs are the node's BGP sessions
	node    string // "": nothing is said yet
	content
}

// put takes what a node says.
func (r *nodeReports) put(m medium, f reportFact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.node == "" {
		return
	}
	if f.service == (name{}) {
		r.hear(f.node, f.addrs, true)
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
		if list[i].content == f.content {
			return
		}
		list[i].nodes = excluding(list[i].nodes, n)
	}
	i := slices.IndexFunc(list, func(g group) bool { return g.content == f.content })
	if i < 0 {
		i, list = len(list), append(list, group{content: content{strings.Clone(f.addrs), f.all, strings.Clone(f.peers)}})
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
	if service == (name{}) {
		r.hear(node, "", false)
		return
	}
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

// hear takes which BGP sessions a node has; known: it says so.
func (r *nodeReports) hear(node, sessions string, known bool) {
	if old, was := r.heard[node]; was == known && old == sessions {
		return
	}
	if r.heard[node] = strings.Clone(sessions); !known {
		delete(r.heard, node)
	}
	if n, ok := r.nodes.number[node]; ok {
		r.turn(map[uint32]bool{n: true})
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
	for node := range r.heard {
		if m == byBGP && !said[name{}][node] {
			gone = append(gone, left{name{}, node})
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
	if len(turned) > 0 {
		r.turn(turned)
	}
}

// turn notes that what nodes say of Services is to be looked at again.
func (r *nodeReports) turn(turned map[uint32]bool) {
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
			reaches := r.reaching(medium(m), list[i].peers, addr)
			for n := range list[i].each {
				if node := r.nodes.text(n); !r.unseen[node] && reaches(node) {
					by[m].add(node)
				}
			}
		}
	}
	return by
}

// reaching tells of nodes whether one of the peers hears what they advertise: by BGP
// there must be a session for the address's family. A node that does not say which
// sessions it has is of an older version.
func (r *nodeReports) reaching(m medium, peers string, addr netip.Addr) func(node string) bool {
	if m != byBGP {
		return func(string) bool { return true }
	}
	answers := map[string]bool{} // by sessions: nearly all nodes have the same
	return func(node string) bool {
		sessions, known := r.heard[node]
		if !known {
			return true
		}
		answer, is := answers[sessions]
		if !is {
			for peer := range strings.SplitSeq(peers, ",") {
				answer = answer || lists(sessions, sessionText(peer, addr.Is4()))
			}
			answers[sessions] = answer
		}
		return answer
	}
}
