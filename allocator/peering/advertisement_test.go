package peering

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

func advert(change func(*Advertisement)) Advertisement {
	a := Advertisement{Object: Object{Name: "a", Created: time.Unix(5, 0)}}
	change(&a)
	return a
}

var small = []allocator.Selector{{{Key: "size", Operator: allocator.Exists}}}

func adFacts(ads ...Advertisement) Facts {
	return Facts{
		Nodes: cluster(), Advertisements: ads, Peers: []Peer{router(func(*Peer) {})},
		Pools: []allocator.Pool{
			{Name: "wide", Addresses: []string{"192.0.2.0/24", "2001:db8:1::/64"}},
			{Name: "narrow", Labels: map[string]string{"size": "s"}, Addresses: []string{"198.51.100.1-198.51.100.6"}},
			{Name: "broken", Addresses: []string{"198.51.100.0/33"}},
		},
		Communities: []Community{{Object: Object{Name: "names"}, Aliases: []Alias{{"blue", "64512:7"}, {"huge", "large:1:2:4294967295"}}}},
	}
}

func TestAdvertisementIsResolved(t *testing.T) {
	base := allocator.BGPAdvertisement{Name: "a", Created: time.Unix(5, 0), Length4: 32, Length6: 128}
	for name, c := range map[string]struct {
		write   func(*Advertisement)
		want    func(*allocator.BGPAdvertisement)
		warning string
	}{
		"defaults": {func(*Advertisement) {}, func(*allocator.BGPAdvertisement) {}, ""},
		"communities": {
			func(a *Advertisement) { a.Communities = []string{"huge", "blue", "1:2", "64512:7", "large:1:2:3"} },
			func(b *allocator.BGPAdvertisement) {
				b.Communities, b.LargeCommunities = []uint32{1<<16 | 2, 64512<<16 | 7}, [][3]uint32{{1, 2, 3}, {1, 2, 4294967295}}
			}, "",
		},
		"the rest": {
			func(a *Advertisement) {
				a.LocalPref, a.Weighted, a.NodeSelectors, a.Peers = 200, "true", zoneA, []string{"r"}
			},
			func(b *allocator.BGPAdvertisement) {
				b.LocalPref, b.Weighted, b.NodeSelectors, b.Peers = 200, true, zoneA, []string{"r"}
			}, "",
		},
		"unknown peer": {
			func(a *Advertisement) { a.Peers = []string{"r", "x"} },
			func(b *allocator.BGPAdvertisement) { b.Peers = []string{"r", "x"} }, "spec.peers names x,",
		},
		"pool that is gone": {
			func(a *Advertisement) { a.Pools, a.Length4 = []string{"gone", "narrow", "wide"}, 24 },
			func(b *allocator.BGPAdvertisement) {
				b.Pools, b.Without, b.Length4 = []string{"gone", "narrow", "wide"}, []string{"narrow"}, 24
			}, "not used for pool narrow: ",
		},
		// What was taken from a pool that is gone keeps its advertisements.
		"selected pools": {
			func(a *Advertisement) { a.Pools, a.PoolSelectors, a.Length4 = []string{"wide"}, small, 24 },
			func(b *allocator.BGPAdvertisement) {
				b.Pools, b.PoolSelectors, b.Without, b.Length4 = []string{"wide"}, small, []string{"narrow"}, 24
			}, "not used for pool narrow: ",
		},
		"every pool": {
			func(a *Advertisement) { a.Length4 = 24 },
			func(b *allocator.BGPAdvertisement) { b.Without, b.Length4 = []string{"narrow"}, 24 }, "not used for pool narrow: ",
		},
		"range as wide as its widest CIDR": {
			func(a *Advertisement) { a.Pools, a.Length4 = []string{"narrow"}, 31 },
			func(b *allocator.BGPAdvertisement) { b.Pools, b.Length4 = []string{"narrow"}, 31 }, "",
		},
	} {
		want := base
		c.want(&want)
		plan := Resolve(adFacts(advert(c.write)))
		v := plan.AdvertisementVerdicts["a"]
		if v.Refused != nil || (v.Warning == nil) != (c.warning == "") || v.Warning != nil && !strings.HasPrefix(v.Warning.Error(), c.warning) {
			t.Errorf("%s: %+v", name, v)
		}
		if !reflect.DeepEqual(plan.Advertisements, []allocator.BGPAdvertisement{want}) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, plan.Advertisements, want)
		}
	}
}

// Invariants 2 and 6.
func TestBadAdvertisementIsRefused(t *testing.T) {
	for want, write := range map[string]func(*Advertisement){
		"spec.communities names \"red\", which": func(a *Advertisement) { a.Communities = []string{"red"} },
		"spec.communities: \"65536:1\"":         func(a *Advertisement) { a.Communities = []string{"65536:1"} },
		"spec.communities: \"large:1:2\"":       func(a *Advertisement) { a.Communities = []string{"large:1:2"} },
		"spec.communities: \"1:2:3\"":           func(a *Advertisement) { a.Communities = []string{"1:2:3"} },
		"spec.communities names \"1:1\" twice":  func(a *Advertisement) { a.Communities = []string{"1:1", "1:1"} },
		"spec.peers names \"r\" twice":          func(a *Advertisement) { a.Peers = []string{"r", "r"} },
		"spec.ipAddressPools names \"p\" twice": func(a *Advertisement) { a.Pools = []string{"p", "p"} },
		"spec.ipAddressPoolSelectors[1] is the": func(a *Advertisement) { a.PoolSelectors = append(zoneA, zoneA...) },
		"spec.serviceSelectors[1] is the same":  func(a *Advertisement) { a.ServiceSelectors = append(zoneA, zoneA...) },
		"spec.aggregationLength is 33":          func(a *Advertisement) { a.Length4 = 33 },
		"spec.aggregationLengthV6 is -1":        func(a *Advertisement) { a.Length6 = -1 },
		"with spec.serviceSelectors only the":   func(a *Advertisement) { a.ServiceSelectors, a.Length4 = zoneA, 24 },
		"not used for pool wide: spec.aggregationLength 23 is shorter than what 192.0.2.0/24 allows": func(a *Advertisement) { a.Pools, a.Length4 = []string{"wide"}, 23 },
		"not used for pool wide: spec.aggregationLengthV6 63 is shorter":                             func(a *Advertisement) { a.Pools, a.Length6 = []string{"wide"}, 63 },
		"not used for pool narrow: spec.aggregationLength 30 is shorter than what 198.51.100.1-198.51.1": func(a *Advertisement) {
			a.PoolSelectors, a.Length4 = small, 30
		},
		"annotation holdfast.dev/weighted is \"no\"": func(a *Advertisement) { a.Weighted = "no" },
	} {
		plan := Resolve(adFacts(advert(write)))
		if v := plan.AdvertisementVerdicts["a"]; v.Refused == nil || !strings.HasPrefix(v.Refused.Error(), want) || len(plan.Advertisements) != 0 {
			t.Errorf("%s: %+v %+v", want, v, plan.Advertisements)
		}
	}
}

