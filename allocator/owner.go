package allocator

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Owner chooses who answers for the address on the segment: among the living
// candidates of the greatest weight the present owner if it is one of them, else
// one with endpoints of every Service, else whoever comes first in an order that
// the address itself gives (rendezvous hashing). The heir is who would follow.
// Every node that sees the same chooses the same. No living candidate: "".
func (t Seat) Owner(alive func(node string) bool, present string) (owner, heir string) {
	var first, second bid
	for i := range t.Layer2 {
		c := &t.Layer2[i]
		if !alive(c.Node) {
			continue
		}
		_, full := slices.BinarySearch(t.Full, c.Node)
		b := bid{c.Node, c.Weight, c.Node == present, full, rendezvous(c.Node, t.Addr)}
		switch {
		case b.over(first):
			first, second = b, first
		case b.over(second):
			second = b
		}
	}
	return first.node, second.node
}

// A bid is what a node has to offer for an address.
type bid struct {
	node    string
	weight  int
	present bool
	full    bool
	hash    uint64
}

// over tells whether the bid wins against another. The empty bid wins against none.
func (b bid) over(o bid) bool {
	if b.node == "" || o.node == "" {
		return b.node != ""
	}
	return cmp.Or(cmp.Compare(b.weight, o.weight), truth(b.present, o.present), truth(b.full, o.full),
		cmp.Compare(b.hash, o.hash), strings.Compare(o.node, b.node)) > 0
}

func truth(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// rendezvous mixes node and address (FNV-1a, then the finalizer of MurmurHash3).
func rendezvous(node string, a netip.Addr) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(node) {
		h = (h ^ uint64(node[i])) * 1099511628211
	}
	for _, x := range a.As16() {
		h = (h ^ uint64(x)) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
