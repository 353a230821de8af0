package bgp

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestViews(t *testing.T) {
	var a atlas
	p := func(s string) netip.Prefix { return netip.MustParsePrefix(s) }
	prefixes := []Prefix{
		{Prefix: p("2001:db8::1/128")},
		{Prefix: p("192.0.2.7/24"), Communities: []uint32{5, 3, 5}, LocalPref: 10},
		{Prefix: p("192.0.2.0/24"), Communities: []uint32{4}, LocalPref: 20, Peers: []string{"b"}, Weight: 2},
		{Prefix: p("10.0.0.1/32"), Peers: []string{"b", "c"}},
		{},
	}
	views, err := a.update(prefixes, []string{"a", "b", "d"})
	if err == nil {
		t.Error("a prefix that is none is not told of")
	}
	show := func(v *view) (s string) {
		for f := range families {
			for _, r := range slices.Concat(v[f]...) {
				s += fmt.Sprintf("%s%v%d ", r.prefix, r.attributes.communities, r.attributes.localPref)
			}
		}
		return s
	}
	for name, want := range map[string]string{
		"a": "192.0.2.0/24[3 5]10 2001:db8::1/128[]0 ",
		"b": "10.0.0.1/32[]0 192.0.2.0/24[3 4 5]20 2001:db8::1/128[]0 ",
		"d": "192.0.2.0/24[3 5]10 2001:db8::1/128[]0 ",
	} {
		if got := show(views[name]); got != want {
			t.Errorf("%s is told %s, want %s", name, got, want)
		}
	}
	if views["a"] != views["d"] {
		t.Error("peers that are told the same do not share it")
	}
	again, _ := a.update(prefixes, []string{"a"})
	if again["a"][ipv4][0][0].attributes != views["a"][ipv4][0][0].attributes {
		t.Error("equal attributes of two Sets are not the same: all would be told anew")
	}
}

// Told is what a peer shall be told of a prefix, worked out by hand.
type told struct {
	pref        uint32
	weight      float32
	communities string // sorted, each once
}

// byHand is what a peer shall be told of prefixes.
func byHand(prefixes []Prefix, name string) map[netip.Prefix]told {
	said := make(map[netip.Prefix]map[string]bool)
	all := make(map[netip.Prefix]told)
	for _, p := range prefixes {
		if !p.Prefix.IsValid() || len(p.Communities) > attributesMax/4 || // which are all different
			len(p.Peers) > 0 && !slices.Contains(p.Peers, name) {
			continue
		}
		at := p.Prefix.Masked()
		if said[at] == nil {
			said[at] = make(map[string]bool)
		}
		for _, c := range p.Communities {
			said[at][fmt.Sprintf("%010d", c)] = true
		}
		for _, c := range p.LargeCommunities {
			said[at][fmt.Sprintf("large %010d", c)] = true
		}
		all[at] = told{max(all[at].pref, p.LocalPref), max(all[at].weight, p.Weight), fmt.Sprint(slices.Sorted(maps.Keys(said[at])))}
	}
	return all
}

// shown is what a view says, and the attributes by which it says so.
func shown(v *view) (map[netip.Prefix]told, map[netip.Prefix]*attributes, error) {
	all, by := make(map[netip.Prefix]told), make(map[netip.Prefix]*attributes)
	for f := range families {
		var last netip.Prefix
		for _, piece := range v[f] {
			if len(piece) == 0 || len(piece) > pieceMax {
				return nil, nil, fmt.Errorf("a piece of %d routes", len(piece))
			}
			for _, r := range piece {
				if last.IsValid() && last.Compare(r.prefix) >= 0 || r.prefix.Addr().Is4() != (f == ipv4) {
					return nil, nil, fmt.Errorf("%s is behind %s in %s", r.prefix, last, f)
				}
				last = r.prefix
				var said []string
				for _, c := range r.attributes.communities {
					said = append(said, fmt.Sprintf("%010d", c))
				}
				for _, c := range r.attributes.large {
					said = append(said, fmt.Sprintf("large %010d", c))
				}
				all[r.prefix], by[r.prefix] = told{r.attributes.localPref, r.attributes.weight, fmt.Sprint(said)}, r.attributes
			}
		}
	}
	return all, by, nil
}

