package peering

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
)

// A resolver is Resolve, or one that is wrong on purpose and proves that the
// properties see.
type resolver func(Facts) *Plan

// byName forgets what is in use and what is older.
func byName(f Facts) *Plan {
	f = copyOf(f)
	for _, o := range objectsOf(&f) {
		o.Accepted, o.Created = false, time.Time{}
	}
	return Resolve(f)
}

// byInput lets the order of the input decide.
func byInput(f Facts) *Plan {
	f = copyOf(f)
	for i, o := range objectsOf(&f) {
		o.Accepted, o.Created = false, time.Unix(int64(i), 0)
	}
	return Resolve(f)
}

// oneByOne looks at each peer by itself.
func oneByOne(f Facts) *Plan {
	plan := Resolve(f)
	plan.peers = nil
	for _, p := range f.Peers {
		g := f
		g.Peers = []Peer{p}
		one := Resolve(g)
		plan.peers, plan.Peers[p.Name] = append(plan.peers, one.peers...), one.Peers[p.Name]
	}
	return plan
}

func copyOf(f Facts) Facts {
	f.Peers, f.Profiles, f.Communities, f.Advertisements = slices.Clone(f.Peers), slices.Clone(f.Profiles), slices.Clone(f.Communities), slices.Clone(f.Advertisements)
	return f
}

func objectsOf(f *Facts) (all []*Object) {
	for i := range f.Peers {
		all = append(all, &f.Peers[i].Object)
	}
	for i := range f.Profiles {
		all = append(all, &f.Profiles[i].Object)
	}
	for i := range f.Communities {
		all = append(all, &f.Communities[i].Object)
	}
	for i := range f.Advertisements {
		all = append(all, &f.Advertisements[i].Object)
	}
	return all
}

func (p *Plan) verdicts() map[string]Verdict {
	out := map[string]Verdict{}
	for kind, verdicts := range map[string]map[string]Verdict{
		"peer": p.Peers, "profile": p.Profiles, "community": p.Communities, "advertisement": p.AdvertisementVerdicts,
	} {
		for n, v := range verdicts {
			out[kind+"/"+n] = v
		}
	}
	return out
}

func pick[T any](t *rapid.T, what string, from ...T) T { return rapid.SampledFrom(from).Draw(t, what) }

func drawSelectors(t *rapid.T) []allocator.Selector {
	zone := func(z string) allocator.Selector {
		return allocator.Selector{{Key: "zone", Operator: allocator.In, Values: []string{z}}}
	}
	return pick(t, "selectors", nil, nil, []allocator.Selector{zone("a")}, []allocator.Selector{zone("b")}, []allocator.Selector{zone("a"), zone("b")}, []allocator.Selector{zone("a"), zone("a")})
}

func drawObject(t *rapid.T, name string) Object {
	return Object{Name: name, Created: time.Unix(rapid.Int64Range(1, 3).Draw(t, "created"), 0), Accepted: rapid.Bool().Draw(t, "accepted")}
}

