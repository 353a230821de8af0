package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"pgregory.net/rapid"
)

// A model is a router that applies UPDATEs in order, read by the codec's parser
// rather than by anything of ours. A route is what it was last told of a prefix.
type model struct {
	routes map[netip.Prefix]string
	ends   map[family]int
	never  func(map[netip.Prefix]string) error // holds after each message
}

func newModel() *model {
	return &model{routes: make(map[netip.Prefix]string), ends: make(map[family]int)}
}

// apply reads messages to the last octet.
func (m *model) apply(stream []byte) error {
	for len(stream) > 0 {
		if len(stream) < headerLen {
			return fmt.Errorf("%d octets are left over", len(stream))
		}
		length := int(stream[16])<<8 | int(stream[17])
		if length > maxMessageLen || length > len(stream) {
			return fmt.Errorf("a message of %d octets in %d", length, len(stream))
		}
		message, err := packet.ParseBGPMessage(stream[:length])
		if err != nil {
			return err
		}
		stream = stream[length:]
		u, ok := message.Body.(*packet.BGPUpdate)
		if !ok {
			continue
		}
		m.update(u)
		if m.never != nil {
			if err := m.never(m.routes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *model) update(u *packet.BGPUpdate) {
	if end, f := u.IsEndOfRib(); end {
		if f == packet.RF_IPv4_UC {
			m.ends[ipv4]++
		} else {
			m.ends[ipv6]++
		}
	}
	for _, w := range u.WithdrawnRoutes {
		delete(m.routes, netip.MustParsePrefix(w.String()))
	}
	said, nlri := "", u.NLRI
	var reach []packet.AddrPrefixInterface
	for _, p := range nlri {
		reach = append(reach, p)
	}
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *packet.PathAttributeMpReachNLRI:
			reach = append(reach, a.Value...)
			said += "next hop " + a.Nexthop.String() + " "
		case *packet.PathAttributeMpUnreachNLRI:
			for _, p := range a.Value {
				delete(m.routes, netip.MustParsePrefix(p.String()))
			}
		case *packet.PathAttributeNextHop:
			said += "next hop " + a.Value.String() + " "
		case *packet.PathAttributeCommunities:
			said += fmt.Sprint(a.Value, " ")
		case *packet.PathAttributeLocalPref:
			said += fmt.Sprint("pref ", a.Value, " ")
		}
	}
	for _, p := range reach {
		m.routes[netip.MustParsePrefix(p.String())] = said
	}
}

// A teller is what is tested: it makes a peer that was told one thing be told another.
type teller interface {
	turn(f family, want routes, h hop) step
	again(f family, want routes, h hop) step
}

// forgetful does not withdraw what is told again after a change of next hop, and
// hasty withdraws before it announces: what the check below must see.
type forgetful struct{ table }

func (w *forgetful) turn(f family, want routes, h hop) step {
	s := w.table.turn(f, want, h)
	if h != s.was {
		s.withdraw = nil
	}
	return s
}

type hasty struct{ table }

func (w *hasty) turn(f family, want routes, h hop) step {
	s := w.table.turn(f, want, h)
	for _, piece := range s.announce {
		for _, r := range piece {
			s.withdraw = append(s.withdraw, r.prefix)
		}
	}
	return s
}

func (d dialect) tell(f family, s step, w teller) []byte {
	if _, ok := w.(*hasty); !ok {
		out, _ := d.write(nil, f, s)
		return out
	}
	out, _ := d.write(nil, f, step{withdraw: s.withdraw, was: s.was})
	more, _ := d.write(nil, f, step{announce: s.announce, hop: s.hop})
	return append(out, more...)
}

// drawRoutes draws a sorted set of routes of a family; some sets are large.
func drawRoutes(t *rapid.T, f family, known []*attributes) []route {
	var all []route
	n := rapid.SampledFrom([]int{0, 1, 3, 40, 1500}).Draw(t, "routes")
	from := rapid.IntRange(0, 60).Draw(t, "from")
	gap := rapid.IntRange(1, 3).Draw(t, "gap")
	for i := range n {
		k := from + i*gap
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(k >> 16), byte(k >> 8), byte(k)}), 32)
		if f == ipv6 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(k >> 8), 15: byte(k)}), 128)
		}
		all = append(all, route{p, known[(k*7+n)%len(known)]})
	}
	return all
}

// changes are what makes another list of one, as routes.with takes them.
func changes(was, is []route) (all []route) {
	wanted := make(map[netip.Prefix]bool)
	for _, r := range is {
		wanted[r.prefix] = true
	}
	for _, r := range was {
		if !wanted[r.prefix] {
			all = append(all, route{prefix: r.prefix})
		}
	}
	all = append(all, is...) // also what stays as it is
	slices.SortFunc(all, func(x, y route) int { return x.prefix.Compare(y.prefix) })
	return all
}

