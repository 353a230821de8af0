package allocator

import (
	"encoding/binary"
	"slices"
)

// Owner chooses who answers for the address on the segment. Among the living
// candidates of the greatest weight that is the present owner if it is one of
// them; else, among those that do not own clearly more addresses than another
// one (Crowded), a node with endpoints of every Service, else whoever comes first
// in an order that the address itself gives. load tells how many addresses a node
// owns; nil: as many as the others. Every node that sees the same chooses the
// same. No living candidate: "". The heir is the owner among the others.
func (t Seat) Owner(alive func(node string) bool, present string, load func(node string) int) string {
	weight, least := t.field(alive, load)
	stays := func(c Candidate) bool { return c.Node == present && c.Weight == weight && alive(present) }
	if slices.ContainsFunc(t.Layer2, stays) {
		return present
	}
	best, found := 0, ""
	t.inOrder(weight, func(node string) bool {
		if !alive(node) {
			return true
		}
		merit := 1
		if _, full := slices.BinarySearch(t.Full, node); full {
			merit++
		}
		if load == nil || !Crowded(load(node), least) {
			merit += 2
		}
		if merit > best {
			best, found = merit, node
		}
		return merit < 4
	})
	return found
}

// field returns the greatest weight of a living candidate, and the least load of
// those that have it.
func (t Seat) field(alive func(node string) bool, load func(node string) int) (weight, least int) {
	any := false
	for i := range t.Layer2 {
		c := &t.Layer2[i]
		if any && c.Weight < weight || !alive(c.Node) {
			continue
		}
		n := 0
		if load != nil {
			n = load(c.Node)
		}
		if !any || c.Weight > weight || n < least {
			weight, least, any = c.Weight, n, true
		}
	}
	return weight, least
}

// Crowded tells whether a node with a load owns clearly more addresses than one
// with the least: by more than a fifth, and more than two.
func Crowded(load, least int) bool { return load > least+max(2, least/5) }

// inOrder shows the candidates of a weight in the order that the address gives,
// until one suffices: the address, as a number in the factorial number system, is
// the number of a permutation. So addresses that follow one another, as those of
// a pool do, are dealt out evenly, and so are those of a node that dies. The order
// does not depend on who lives, so that nodes which differ about a third one agree
// about the others. It does depend on who is a candidate; but it is asked for
// only where nobody owns the address.
func (t Seat) inOrder(weight int, show func(node string) (more bool)) {
	rest := make([]string, 0, len(t.Layer2))
	for i := range t.Layer2 {
		if t.Layer2[i].Weight == weight {
			rest = append(rest, t.Layer2[i].Node)
		}
	}
	slices.Sort(rest)
	b := t.Addr.As16()
	x := binary.BigEndian.Uint64(b[8:])
	for len(rest) > 0 {
		n := uint64(len(rest))
		i := int(x % n)
		if x /= n; !show(rest[i]) {
			return
		}
		rest = slices.Delete(rest, i, i+1)
	}
}
