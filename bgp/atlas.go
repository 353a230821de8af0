package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A view is what one peer shall be told: never changed once made, and shared by
// the peers that shall be told the same.
type view [families]routes

// An audience is who gets a prefix.
type audience struct {
	names   []string // none: all
	entries int      // how many are for it
}

func (a *audience) has(name string) bool { return len(a.names) == 0 || slices.Contains(a.names, name) }

// An entry is one of the prefixes that are wanted.
type entry struct {
	route
	audience *audience // nil: it cannot be advertised
}

// says tells whether an entry is what would be made of a prefix. It may miss that.
func (e *entry) says(p *Prefix) bool {
	return e.audience != nil && e.prefix == p.Prefix && e.attributes.say(p) && slices.Equal(e.audience.names, p.Peers)
}

// An atlas makes views of prefixes. It remembers what it was given last, so that
// its work follows what has changed since: each prefix is compared with the one
// in its place, and of those that are equal nothing is made anew.
type atlas struct {
	entries   []entry                // in the order given
	views     map[string]*view       // by peer
	known     map[string]*attributes // by key
	before    map[string]*attributes // while all entries are made anew: those known before
	audiences []*audience
	byNames   map[string]*audience
	limit     int // of attributes and audiences, before those that are not used are forgotten
}

const (
	minTouched = 64 // prefixes, or a sixteenth of all: more are no longer looked at one by one
	maxShifts  = 16 // of the entries behind one that comes or goes
)

// update makes the view of each peer. What cannot be advertised is in the error.
func (a *atlas) update(prefixes []Prefix, peers []string) (map[string]*view, error) {
	var bad []string
	touched, few := a.follow(prefixes, &bad)
	if !few {
		touched, bad = nil, nil
		a.begin(prefixes, &bad)
	}
	sites := a.sites(touched)
	views := make(map[string]*view, len(peers))
	same := make(map[string]*view) // by the audiences that a peer belongs to
	for _, old := range []bool{true, false} {
		for _, name := range peers {
			was, ok := a.views[name]
			if ok != old {
				continue // the new peers take over what the old ones have
			}
			key := a.membership(name)
			if same[key] == nil && few && old {
				same[key] = a.amend(was, sites, name)
			} else if same[key] == nil {
				same[key] = a.draw(name)
			}
			views[name] = same[key]
		}
	}
	a.views, a.before = views, nil
	if bad != nil {
		return views, fmt.Errorf("not advertised: %s", strings.Join(bad, ", "))
	}
	return views, nil
}

// follow makes entries what is wanted now, and tells which prefixes that touches,
// as long as they are few.
func (a *atlas) follow(prefixes []Prefix, bad *[]string) (touched []netip.Prefix, few bool) {
	if a.known == nil {
		return nil, false
	}
	most, shifts := max(minTouched, len(a.entries)/16), 0
	for i := range prefixes {
		p := &prefixes[i]
		if i < len(a.entries) && a.entries[i].says(p) {
			continue
		}
		if len(touched) > most || len(a.known)+len(a.audiences) > a.limit {
			return nil, false
		}
		shift := shifts < maxShifts && i < len(a.entries)
		gone := shift && i+1 < len(a.entries) && a.entries[i+1].says(p)
		come := !gone && shift && i+1 < len(prefixes) && a.entries[i].says(&prefixes[i+1])
		var was, is entry
		if !come && i < len(a.entries) {
			was = a.entries[i]
		}
		if !gone {
			is = a.entry(p, i, bad)
		}
		touched = touch(touched, was, is)
		switch {
		case gone:
			a.entries = slices.Delete(a.entries, i, i+1)
			shifts++
		case come:
			a.entries = slices.Insert(a.entries, i, is)
			shifts++
		case i < len(a.entries):
			a.entries[i] = is
		default:
			a.entries = append(a.entries, is)
		}
	}
	for _, e := range a.entries[len(prefixes):] {
		touched = touch(touched, e, entry{})
	}
	a.entries = slices.Delete(a.entries, len(prefixes), len(a.entries))
	return touched, len(touched) <= most
}

// touch adds the prefixes of an entry that takes the place of another.
func touch(touched []netip.Prefix, was, is entry) []netip.Prefix {
	if was == is {
		return touched
	}
	if was.audience != nil {
		was.audience.entries--
		touched = append(touched, was.prefix)
	}
	if is.audience != nil {
		is.audience.entries++
		touched = append(touched, is.prefix)
	}
	return touched
}

// begin makes all entries anew, and forgets attributes and audiences that are not
// used any more.
func (a *atlas) begin(prefixes []Prefix, bad *[]string) {
	a.before, a.known = a.known, make(map[string]*attributes)
	a.audiences, a.byNames = nil, make(map[string]*audience)
	a.entries = make([]entry, 0, len(prefixes))
	for i := range prefixes {
		r := a.entry(&prefixes[i], i, bad)
		if r.audience != nil {
			r.audience.entries++
		}
		a.entries = append(a.entries, r)
	}
	a.limit = 2*(len(a.known)+len(a.audiences)) + 1024
}

