package controller

import (
	"math/bits"
	"slices"
	"strings"
)

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

// names tells whether the nodes announce an address.
func (g *group) names(addr string) bool {
	return g.all || lists(g.addrs, addr)
}

// lists tells whether a list with commas has an item.
func lists(list, item string) bool {
	for i := range strings.SplitSeq(list, ",") {
		if i == item {
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
