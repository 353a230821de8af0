package speaker

import (
	"net/netip"
	"slices"
	"strings"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/bgp"
)

// gracefulShutdown asks routers to prefer any other path (RFC 8326 §4.2).
const gracefulShutdown = 0xffff_0000

// perEndpoint is the link bandwidth that stands for one endpoint, in octets per
// second: 1 Mbit/s. Only the ratio matters to routers, and a few octets might be
// rounded to nothing.
const perEndpoint = 125_000

// table is what routers are to be told, prefix by prefix. Addresses whose routes
// are of one length share a prefix, which is there while one of them is. A change
// costs as much as the rows that it touches; the whole is copied out in order.
type table struct {
	rows map[netip.Prefix]*row
	list []*row                        // all of them
	of   map[netip.Addr][]contribution // what each address put in

	peers   []string // as of the rows
	parting []string // of these, those that are about to go
	copied  []bgp.Prefix
}

// row is one prefix.
type row struct {
	prefix netip.Prefix
	ads    []*origin    // by the names of advertisements, first what stays
	told   []bgp.Prefix // what routers are to be told of it
	at     int          // in table.list
}

// origin is one advertisement that makes a prefix, and the addresses behind it; of
// those that are about to go, it is one more.
type origin struct {
	advertisement string
	allocator.Attributes
	going   bool
	members []contribution // by address
}

// contribution is what one address says of a prefix.
type contribution struct {
	addr          netip.Addr
	prefix        netip.Prefix
	advertisement string
	weight        int
	going         bool     // is about to be withdrawn
	peers         []string // from which; empty: all
}

func newTable() table {
	return table{rows: map[netip.Prefix]*row{}, of: map[netip.Addr][]contribution{}}
}

// same tells whether one takes the other's place.
func (c contribution) same(d contribution) bool {
	return c.prefix == d.prefix && c.advertisement == d.advertisement && c.going == d.going
}

// put makes the table say what a path says now, and tells whether that differs.
func (t *table) put(p *path) (changed bool) {
	var now []contribution
	enter := func(r allocator.Route, going bool) {
		c := contribution{addr: p.Addr, prefix: r.Prefix, advertisement: r.Advertisement, going: going, peers: r.Peers}
		if len(r.Weights) > 0 {
			c.weight = r.Weights[0]
		}
		now = append(now, c)
		changed = t.enter(r, c) || changed
	}
	for _, r := range p.told {
		enter(r, false)
	}
	for _, d := range p.drains {
		enter(d.Route, true)
	}
	for _, c := range t.of[p.Addr] {
		if !slices.ContainsFunc(now, c.same) {
			t.leave(c)
			changed = true
		}
	}
	if t.of[p.Addr] = now; len(now) == 0 {
		delete(t.of, p.Addr)
	}
	return changed
}

func (t *table) enter(r allocator.Route, c contribution) bool {
	w := t.rows[r.Prefix]
	if w == nil {
		w = &row{prefix: r.Prefix, at: len(t.list)}
		t.rows[r.Prefix] = w
		t.list = append(t.list, w)
	}
	i, found := w.origin(c)
	if !found {
		w.ads = slices.Insert(w.ads, i, &origin{advertisement: r.Advertisement, going: c.going})
	}
	o := w.ads[i]
	j, there := o.member(c.addr)
	switch {
	case !there:
		o.members = slices.Insert(o.members, j, c)
	case o.members[j].weight == c.weight && slices.Equal(o.members[j].peers, c.peers) && o.Attributes.Equal(r.Attributes):
		return false
	default:
		o.members[j] = c
	}
	o.Attributes = r.Attributes
	w.tell(t.peers, t.parting)
	return true
}

