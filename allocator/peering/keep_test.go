package peering

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
)

// Invariant 7, by what an operator does to one advertisement that is in use.
func TestRefusedAdvertisementStaysAsItWas(t *testing.T) {
	aggregate := advert(func(a *Advertisement) {
		a.Communities, a.Length4, a.Length6, a.LocalPref, a.Peers = []string{"blue"}, 24, 64, 100, []string{"r"}
	})
	was := allocator.BGPAdvertisement{
		Name: "a", Created: time.Unix(5, 0), Peers: []string{"r"}, Without: []string{"narrow"}, Length4: 24, Length6: 64,
		Attributes: allocator.Attributes{LocalPref: 100, Communities: []uint32{64512<<16 | 7}},
	}
	other := advert(func(a *Advertisement) {
		a.Name, a.Created, a.Length4, a.Length6, a.Accepted = "other", time.Unix(6, 0), 24, 64, true
		a.LocalPref, a.NodeSelectors = 200, zoneA
	})
	elsewhere := other
	elsewhere.NodeSelectors = []allocator.Selector{{{Key: "zone", Operator: allocator.In, Values: []string{"c"}}}}
	for name, c := range map[string]struct {
		do      func(f *Facts)
		refused string // "": it is not
		want    *allocator.BGPAdvertisement
	}{
		"its Community is deleted":  {func(f *Facts) { f.Communities = nil }, "spec.communities names \"blue\"", &was},
		"it is edited badly":        {func(f *Facts) { f.Advertisements[0].Length4 = 33 }, "spec.aggregationLength is 33", &was},
		"it cannot be read":         {func(f *Facts) { f.Advertisements[0].Problem = fmt.Errorf("what?") }, "what?", &was},
		"it is edited into another": {func(f *Facts) { f.Advertisements[1] = other }, "spec.localPref is 100, and that of BGPAdvertisement other is 200", &was},
		"a node is relabelled": {func(f *Facts) {
			f.Nodes[0].Labels = map[string]string{"zone": "c"}
		}, "spec.localPref is 100, and that of BGPAdvertisement other is 200", &was},
		"it is edited not to fit":  {func(f *Facts) { f.Advertisements[0].Length4 = 23 }, "not used for pool narrow: ", &was},
		"the pool does not fit it": {func(f *Facts) { f.Pools[0].Addresses = []string{"192.0.2.0/25"} }, "not used for pool narrow: ", &was},
		"it is deleted":            {func(f *Facts) { f.Advertisements = f.Advertisements[1:] }, "", nil},
		"it is made anew, and bad": {func(f *Facts) {
			f.Advertisements[0].Created, f.Advertisements[0].Length4 = time.Unix(7, 0), 33
		}, "spec.aggregationLength is 33", nil},
		"nothing is known of before": {func(f *Facts) { f.Before, f.Communities = nil, nil }, "spec.communities names \"blue\"", nil},
		"a pool without it is gone":  {func(f *Facts) { f.Pools = f.Pools[:1] }, "", &was},
		"one more does not fit": {func(f *Facts) {
			f.Pools = append(f.Pools, allocator.Pool{Name: "more", Addresses: []string{"203.0.113.0/25"}})
		}, "", with(was, func(b *allocator.BGPAdvertisement) { b.Without = []string{"more", "narrow"} })},
		"refused, and one more does not fit": {func(f *Facts) {
			f.Communities, f.Pools = nil, append(f.Pools, allocator.Pool{Name: "more", Addresses: []string{"203.0.113.0/25"}})
		}, "spec.communities names \"blue\"", with(was, func(b *allocator.BGPAdvertisement) { b.Without = []string{"more", "narrow"} })},
	} {
		f := adFacts(aggregate, elsewhere)
		f.Before = Resolve(f)
		f.Nodes = slices.Clone(f.Nodes)
		f.Advertisements[1].Accepted = true
		c.do(&f)
		for range 2 { // what was kept once is kept on
			plan := Resolve(f)
			refused := errorText(plan.AdvertisementVerdicts["a"].Refused)
			stays := strings.HasSuffix(refused, "; it stays in use as it was before, on each node until holdfast is restarted there")
			if !strings.HasPrefix(refused, c.refused) || (refused == "") != (c.refused == "") || stays != (c.refused != "" && c.want != nil) {
				t.Errorf("%s: %s", name, refused)
			}
			if got := adNamed(plan, "a"); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, c.want)
			}
			if f.Before != nil {
				f.Before = plan
			}
		}
	}
}