func TestAdvertisementsWithTwoLocalPreferences(t *testing.T) {
	for name, c := range map[string]struct {
		write   func(*Advertisement)
		refused bool
	}{
		"same prefixes":        {func(*Advertisement) {}, true},
		"same preference":      {func(a *Advertisement) { a.LocalPref = 100 }, false},
		"another length":       {func(a *Advertisement) { a.Length4, a.Length6 = 31, 127 }, false},
		"another length of v4": {func(a *Advertisement) { a.Length4 = 31 }, true},
		"pool of v4 only":      {func(a *Advertisement) { a.Length4, a.Pools = 31, []string{"narrow"} }, false},
		"other peers":          {func(a *Advertisement) { a.Peers = []string{"other"} }, false},
		"other nodes": {func(a *Advertisement) {
			a.NodeSelectors = []allocator.Selector{{{Key: "zone", Operator: allocator.In, Values: []string{"b"}}}}
		}, false},
		"some Services": {func(a *Advertisement) { a.ServiceSelectors = zoneA }, false},
	} {
		older := advert(func(a *Advertisement) { a.Name, a.LocalPref, a.NodeSelectors, a.Peers = "z", 100, zoneA, []string{"r"} })
		newer := advert(func(a *Advertisement) { a.Created, a.LocalPref = time.Unix(6, 0), 200; c.write(a) })
		plan := Resolve(adFacts(newer, older))
		if plan.AdvertisementVerdicts["z"].Refused != nil || (plan.AdvertisementVerdicts["a"].Refused != nil) != c.refused {
			t.Errorf("%s: %+v", name, plan.AdvertisementVerdicts)
		}
	}
}

func TestCommunityNamesAreUsedOneByOne(t *testing.T) {
	f := Facts{Communities: []Community{
		{Object: Object{Name: "later", Created: time.Unix(2, 0)}, Aliases: []Alias{{"x", "1:9"}, {"y", "1:2"}}},
		{Object: Object{Name: "early", Created: time.Unix(1, 0)}, Aliases: []Alias{{"x", "1:1"}, {"x", "1:3"}}},
		{Object: Object{Name: "bad", Created: time.Unix(3, 0)}, Aliases: []Alias{{"z", "z"}, {"w", "x"}, {"", "1:1"}, {"1:5", "1:1"}, {"v", "large:1:1:4294967296"}}},
		{Object: Object{Name: "none"}},
	}}
	f.Advertisements = []Advertisement{
		advert(func(a *Advertisement) { a.Communities = []string{"x", "y"} }),
		advert(func(a *Advertisement) { a.Name, a.Communities = "loop", []string{"z"} }),
	}
	plan := Resolve(f)
	if len(plan.Advertisements) != 1 || !reflect.DeepEqual(plan.Advertisements[0].Communities, []uint32{1<<16 | 1, 1<<16 | 2}) {
		t.Errorf("advertised: %+v", plan.Advertisements)
	}
	for name, want := range map[string][]string{
		"later": {"is given by Community early already"}, "early": {"is given twice"}, "none": nil,
		"bad": {"the value \"z\" of \"z\"", "the value \"x\" of \"w\"", "name is empty", "has the form of a value", "\"large:1:1:4294967296\" is not"},
	} {
		v := plan.Communities[name]
		if (v.Refused != nil) != (name == "bad") || (v.Warning != nil) != (name == "later" || name == "early") {
			t.Errorf("%s: %+v", name, v)
		}
		for _, w := range want {
			if !strings.Contains(errorText(v.Refused)+errorText(v.Warning), w) {
				t.Errorf("%s: %+v does not say: %s", name, v, w)
			}
		}
	}
}

func TestBFDProfileIsChecked(t *testing.T) {
	plan := Resolve(Facts{Profiles: []Profile{
		{Object: Object{Name: "good"}, Receive: 10, Transmit: 60_000, Multiplier: 255, MinimumTTL: 1, Passive: true},
		{Object: Object{Name: "echo"}, Echo: true}, {Object: Object{Name: "receive"}, Receive: 9},
		{Object: Object{Name: "transmit"}, Transmit: 60_001}, {Object: Object{Name: "Multiplier"}, Multiplier: 1}, {Object: Object{Name: "Ttl"}, MinimumTTL: 255},
	}})
	for name, v := range plan.Profiles {
		if (v.Refused == nil) != (name == "good") || v.Refused != nil && !strings.Contains(v.Refused.Error(), name) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
