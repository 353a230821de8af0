package peering

import (
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"holdfast.dev/holdfast/allocator"
)

// nodes are the nodes of the cluster, by name, and which of them selectors select.
type nodes struct {
	all   []allocator.Node
	owner map[netip.Addr]int // whose address it is
	sets  map[string]*set    // by their rule
}

// A set is what selectors select.
type set struct {
	rule string   // the selectors, in canonical form
	bits []uint64 // one for each node
}

func newNodes(all []allocator.Node) *nodes {
	n := &nodes{all: slices.Clone(all), owner: map[netip.Addr]int{}, sets: map[string]*set{}}
	slices.SortFunc(n.all, func(a, b allocator.Node) int { return strings.Compare(a.Name, b.Name) })
	for i := range n.all {
		for _, a := range n.all[i].Addresses {
			n.owner[a] = i
		}
	}
	return n
}

// selected returns the nodes that one of the selectors matches; without any, all.
func (n *nodes) selected(selectors []allocator.Selector) *set {
	rule := canonicalList(selectors)
	s := n.sets[rule]
	if s != nil {
		return s
	}
	s = &set{rule: rule, bits: make([]uint64, (len(n.all)+63)/64)}
	for i := range n.all {
		if selects(selectors, n.all[i].Labels) {
			s.add(i)
		}
	}
	n.sets[rule] = s
	return s
}

func (s *set) has(i int) bool { return s.bits[i/64]&(1<<(i%64)) != 0 }

func (s *set) add(i int) { s.bits[i/64] |= 1 << (i % 64) }

func (s *set) only(i int) *set {
	out := &set{rule: s.rule, bits: make([]uint64, len(s.bits))}
	out.add(i)
	return out
}

func (s *set) without(i int) *set {
	out := &set{rule: s.rule, bits: slices.Clone(s.bits)}
	out.bits[i/64] &^= 1 << (i % 64)
	return out
}

func (s *set) size() (n int) {
	for _, w := range s.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// common returns the first node of two sets, and whether there is one. As long as no
// node is known it assumes so, and of the same selectors always.
func (n *nodes) common(a, b *set) (node string, is bool) {
	for i := range a.bits {
		if both := a.bits[i] & b.bits[i]; both != 0 {
			return n.all[64*i+bits.TrailingZeros64(both)].Name, true
		}
	}
	return "", len(n.all) == 0 || a.rule == b.rule
}

// selects tells whether one of the selectors matches; none matches everything.
func selects(selectors []allocator.Selector, labels map[string]string) bool {
	return len(selectors) == 0 || slices.ContainsFunc(selectors, func(s allocator.Selector) bool { return s.Matches(labels) })
}
