package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// attributes are what is said of a prefix, the same for all peers. Equal ones
// are one and the same pointer, from one Set to the next.
type attributes struct {
	localPref   uint32
	weight      float32
	communities []uint32    // sorted
	large       [][3]uint32 // sorted
}

// attributesMax is how many octets communities may take: one prefix must fit
// into a message beside them.
const attributesMax = 3500

// key is comparable, and equal for equal attributes.
func (a *attributes) key() string {
	b := binary.BigEndian.AppendUint32(nil, a.localPref)
	b = fmt.Appendf(b, "%x/%d/", a.weight, len(a.communities))
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

// A view is what one peer shall be told: sorted, without duplicates, never
// changed once made, and shared by the peers that shall be told the same.
type view [families][]route

// An atlas makes views of prefixes.
type atlas struct {
	known map[string]*attributes // by key
}

// intern is the one pointer for equal attributes. Those that are not used any
// more stay until the next call of sweep.
func (a *atlas) intern(attrs *attributes, used map[string]*attributes) *attributes {
	key := attrs.key()
	if one, ok := used[key]; ok {
		return one
	}
	if one, ok := a.known[key]; ok {
		attrs = one
	}
	used[key] = attrs
	return attrs
}

// A share is the routes of prefixes that the same peers get.
type share struct {
	peers  []string // nil: all
	routes []route
}

// views makes one for each peer. What cannot be advertised is in the error.
func (a *atlas) views(prefixes []Prefix, peers []string) (map[string]*view, error) {
	used := make(map[string]*attributes)
	shares, err := a.shares(prefixes, used)
	views := make(map[string]*view, len(peers))
	same := make(map[string]*view) // by which shares it is made of
	for _, name := range peers {
		var mine []*share
		var which []byte
		for i, s := range shares {
			if s.peers == nil || slices.Contains(s.peers, name) {
				mine = append(mine, s)
				which = binary.AppendUvarint(which, uint64(i))
			}
		}
		v, ok := same[string(which)]
		if !ok {
			v = a.view(mine, used)
			same[string(which)] = v
		}
		views[name] = v
	}
	a.known = used
	return views, err
}

// shares sorts prefixes by who gets them.
func (a *atlas) shares(prefixes []Prefix, used map[string]*attributes) (shares []*share, err error) {
	var bad []string
	var last *share // that of the prefix before, as a rule that of the next one too
	byPeers := make(map[string]*share)
	plain := make(map[uint32]*attributes) // by local preference, without anything else
	for i := range prefixes {
		p := &prefixes[i]
		if !p.Prefix.IsValid() {
			bad = append(bad, p.Prefix.String())
			continue
		}
		if last == nil || !slices.Equal(last.peers, p.Peers) {
			key := strings.Join(p.Peers, "\x00")
			if last = byPeers[key]; last == nil {
				last = &share{peers: append([]string(nil), p.Peers...)}
				if i == 0 {
					last.routes = make([]route, 0, len(prefixes)) // as a rule there is no other share
				}
				byPeers[key] = last
				shares = append(shares, last)
			}
		}
		attrs := a.attributesOf(p, plain, used)
		if attrs.size() > attributesMax {
			bad = append(bad, fmt.Sprintf("%s (its communities do not fit into a message)", p.Prefix))
			continue
		}
		last.routes = append(last.routes, route{p.Prefix.Masked(), attrs})
	}
	if bad != nil {
		err = fmt.Errorf("not advertised: %s", strings.Join(bad, ", "))
	}
	return shares, err
}

// attributesOf are a prefix's; those that say nothing but a local preference,
// the most common ones, are found without making a key.
func (a *atlas) attributesOf(p *Prefix, plain map[uint32]*attributes, used map[string]*attributes) *attributes {
	if len(p.Communities) > 0 || len(p.LargeCommunities) > 0 || p.Weight != 0 {
		return a.intern(normal(p.LocalPref, p.Weight, slices.Clone(p.Communities), slices.Clone(p.LargeCommunities)), used)
	}
	attrs := plain[p.LocalPref]
	if attrs == nil {
		attrs = a.intern(&attributes{localPref: p.LocalPref}, used)
		plain[p.LocalPref] = attrs
	}
	return attrs
}

// view joins shares. The routes of one alone it takes over: another view of that
// one alone is this very view.
func (a *atlas) view(shares []*share, used map[string]*attributes) *view {
	var all []route
	if len(shares) == 1 {
		all = shares[0].routes
	} else {
		n := 0
		for _, s := range shares {
			n += len(s.routes)
		}
		all = make([]route, 0, n)
		for _, s := range shares {
			all = append(all, s.routes...)
		}
	}
	byPrefix := func(x, y route) int { return x.prefix.Compare(y.prefix) }
	if !slices.IsSortedFunc(all, byPrefix) {
		slices.SortStableFunc(all, byPrefix)
	}
	all = a.unite(all, used)
	first6, _ := slices.BinarySearchFunc(all, true, func(r route, _ bool) int {
		if r.prefix.Addr().Is4() {
			return -1
		}
		return 1
	})
	return &view{ipv4: all[:first6:first6], ipv6: all[first6:]}
}

// unite makes one of neighbours with the same prefix.
func (a *atlas) unite(all []route, used map[string]*attributes) []route {
	kept := all[:0]
	for _, r := range all {
		if last := len(kept) - 1; last >= 0 && kept[last].prefix == r.prefix { // sorted: its like is beside it
			if kept[last].attributes != r.attributes {
				kept[last].attributes = a.intern(kept[last].attributes.merge(r.attributes), used)
			}
			continue
		}
		kept = append(kept, r)
	}
	return kept
}