// checkTelling plays sets, refreshes and changes of next hop, and holds what the
// model has against what it shall have.
func checkTelling(t *rapid.T, w teller) error {
	known := []*attributes{{}, {communities: []uint32{1, 2}}, {localPref: 7}, {communities: []uint32{9}, large: [][3]uint32{{1, 2, 3}}, weight: 5}}
	d := dialect{internal: rapid.Bool().Draw(t, "internal"), as: 4200000001, fourOctetAS: true}
	hops := map[family][]hop{ipv4: {hopOf(netip.MustParseAddr("10.9.9.9")), hopOf(netip.MustParseAddr("fd00::9")), ""},
		ipv6: {hopOf(netip.MustParseAddr("fd00::9")), hopOf(netip.MustParseAddr("fd00::8")), ""}}
	m := newModel()
	want := map[family][]route{}
	lists := map[family]routes{} // of want
	for range rapid.IntRange(1, 8).Draw(t, "steps") {
		f := family(rapid.IntRange(0, 1).Draw(t, "family"))
		h := rapid.SampledFrom(hops[f]).Draw(t, "hop")
		before := m.routes
		next := drawRoutes(t, f, known)
		if len(want[f]) > 0 && rapid.Bool().Draw(t, "one route") {
			next = slices.Clone(want[f])
			i := rapid.IntRange(0, len(next)-1).Draw(t, "at")
			if rapid.Bool().Draw(t, "goes") {
				next = slices.Delete(next, i, i+1)
			} else {
				next[i].attributes = rapid.SampledFrom(known).Draw(t, "attributes")
			}
		}
		if h == "" {
			next = nil
		}
		if rapid.Bool().Draw(t, "anew") {
			lists[f] = cut(next)
		} else {
			lists[f], _ = lists[f].with(changes(want[f], next))
		}
		kept := make(map[netip.Prefix]bool)
		for _, r := range next {
			if _, ok := before[r.prefix]; ok {
				kept[r.prefix] = true
			}
		}
		m.never = func(routes map[netip.Prefix]string) error {
			for p := range kept {
				if _, ok := routes[p]; !ok {
					return fmt.Errorf("%s is missing on the way", p)
				}
			}
			return nil
		}
		var s step
		if rapid.Bool().Draw(t, "refresh") {
			s = w.again(f, lists[f], h)
		} else {
			s = w.turn(f, lists[f], h)
		}
		if err := m.apply(d.tell(f, s, w)); err != nil {
			return err
		}
		want[f] = next
		desired := make(map[netip.Prefix]bool)
		for _, routes := range want {
			for _, r := range routes {
				desired[r.prefix] = true
			}
		}
		if got := maps.Clone(m.routes); len(got) != len(desired) {
			return fmt.Errorf("the router has %d routes, %d are wanted", len(got), len(desired))
		}
		reference := newModel() // told everything at once, by a session of its own
		for f, routes := range want {
			if len(routes) > 0 {
				out, _ := d.write(nil, f, step{announce: [][]route{routes}, hop: currentHop(w, f)})
				if err := reference.apply(out); err != nil {
					return err
				}
			}
		}
		if !maps.Equal(m.routes, reference.routes) {
			return fmt.Errorf("the router has other routes than one that was told everything anew")
		}
	}
	return nil
}

func currentHop(w teller, f family) hop {
	switch w := w.(type) {
	case *forgetful:
		return w.hops[f]
	case *hasty:
		return w.hops[f]
	}
	return w.(*table).hops[f]
}

// Invariant 1.
func TestAlwaysToldTheDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := checkTelling(t, &table{}); err != nil {
			t.Fatal(err)
		}
	})
}

// What the check is for, it sees.
func TestWrongTablesAreSeen(t *testing.T) {
	for name, wrong := range map[string]func() teller{
		"forgetful": func() teller { return &forgetful{} },
		"hasty":     func() teller { return &hasty{} },
	} {
		seen := false
		rapid.Check(t, func(t *rapid.T) { seen = seen || checkTelling(t, wrong()) != nil })
		if !seen {
			t.Errorf("the check does not see a table that is %s", name)
		}
	}
}

// A set of many prefixes takes as few messages as RFC 4271's 4096 octets allow.
func TestMessagesAreFull(t *testing.T) {
	var routes []route
	a := &attributes{}
	for i := range 10000 {
		routes = append(routes, route{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32), a})
	}
	d := dialect{as: ourAS, fourOctetAS: true}
	out, n := d.write(nil, ipv4, step{announce: [][]route{routes}, hop: hopOf(netip.MustParseAddr("10.0.0.1"))})
	if n > len(out)/(maxMessageLen-5)+1 {
		t.Errorf("%d messages for %d octets", n, len(out))
	}
	m := newModel()
	if err := m.apply(out); err != nil || len(m.routes) != len(routes) {
		t.Errorf("%d routes arrive, %v", len(m.routes), err)
	}
}

// RFC 6793 §4.2.2: a speaker of two-octet AS numbers gets AS_TRANS, and the
// path as it is beside it.
func TestTwoOctetAS(t *testing.T) {
	d := dialect{as: 4200000001}
	out, _ := d.write(nil, ipv4, step{announce: [][]route{{{netip.MustParsePrefix("192.0.2.0/24"), &attributes{}}}}, hop: hopOf(netip.MustParseAddr("10.0.0.1"))})
	message, err := packet.ParseBGPMessage(out)
	if err != nil {
		t.Fatal(err)
	}
	var path, path4 string
	for _, a := range message.Body.(*packet.BGPUpdate).PathAttributes {
		switch a := a.(type) {
		case *packet.PathAttributeAsPath:
			path = a.String()
		case *packet.PathAttributeAs4Path:
			path4 = a.String()
		}
	}
	if want := fmt.Sprint(packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAsPathParam(2, []uint16{asTrans})})); path != want || path4 == "" {
		t.Errorf("AS_PATH %s, AS4_PATH %s", path, path4)
	}
}