// tooMany are communities that do not fit into a message.
func tooMany() (all []uint32) {
	for i := range uint32(attributesMax/4 + 10) {
		all = append(all, 2*i)
	}
	return all
}

// edit draws a change of a list of prefixes.
func edit(t *rapid.T, all []Prefix) []Prefix {
	draw := func() Prefix {
		n := rapid.IntRange(0, 300).Draw(t, "prefix")
		p := Prefix{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 4), byte(n << 4)}), 28+n%3), LocalPref: uint32(n % 2),
			Peers: rapid.SampledFrom([][]string{nil, {}, {"a"}, {"a", "b"}, {"c"}}).Draw(t, "peers")}
		switch n % 7 {
		case 3:
			p.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(n)}), 128)
		case 4:
			p.Prefix = netip.Prefix{}
		case 5:
			p.LargeCommunities, p.Weight = [][3]uint32{{3, 2, 1}, {1, 2, uint32(n)}}, float32(n)
		}
		communities := [][]uint32{nil, {7}, {9, 7}, {7, 9}, {7, 7}, {9, 7, 9}, tooMany()}
		p.Communities = communities[rapid.IntRange(0, len(communities)-1).Draw(t, "communities")]
		return p
	}
	at := func() int { return rapid.IntRange(0, len(all)-1).Draw(t, "at") }
	kind := rapid.SampledFrom([]string{"append", "insert", "replace", "delete", "swap", "many", "shuffle", "half", "communities"}).Draw(t, "edit")
	switch {
	case kind == "append" || len(all) == 0:
		return append(all, draw())
	case kind == "insert":
		return slices.Insert(all, at(), draw())
	case kind == "replace":
		all[at()] = draw()
	case kind == "delete":
		i := at()
		return slices.Delete(all, i, i+1)
	case kind == "swap": // the last one takes the place of the one that goes
		all[at()] = all[len(all)-1]
		return all[:len(all)-1]
	case kind == "many":
		for range rapid.SampledFrom([]int{5, 40, 300}).Draw(t, "how many") {
			all = append(all, draw())
		}
	case kind == "shuffle":
		return rapid.Permutation(all).Draw(t, "order")
	case kind == "half":
		return all[:len(all)/2]
	case kind == "communities": // in place: nobody else has them
		if c := all[at()].Communities; len(c) > 0 {
			c[0]++
		}
	}
	return all
}

// checkViews plays lists of prefixes, and holds the views against what is wanted
// by hand. A view that has been given away never changes, and what is said of a
// prefix as before is said by the same attributes, so that it is not told again.
func checkViews(t *rapid.T, update func(a *atlas, prefixes []Prefix, peers []string) map[string]*view) error {
	var a atlas
	var prefixes []Prefix
	type memory struct {
		v    *view
		told map[netip.Prefix]told
		by   map[netip.Prefix]*attributes
	}
	given := make(map[string]memory)
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		for range rapid.IntRange(0, 3).Draw(t, "edits") {
			prefixes = edit(t, prefixes)
		}
		peers := rapid.SampledFrom([][]string{{"a", "b", "c"}, {"a", "b"}, {"b", "c", "d"}}).Draw(t, "peers")
		for name, v := range update(&a, prefixes, peers) {
			is, by, err := shown(v)
			if err != nil {
				return err
			}
			if want := byHand(prefixes, name); !maps.Equal(is, want) {
				return fmt.Errorf("%s is told %v, want %v", name, is, want)
			}
			was, ok := given[name]
			given[name] = memory{v, is, by}
			if !ok {
				continue
			}
			if still, _, err := shown(was.v); err != nil || !maps.Equal(still, was.told) {
				return fmt.Errorf("a view that %s was given has changed", name)
			}
			if !slices.Contains(peers, name) {
				continue
			}
			for p, said := range is {
				if was.told[p] == said && was.by[p] != by[p] {
					return fmt.Errorf("%s would be told %s again", name, p)
				}
			}
		}
		for name := range given {
			if !slices.Contains(peers, name) {
				delete(given, name)
			}
		}
		some := func(p Prefix) bool { return len(p.Peers) > 0 }
		if !slices.ContainsFunc(prefixes, some) && given[peers[0]].v != given[peers[1]].v {
			return fmt.Errorf("%s and %s do not share what they are told", peers[0], peers[1])
		}
	}
	return nil
}

func TestAlwaysToldWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		right := func(a *atlas, prefixes []Prefix, peers []string) map[string]*view {
			views, _ := a.update(prefixes, peers)
			return views
		}
		if err := checkViews(t, right); err != nil {
			t.Fatal(err)
		}
	})
}

// What the check is for, it sees: an atlas that does not look at lists of the
// same length, and one that remembers nothing.
func TestWrongAtlasesAreSeen(t *testing.T) {
	for name, wrong := range map[string]func(a *atlas, prefixes []Prefix, peers []string) map[string]*view{
		"blind": func(a *atlas, prefixes []Prefix, peers []string) map[string]*view {
			if len(prefixes) != len(a.entries) || a.views == nil {
				_, _ = a.update(prefixes, peers)
			}
			return a.views
		},
		"forgetful": func(a *atlas, prefixes []Prefix, peers []string) map[string]*view {
			views, _ := new(atlas).update(prefixes, peers)
			return views
		},
	} {
		seen := false
		rapid.Check(t, func(t *rapid.T) { seen = seen || checkViews(t, wrong) != nil })
		if !seen {
			t.Errorf("the check does not see an atlas that is %s", name)
		}
	}
}

// One change of many prefixes makes one piece anew, or two that were one, and
// only for the peers that it concerns.
func TestOneChangeOfMany(t *testing.T) {
	all := benchPrefixes(10_000)
	for i := range all {
		all[i].Communities = []uint32{9, 7} // in no order
		if i%2 > 0 {
			all[i].Peers = []string{"a", "b"}
		}
	}
	slices.SortFunc(all, func(x, y Prefix) int { return cmp.Compare(x.Prefix.Addr().As4()[3], y.Prefix.Addr().As4()[3]) })
	other := Prefix{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Peers: []string{"a", "b"}}
	for name, change := range map[string]func(all []Prefix) []Prefix{
		"nothing":  func(all []Prefix) []Prefix { return all },
		"appended": func(all []Prefix) []Prefix { return append(all, other) },
		"inserted": func(all []Prefix) []Prefix { return slices.Insert(all, 4711, other) },
		"deleted":  func(all []Prefix) []Prefix { return slices.Delete(all, 9001, 9002) },
		"replaced by the last": func(all []Prefix) []Prefix {
			all[9001] = all[9999]
			return all[:9999]
		},
		"communities": func(all []Prefix) []Prefix { all[9001].Communities = []uint32{7, 8, 9}; return all },
		"twice": func(all []Prefix) []Prefix {
			return slices.Insert(all, 9001, Prefix{Prefix: all[9001].Prefix, Peers: []string{"b"}})
		},
	} {
		var a atlas
		mine := slices.Clone(all)
		mine[9001].Peers, mine[9999].Peers = []string{"a", "b"}, []string{"a", "b"}
		before, _ := a.update(mine, []string{"a", "b", "c"})
		after, _ := a.update(change(slices.Clone(mine)), []string{"a", "b", "c"})
		for _, peer := range []string{"a", "b", "c"} {
			anew := 0
			for _, piece := range after[peer][ipv4] {
				if !slices.ContainsFunc(before[peer][ipv4], func(old []route) bool { return &old[0] == &piece[0] }) {
					anew++
				}
			}
			if anew > 2 || peer == "c" && after[peer] != before[peer] || name == "nothing" && after[peer] != before[peer] {
				t.Errorf("%s: of the %d pieces for %s %d are new", name, len(after[peer][ipv4]), peer, anew)
			}
		}
	}
}

// A prefix that is wanted twice fits into a message like any other.
func TestBothTooMany(t *testing.T) {
	var a atlas
	p := netip.MustParsePrefix("192.0.2.1/32")
	some, others := tooMany()[:500], tooMany()[500:]
	views, err := a.update([]Prefix{{Prefix: p, Communities: some}, {Prefix: p, Communities: others}}, []string{"a"})
	if err != nil || !slices.Equal(views["a"][ipv4][0][0].attributes.communities, some) {
		t.Errorf("told %v, %v", views["a"][ipv4], err)
	}
	if _, err := a.update([]Prefix{{Prefix: p, Communities: tooMany()}}, []string{"a"}); err == nil {
		t.Error("too many are not told of")
	}
}