// entry is made of the prefix that is given in place i.
func (a *atlas) entry(p *Prefix, i int, bad *[]string) (e entry) {
	if !p.Prefix.IsValid() {
		*bad = append(*bad, p.Prefix.String())
		return entry{}
	}
	if i > 0 && i <= len(a.entries) { // as a rule it is like its neighbour
		e = a.entries[i-1]
	}
	e.prefix = p.Prefix.Masked()
	if e.audience == nil || !e.attributes.say(p) {
		attrs := normal(p.LocalPref, p.Weight, slices.Clone(p.Communities), slices.Clone(p.LargeCommunities))
		if attrs.size() > attributesMax {
			*bad = append(*bad, fmt.Sprintf("%s (its communities do not fit into a message)", p.Prefix))
			return entry{}
		}
		e.attributes = a.intern(attrs)
	}
	if e.audience == nil || !slices.Equal(e.audience.names, p.Peers) {
		e.audience = a.audience(p.Peers)
	}
	return e
}

// intern is the one pointer for equal attributes.
func (a *atlas) intern(attrs *attributes) *attributes {
	key := attrs.key()
	if one, ok := a.known[key]; ok {
		return one
	}
	if one, ok := a.before[key]; ok {
		attrs = one
	}
	a.known[key] = attrs
	return attrs
}

func (a *atlas) audience(names []string) *audience {
	key := strings.Join(names, "\x00")
	if one, ok := a.byNames[key]; ok {
		return one
	}
	one := &audience{names: slices.Clone(names)}
	a.byNames[key] = one
	a.audiences = append(a.audiences, one)
	return one
}

// membership tells peers apart that get different entries.
func (a *atlas) membership(name string) string {
	var which []byte
	for i, one := range a.audiences {
		if one.entries > 0 && one.has(name) {
			which = binary.AppendUvarint(which, uint64(i))
		}
	}
	return string(which)
}

// A site is a prefix that has been touched, and the entries for it now.
type site struct {
	prefix  netip.Prefix
	entries []entry
}

// sites are those of prefixes, sorted.
func (a *atlas) sites(prefixes []netip.Prefix) []site {
	if len(prefixes) == 0 {
		return nil
	}
	slices.SortFunc(prefixes, compare)
	prefixes = slices.Compact(prefixes)
	all := make([]site, len(prefixes))
	where := make(map[netip.Prefix]int, len(prefixes))
	for i, p := range prefixes {
		all[i].prefix, where[p] = p, i
	}
	for i := range a.entries {
		e := &a.entries[i]
		if len(prefixes) <= 4 && !slices.Contains(prefixes, e.prefix) {
			continue // faster than the map
		}
		if at, ok := where[e.prefix]; ok && e.audience != nil {
			all[at].entries = append(all[at].entries, *e)
		}
	}
	return all
}

// amend is the view of a peer after what has happened at sites.
func (a *atlas) amend(was *view, sites []site, name string) *view {
	var changes [families][]route
	for _, s := range sites {
		change := route{prefix: s.prefix}
		for _, r := range s.entries {
			if r.audience.has(name) {
				change.attributes = a.both(change.attributes, r.attributes)
			}
		}
		f := kind(s.prefix)
		changes[f] = append(changes[f], change)
	}
	next, changed := *was, false
	for f := range families {
		var other bool
		next[f], other = was[f].with(changes[f])
		changed = changed || other
	}
	if !changed {
		return was
	}
	return &next
}

// draw is the view of a peer from nothing.
func (a *atlas) draw(name string) *view {
	all := make([]route, 0, len(a.entries))
	var last *audience // that of the entry before, as a rule that of the next one too
	has := false
	for i := range a.entries {
		r := &a.entries[i]
		if r.audience == nil {
			continue
		}
		if r.audience != last {
			last, has = r.audience, r.audience.has(name)
		}
		if has {
			all = append(all, r.route)
		}
	}
	byPrefix := func(x, y route) int { return compare(x.prefix, y.prefix) }
	if !slices.IsSortedFunc(all, byPrefix) {
		slices.SortStableFunc(all, byPrefix)
	}
	kept := all[:0]
	for _, r := range all {
		if last := len(kept) - 1; last >= 0 && kept[last].prefix == r.prefix { // sorted: its like is beside it
			kept[last].attributes = a.both(kept[last].attributes, r.attributes)
			continue
		}
		kept = append(kept, r)
	}
	first6, _ := slices.BinarySearchFunc(kept, ipv6, func(r route, f family) int { return int(kind(r.prefix)) - int(f) })
	return &view{ipv4: cut(kept[:first6]), ipv6: cut(kept[first6:])}
}

// both are the attributes of a prefix that is wanted twice; x may be nil. If those
// of both do not fit into a message, the ones that were given first stand alone.
func (a *atlas) both(x, y *attributes) *attributes {
	if x == nil || x == y {
		return y
	}
	if m := x.merge(y); m.size() <= attributesMax {
		return a.intern(m)
	}
	return x
}

func kind(p netip.Prefix) family {
	if p.Addr().Is4() {
		return ipv4
	}
	return ipv6
}
