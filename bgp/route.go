package bgp

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
)

// attributes are what is said of a prefix, the same for all peers. Equal ones
// are one and the same pointer, from one Set to the next.
type attributes struct {
	localPref   uint32
	weight      float32
	communities []uint32    // sorted, each once
	large       [][3]uint32 // sorted, each once
}

// attributesMax is how many octets communities may take: one prefix must fit
// into a message beside them.
const attributesMax = 3500

// key is comparable, and equal for equal attributes.
func (a *attributes) key() string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 12+a.size()), a.localPref)
	b = binary.BigEndian.AppendUint32(b, math.Float32bits(a.weight))
	b = binary.BigEndian.AppendUint32(b, uint32(len(a.communities)))
	for _, c := range a.communities {
		b = binary.BigEndian.AppendUint32(b, c)
	}
	for _, l := range a.large {
		for _, part := range l {
			b = binary.BigEndian.AppendUint32(b, part)
		}
	}
	return string(b)
}

func (a *attributes) size() int { return 4*len(a.communities) + 12*len(a.large) }

// say tells whether they are what a prefix shall have. It may miss that they
// are, if the prefix names a community twice.
func (a *attributes) say(p *Prefix) bool {
	return a.localPref == p.LocalPref && a.weight == p.Weight && sameSet(a.communities, p.Communities) && sameSet(a.large, p.LargeCommunities)
}

// sameSet compares a list of different elements with one in any order.
func sameSet[T comparable](different, any []T) bool {
	if len(different) != len(any) {
		return false
	}
	for i, x := range different {
		if any[i] != x && !slices.Contains(any, x) {
			return false
		}
	}
	return true
}

// merge is what a peer gets that would get both.
func (a *attributes) merge(b *attributes) *attributes {
	return normal(max(a.localPref, b.localPref), max(a.weight, b.weight),
		slices.Concat(a.communities, b.communities), slices.Concat(a.large, b.large))
}

// normal takes slices over that are its own.
func normal(localPref uint32, weight float32, communities []uint32, large [][3]uint32) *attributes {
	slices.Sort(communities)
	slices.SortFunc(large, func(x, y [3]uint32) int { return slices.Compare(x[:], y[:]) })
	return &attributes{localPref: localPref, weight: weight, communities: slices.Compact(communities), large: slices.Compact(large)}
}

// A route is one prefix and what is said of it.
type route struct {
	prefix     netip.Prefix
	attributes *attributes
}

// compare is the order of routes; equal prefixes, the most common case, are fast.
func compare(a, b netip.Prefix) int {
	if a == b {
		return 0
	}
	return a.Compare(b)
}

// routes are sorted by prefix, each prefix once, in pieces that are never changed
// once made and never empty: of two lists that differ in one route, all other
// pieces are the same memory.
type routes [][]route

// pieceMax is how many routes a piece has at most: what one change copies.
const pieceMax = 256

// cut makes routes of a sorted list, which it copies.
func cut(sorted []route) routes {
	var out routes
	for n := (len(sorted) + pieceMax - 1) / pieceMax; n > 0; n-- {
		size := (len(sorted) + n - 1) / n
		out = append(out, slices.Clone(sorted[:size]))
		sorted = sorted[size:]
	}
	return out
}

func (l routes) len() (n int) {
	for _, piece := range l {
		n += len(piece)
	}
	return n
}

// with is the list after changes, sorted by prefix, of which one without
// attributes is a route that goes; and whether that is another list than l.
func (l routes) with(changes []route) (out routes, changed bool) {
	if len(l) == 0 {
		out = cut(slices.DeleteFunc(changes, func(r route) bool { return r.attributes == nil }))
		return out, len(out) > 0
	}
	for i, piece := range l {
		n := len(changes)
		if i+1 < len(l) { // those before the next piece
			n, _ = slices.BinarySearchFunc(changes, l[i+1][0].prefix, func(r route, p netip.Prefix) int { return compare(r.prefix, p) })
		}
		next, other := apply(piece, changes[:n])
		changes = changes[n:]
		if other && !changed {
			out, changed = append(make(routes, 0, len(l)+1), l[:i]...), true
		}
		last := len(out) - 1
		switch {
		case !changed:
		case !other:
			out = append(out, piece)
		case last >= 0 && len(out[last])+len(next) <= pieceMax/2: // many small ones would be slow
			out[last] = slices.Concat(out[last], next)
		default:
			out = append(out, cut(next)...)
		}
	}
	if !changed {
		return l, false
	}
	return out, true
}

// apply makes changes in one piece, and tells whether there are any.
func apply(piece, changes []route) (out []route, changed bool) {
	for _, c := range changes {
		i, found := slices.BinarySearchFunc(piece, c.prefix, func(r route, p netip.Prefix) int { return compare(r.prefix, p) })
		if found && piece[i].attributes == c.attributes || !found && c.attributes == nil {
			continue
		}
		if !changed {
			out, changed = make([]route, 0, len(piece)+len(changes)), true
		}
		out = append(out, piece[:i]...)
		piece = piece[i:]
		if found {
			piece = piece[1:]
		}
		if c.attributes != nil {
			out = append(out, c)
		}
	}
	if !changed {
		return piece, false
	}
	return append(out, piece...), true
}

// A walk goes along routes.
type walk struct {
	piece []route
	rest  routes
}

func (l routes) walk() walk { return walk{rest: l} }

// at tells whether there is a next route; it is piece[0].
func (w *walk) at() bool {
	if len(w.piece) == 0 && len(w.rest) > 0 {
		w.piece, w.rest = w.rest[0], w.rest[1:]
	}
	return len(w.piece) > 0
}

// skip goes on past what is the same memory in both.
func (w *walk) skip(v *walk) bool {
	if &w.piece[0] != &v.piece[0] {
		return false
	}
	n := min(len(w.piece), len(v.piece))
	w.piece, v.piece = w.piece[n:], v.piece[n:]
	return true
}

// next takes the next route.
func (w *walk) next() route {
	r := w.piece[0]
	w.piece = w.piece[1:]
	return r
}