func drawPeer(t *rapid.T, name string) Peer {
	return Peer{
		Object: drawObject(t, name), MyAS: pick(t, "my AS", uint32(64512), 64512, 64512, 64600), PeerAS: pick(t, "peer AS", uint32(64513), 64513, 64512, 0),
		Address: pick(t, "address", "10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "10.0.0.11", "fe80::1"), VRF: pick(t, "vrf", "", "", "red"),
		RouterID: pick(t, "router ID", "", "", "1.1.1.1", "2.2.2.2"), HoldTime: pick(t, "hold", "", "9s", "1s"), Profile: pick(t, "profile", "", "f1", "f2"),
		PasswordSecret: pick(t, "secret", "", "good", "opaque", "none"), NodeSelectors: drawSelectors(t),
	}
}

func drawAdvertisement(t *rapid.T, name string) Advertisement {
	return Advertisement{
		Object: drawObject(t, name), Pools: pick(t, "pools", nil, []string{"wide"}, []string{"narrow", "gone"}), NodeSelectors: drawSelectors(t),
		Peers: pick(t, "peers", nil, []string{"p1"}, []string{"p2"}), Length4: pick(t, "length", 0, 24, 31), LocalPref: pick(t, "preference", uint32(0), 100, 200),
		Communities: pick(t, "communities", nil, []string{"c1"}, []string{"c2", "1:1"}, []string{"1:1", "1:1"}),
	}
}

func drawCommunity(t *rapid.T, name string) Community {
	return Community{Object: drawObject(t, name), Aliases: []Alias{
		{Name: pick(t, "name", "c1", "c2", "c3"), Value: pick(t, "value", "1:1", "1:2", "large:1:2:3", "c1")},
		{Name: pick(t, "name", "c1", "c4"), Value: "1:7"},
	}}
}

func drawFacts(t *rapid.T) Facts {
	f := adFacts()
	f.Peers, f.Communities, f.Secrets = nil, nil, secrets
	if rapid.Bool().Draw(t, "no nodes") {
		f.Nodes = nil
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "peers") {
		f.Peers = append(f.Peers, drawPeer(t, fmt.Sprint("p", i)))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "advertisements") {
		f.Advertisements = append(f.Advertisements, drawAdvertisement(t, fmt.Sprint("a", i)))
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "communities") {
		f.Communities = append(f.Communities, drawCommunity(t, fmt.Sprint("n", i)))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "profiles") {
		f.Profiles = append(f.Profiles, Profile{Object: drawObject(t, fmt.Sprint("f", i)), Echo: rapid.Bool().Draw(t, "echo")})
	}
	return f
}

// shuffled tells what differs when the facts come in another order: invariant 1.
func shuffled(t *rapid.T, resolve resolver) error {
	f := drawFacts(t)
	if rapid.Bool().Draw(t, "before") {
		f.Before = resolve(drawFacts(t))
	}
	g := f
	g.Peers, g.Advertisements = rapid.Permutation(f.Peers).Draw(t, "peers"), rapid.Permutation(f.Advertisements).Draw(t, "advertisements")
	g.Communities, g.Profiles = rapid.Permutation(f.Communities).Draw(t, "communities"), rapid.Permutation(f.Profiles).Draw(t, "profiles")
	g.Pools, g.Nodes = rapid.Permutation(f.Pools).Draw(t, "pools"), rapid.Permutation(f.Nodes).Draw(t, "nodes")
	a, b := resolve(f), resolve(g)
	if !reflect.DeepEqual(texts(a), texts(b)) || !reflect.DeepEqual(a.Advertisements, b.Advertisements) {
		return fmt.Errorf("%v %+v\nshuffled: %v %+v", texts(a), a.Advertisements, texts(b), b.Advertisements)
	}
	for _, n := range f.Nodes {
		if !reflect.DeepEqual(a.Sessions(n.Name), b.Sessions(n.Name)) {
			return fmt.Errorf("sessions of %s: %+v\nshuffled: %+v", n.Name, a.Sessions(n.Name), b.Sessions(n.Name))
		}
	}
	return nil
}

func texts(p *Plan) map[string]string {
	out := map[string]string{}
	for n, v := range p.verdicts() {
		out[n] = fmt.Sprint(v)
	}
	return out
}

// joined tells which object in use is refused when another is made, or one that is
// not in use edited: invariant 3.
func joined(t *rapid.T, resolve resolver) error {
	f := drawFacts(t)
	before := resolve(f)
	for kind, verdicts := range map[string]map[string]Verdict{"p": before.Peers, "a": before.AdvertisementVerdicts, "n": before.Communities, "f": before.Profiles} {
		for _, o := range objectsOf(&f) {
			if o.Name[:1] == kind {
				o.Accepted = verdicts[o.Name].Refused == nil
			}
		}
	}
	g := copyOf(f)
	if rapid.Bool().Draw(t, "before") {
		g.Before = before
	}
	if i := rapid.IntRange(0, 5).Draw(t, "peer"); i < len(g.Peers) {
		g.Peers[i] = drawPeer(t, g.Peers[i].Name)
		g.Peers[i].Accepted = false
	} else {
		g.Peers = append(g.Peers, drawPeer(t, "p-new"))
		g.Peers[len(g.Peers)-1].Accepted = false
	}
	if i := rapid.IntRange(0, 4).Draw(t, "advertisement"); i < len(g.Advertisements) {
		g.Advertisements[i] = drawAdvertisement(t, g.Advertisements[i].Name)
		g.Advertisements[i].Accepted = false
	} else {
		g.Advertisements = append(g.Advertisements, drawAdvertisement(t, "a-new"))
		g.Advertisements[len(g.Advertisements)-1].Accepted = false
	}
	g.Communities = append(g.Communities, drawCommunity(t, "n-new"))
	g.Communities[len(g.Communities)-1].Accepted = false
	after := resolve(g).verdicts()
	was := before.verdicts()
	for kind, objects := range map[string][]*Object{"peer": peersOf(&g), "advertisement": advertisementsOf(&g)} {
		for _, o := range objects {
			n := kind + "/" + o.Name
			if o.Accepted && was[n].Refused == nil && after[n].Refused != nil {
				return fmt.Errorf("%s was in use and is refused: %w", n, after[n].Refused)
			}
		}
	}
	return nil
}

func peersOf(f *Facts) []*Object          { return objectsOf(&Facts{Peers: f.Peers}) }
func advertisementsOf(f *Facts) []*Object { return objectsOf(&Facts{Advertisements: f.Advertisements}) }

// paired tells of two sessions on one node that are with one router, or of two ASes.
// A node keeps what it has of a frozen session, from one plan to the next.
func paired(t *rapid.T, resolve resolver) error {
	var before *Plan
	has := map[string]map[string]Session{} // by node and peer
	for range rapid.IntRange(1, 4).Draw(t, "edits") {
		f := drawFacts(t)
		f.Nodes, f.Before = cluster(), before
		f.Nodes[1].Labels = map[string]string{"zone": pick(t, "zone", "a", "b")}
		before = resolve(f)
		for _, n := range f.Nodes {
			now := map[string]Session{}
			for _, s := range before.Sessions(n.Name) {
				if was, ok := has[n.Name][s.Name]; s.Frozen && ok {
					now[s.Name] = was
				} else if !s.Frozen {
					now[s.Name] = s
				}
			}
			has[n.Name] = now
			if err := rivals(n, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// rivals tells which of the sessions of a node cannot be beside each other.
func rivals(n allocator.Node, sessions map[string]Session) error {
	type router struct {
		vrf  string
		addr netip.Addr
	}
	with, as := map[router]string{}, map[string]uint32{}
	for _, s := range sessions {
		r := router{s.VRF, s.Address}
		if with[r] != "" || as[s.VRF] != 0 && as[s.VRF] != s.MyAS || slices.Contains(n.Addresses, s.Address) {
			return fmt.Errorf("node %s: %s and %s: %+v", n.Name, with[r], s.Name, s)
		}
		with[r], as[s.VRF] = s.Name, s.MyAS
	}
	return nil
}

func always(t *testing.T, claim func(*rapid.T, resolver) error, wrong ...resolver) {
	rapid.Check(t, func(t *rapid.T) {
		if err := claim(t, Resolve); err != nil {
			t.Fatal(err)
		}
	})
	for i, w := range wrong {
		seen := false
		for seed := range 2000 {
			seen = seen || rapid.Custom(func(t *rapid.T) bool { return claim(t, w) != nil }).Example(seed)
		}
		if !seen {
			t.Errorf("the wrong one %d is not found out", i)
		}
	}
}

func TestAlwaysTheSamePlanInAnyOrder(t *testing.T)       { always(t, shuffled, byInput) }
func TestNeverRefusesWhatIsInUseForAnother(t *testing.T) { always(t, joined, byName) }
func TestNeverTwoSessionsWithOneRouter(t *testing.T)     { always(t, paired, oneByOne, forgetful) }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func BenchmarkResolve64Peers1000Nodes(b *testing.B) {
	var f Facts
	for i := range 1000 {
		f.Nodes = append(f.Nodes, allocator.Node{
			Name: fmt.Sprintf("n%04d", i), Labels: map[string]string{"rack": fmt.Sprint(i % 32)},
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(i % 250)})},
		})
	}
	for i := range 64 { // two routers for each rack, each with the addresses of the other racks' routers
		f.Peers = append(f.Peers, Peer{
			Object: Object{Name: fmt.Sprint("r", i)}, MyAS: 64512, PeerAS: 64513, Address: fmt.Sprint("10.0.0.", 1+i%2),
			NodeSelectors: []allocator.Selector{{{Key: "rack", Operator: allocator.In, Values: []string{fmt.Sprint(i / 2)}}}},
		})
	}
	f.Before = Resolve(f)
	for b.Loop() {
		if n := len(Resolve(f).Sessions("n0500")); n != 2 {
			b.Fatal(n)
		}
	}
}