func with(b allocator.BGPAdvertisement, change func(*allocator.BGPAdvertisement)) *allocator.BGPAdvertisement {
	change(&b)
	return &b
}

func adNamed(p *Plan, name string) *allocator.BGPAdvertisement {
	for i := range p.Advertisements {
		if p.Advertisements[i].Name == name {
			return &p.Advertisements[i]
		}
	}
	return nil
}

// kept tells which prefix was lost though nobody took it back: neither the
// advertisement is gone, nor the pool, nor does what is in use say otherwise.
func kept(t *rapid.T, resolve resolver) error {
	f := drawFacts(t)
	before := resolve(f)
	g := drawFacts(t)
	g.Before = before
	for i := range g.Advertisements {
		if i < len(f.Advertisements) && rapid.Bool().Draw(t, "the same object") {
			g.Advertisements[i].Created = f.Advertisements[i].Created
		}
	}
	if rapid.Bool().Draw(t, "another pool") {
		g.Pools = slices.Clone(g.Pools)
		g.Pools[0].Addresses = []string{pick(t, "addresses", "192.0.2.0/25", "192.0.2.0/24", "192.0.0.0/16")}
	}
	after := resolve(g)
	for _, is := range g.Advertisements {
		was, now := adNamed(before, is.Name), adNamed(after, is.Name)
		refused := after.AdvertisementVerdicts[is.Name].Refused != nil
		switch {
		case was == nil || !was.Created.Equal(is.Created):
			if refused != (now == nil) {
				return fmt.Errorf("%s was not in use; refused: %t, now %+v", is.Name, refused, now)
			}
			continue
		case now == nil:
			return fmt.Errorf("%s was in use, and is not", is.Name)
		case refused:
			same := *was
			same.Without = now.Without
			if !reflect.DeepEqual(same, *now) {
				return fmt.Errorf("%s was %+v, is refused and is %+v", is.Name, *was, *now)
			}
		}
		for _, pool := range []string{"wide", "narrow"} {
			used := func(b *allocator.BGPAdvertisement) bool {
				return (len(b.Pools) == 0 || slices.Contains(b.Pools, pool)) && !slices.Contains(b.Without, pool)
			}
			asked := refused || len(is.Pools) == 0 || slices.Contains(is.Pools, pool)
			if used(was) && asked && !used(now) {
				return fmt.Errorf("%s was used for pool %s and is not: %+v", is.Name, pool, *now)
			}
		}
	}
	for _, b := range after.Advertisements {
		if !slices.ContainsFunc(g.Advertisements, func(a Advertisement) bool { return a.Name == b.Name }) {
			return fmt.Errorf("%s is gone and in use", b.Name)
		}
	}
	return nil
}

// forgetful does not look at what was in use.
func forgetful(f Facts) *Plan {
	f.Before = nil
	return Resolve(f)
}

func TestNeverLosesWhatIsInUse(t *testing.T) { always(t, kept, forgetful) }

// Invariant 5, for a session that has BFD.
func TestUnusableProfileLeavesBFDAsItWas(t *testing.T) {
	with := Facts{
		Peers:    []Peer{router(func(p *Peer) { p.Profile = "fast" })},
		Profiles: []Profile{{Object: Object{Name: "fast"}, Transmit: 50}},
		Nodes:    []allocator.Node{{Name: "n"}},
	}
	was := Resolve(with)
	without := with
	without.Profiles, without.Before = nil, was
	for range 2 { // what was kept once is kept on
		now := Resolve(without)
		if got := now.Sessions("n"); !reflect.DeepEqual(got, was.Sessions("n")) || got[0].BFD == nil || now.Peers[got[0].Name].Warning == nil {
			t.Errorf("without the profile: %+v, %v", got, now.Peers)
		}
		without.Before = now
	}
	for name, change := range map[string]func(f *Facts){
		"nothing is known of before": func(f *Facts) { f.Before = nil },
		"the peer is made anew": func(f *Facts) {
			f.Peers = []Peer{router(func(p *Peer) { p.Profile, p.Created = "fast", time.Unix(9, 0) })}
		},
		"no profile is wanted": func(f *Facts) { f.Peers = []Peer{router(func(*Peer) {})} },
	} {
		f := without
		change(&f)
		if got := Resolve(f).Sessions("n"); got[0].BFD != nil {
			t.Errorf("%s: BFD %+v", name, got[0].BFD)
		}
	}
}