func (t *table) leave(c contribution) {
	w := t.rows[c.prefix]
	i, _ := w.origin(c)
	o := w.ads[i]
	if j, there := o.member(c.addr); there {
		o.members = slices.Delete(o.members, j, j+1)
	}
	if len(o.members) == 0 {
		w.ads = slices.Delete(w.ads, i, i+1)
	}
	if len(w.ads) == 0 {
		last := t.list[len(t.list)-1]
		t.list[w.at], last.at = last, w.at
		t.list[len(t.list)-1] = nil
		t.list = t.list[:len(t.list)-1]
		delete(t.rows, c.prefix)
		return
	}
	w.tell(t.peers, t.parting)
}

func (w *row) origin(c contribution) (int, bool) {
	return slices.BinarySearchFunc(w.ads, c, func(o *origin, c contribution) int {
		if order := strings.Compare(o.advertisement, c.advertisement); order != 0 || o.going == c.going {
			return order
		} else if c.going {
			return -1
		}
		return 1
	})
}

func (o *origin) member(addr netip.Addr) (int, bool) {
	return slices.BinarySearchFunc(o.members, addr, func(c contribution, a netip.Addr) int { return c.addr.Compare(a) })
}

// prefixes is the whole table as it is to be told to routers. Those that are parting
// are asked to prefer other nodes for all of it. Both lists are sorted. The answer
// is valid until the next call.
func (t *table) prefixes(peers, parting []string) []bgp.Prefix {
	if !slices.Equal(peers, t.peers) || !slices.Equal(parting, t.parting) {
		t.peers, t.parting = peers, parting
		for _, w := range t.list {
			w.tell(peers, parting)
		}
	}
	t.copied = t.copied[:0]
	for _, w := range t.list {
		t.copied = append(t.copied, w.told...)
	}
	return t.copied
}

// tell works out what routers are to be told of a prefix. If it comes from two
// advertisements, a router is told of the one that goes only if the one that stays
// is not for it.
func (w *row) tell(peers, parting []string) {
	var covered []string
	everybody := false
	for _, o := range w.ads {
		if named := o.peers(); !o.going {
			covered, everybody = append(covered, named...), everybody || len(named) == 0
		}
	}
	w.told = make([]bgp.Prefix, 0, len(w.ads)) // a new one: the old one has been given away
	for _, o := range w.ads {
		named := o.peers()
		p := bgp.Prefix{Prefix: w.prefix, Peers: named, LocalPref: o.LocalPref, Communities: o.Communities, LargeCommunities: o.LargeCommunities, Weight: o.weight()}
		leaves := p
		leaves.Communities = append(slices.Clone(p.Communities), gracefulShutdown)
		switch {
		case o.going && everybody:
		case o.going && len(covered) > 0:
			w.telling(leaves, without(named, peers, covered))
		case o.going:
			w.told = append(w.told, leaves)
		case len(parting) > 0:
			stay := without(named, peers, parting)
			w.telling(p, stay)
			w.telling(leaves, without(named, peers, stay))
		default:
			w.told = append(w.told, p)
		}
	}
}

// peers are the names of those that an origin is for; none: all.
func (o *origin) peers() (names []string) {
	for i, c := range o.members {
		switch {
		case len(c.peers) == 0:
			return nil
		case i == 0:
			names = c.peers
		case !slices.Equal(names, c.peers):
			names = slices.Concat(names, without(c.peers, nil, names))
		}
	}
	return names
}

// telling has the peers told, if there are any: no peers would mean all.
func (w *row) telling(p bgp.Prefix, peers []string) {
	if p.Peers = peers; len(peers) > 0 {
		w.told = append(w.told, p)
	}
}

// weight is the link bandwidth of an origin by the endpoints behind it on this
// node; 0: not to be told.
func (o *origin) weight() (sum float32) {
	for _, c := range o.members {
		sum += float32(c.weight) * perEndpoint
	}
	return sum
}

// without are the named peers, all if none is named, but for some.
func without(named, all, but []string) (left []string) {
	if len(named) == 0 {
		named = all
	}
	for _, n := range named {
		if !slices.Contains(but, n) {
			left = append(left, n)
		}
	}
	return left
}
