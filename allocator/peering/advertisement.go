package peering

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast.dev/holdfast/allocator"
)

// An advertisement is an Advertisement, read.
type advertisement struct {
	Advertisement
	out   allocator.BGPAdvertisement
	pools map[string]families // that it is used for
}

// newAdvertisement reads an advertisement, without a look at others.
func newAdvertisement(in Advertisement, aliases map[string]community) (*advertisement, error) {
	a := &advertisement{Advertisement: in}
	if in.Problem != nil {
		return a, in.Problem
	}
	a.out = allocator.BGPAdvertisement{
		Name: in.Name, Created: in.Created, Pools: in.Pools, PoolSelectors: in.PoolSelectors, NodeSelectors: in.NodeSelectors,
		ServiceSelectors: in.ServiceSelectors, Peers: in.Peers,
		Length4: cmp.Or(in.Length4, 32), Length6: cmp.Or(in.Length6, 128),
		Attributes: allocator.Attributes{LocalPref: in.LocalPref, Weighted: in.Weighted == "true"},
	}
	for _, err := range []error{
		once("spec.ipAddressPools", in.Pools), once("spec.peers", in.Peers), once("spec.communities", in.Communities),
		onceSelected("spec.ipAddressPoolSelectors", in.PoolSelectors), onceSelected("spec.nodeSelectors", in.NodeSelectors),
		onceSelected("spec.serviceSelectors", in.ServiceSelectors),
		a.checkLengths(), a.readCommunities(aliases),
	} {
		if err != nil {
			return a, err
		}
	}
	if w := in.Weighted; w != "" && w != "true" && w != "false" {
		return a, fmt.Errorf("annotation %s is %q: write \"true\" or \"false\"", AnnotationWeighted, w)
	}
	return a, nil
}

func (a *advertisement) checkLengths() error {
	switch {
	case a.out.Length4 < 1 || a.out.Length4 > 32:
		return fmt.Errorf("spec.aggregationLength is %d, and must be from 1 to 32", a.out.Length4)
	case a.out.Length6 < 1 || a.out.Length6 > 128:
		return fmt.Errorf("spec.aggregationLengthV6 is %d, and must be from 1 to 128", a.out.Length6)
	case len(a.ServiceSelectors) > 0 && (a.out.Length4 != 32 || a.out.Length6 != 128):
		return errors.New("with spec.serviceSelectors only the addresses themselves can be advertised: remove aggregationLength and aggregationLengthV6, or serviceSelectors")
	}
	return nil
}

func (a *advertisement) readCommunities(aliases map[string]community) error {
	to := &a.out.Attributes
	for _, text := range a.Communities {
		c, is, err := parseCommunity(text)
		if err != nil {
			return fmt.Errorf("spec.communities: %w", err)
		}
		if !is {
			if c, is = aliases[text]; !is {
				return fmt.Errorf("spec.communities names %q, which is neither a community nor the name of one: %s, or make a Community that gives this name", text, communityForm)
			}
		}
		if c.large {
			to.LargeCommunities = append(to.LargeCommunities, c.value)
		} else {
			to.Communities = append(to.Communities, c.value[0])
		}
	}
	slices.Sort(to.Communities)
	to.Communities = slices.Compact(to.Communities)
	slices.SortFunc(to.LargeCommunities, func(a, b [3]uint32) int { return slices.Compare(a[:], b[:]) })
	to.LargeCommunities = slices.Compact(to.LargeCommunities)
	return nil
}

// fit leaves out the pools for which the prefixes would be wider than what the pool
// owns; with none left the advertisement is refused. It is refused, too, where it was
// used for such a pool before: nothing is lost for an edit that cannot be meant.
func (a *advertisement) fit(pools []allocator.Pool, before *advertisement) (warning, err error) {
	problems, lost := a.match(pools, before)
	gone := slices.ContainsFunc(a.Pools, func(n string) bool {
		return !slices.ContainsFunc(pools, func(p allocator.Pool) bool { return p.Name == n })
	})
	if err = errors.Join(problems...); lost || len(a.pools) == 0 && !gone {
		return nil, err
	}
	return err, nil
}

// kept is the advertisement, of which a later version is refused, beside the pools as
// they are now.
func (a *advertisement) kept(pools []allocator.Pool) *advertisement {
	k := &advertisement{out: a.out}
	k.match(pools, a)
	return k
}

// match finds the pools that the advertisement is used for, and excludes by name those
// that it selects and that it does not fit. (To name those that it fits instead would
// lose what was taken from a pool that is gone, or is there later.) It says what does
// not fit, and whether it was used for one of these before: then it still is.
func (a *advertisement) match(pools []allocator.Pool, before *advertisement) (problems []error, lost bool) {
	a.pools, a.out.Without = map[string]families{}, nil
	every, there := len(a.out.Pools)+len(a.out.PoolSelectors) == 0, map[string]bool{}
	for i := range pools {
		p := &pools[i]
		there[p.Name] = true
		if !every && !slices.Contains(a.out.Pools, p.Name) &&
			!slices.ContainsFunc(a.out.PoolSelectors, func(s allocator.Selector) bool { return s.Matches(p.Labels) }) {
			continue
		}
		has, err := owned(p.Addresses, a.out.Length4, a.out.Length6)
		if err == nil {
			a.pools[p.Name] = has
			continue
		}
		problems = append(problems, fmt.Errorf("not used for pool %s: %w", p.Name, err))
		if before.isFor(p.Name) {
			a.pools[p.Name], lost = has, true
		} else {
			a.out.Without = append(a.out.Without, p.Name)
		}
	}
	// What is left of a pool that is gone is as narrow as it was.
	if before != nil && (a.out.Length4 < 32 || a.out.Length6 < 128) {
		for _, n := range before.out.Without {
			if !there[n] {
				a.out.Without = append(a.out.Without, n)
			}
		}
		slices.Sort(a.out.Without)
	}
	return problems, lost
}

// isFor tells whether the advertisement is used for addresses of a pool.
func (a *advertisement) isFor(pool string) bool {
	return a != nil && a.pools[pool] != families{}
}

// conflict says why the advertisement cannot be used beside another one: routers would
// be told two local preferences of one prefix.
func (a *advertisement) conflict(other *advertisement, nodes *nodes) error {
	if a.LocalPref == other.LocalPref || len(a.ServiceSelectors)+len(other.ServiceSelectors) > 0 || !allocator.PeersMeet(a.Peers, other.Peers) {
		return nil
	}
	shared := ""
	for pool, has := range a.pools {
		_, both := other.pools[pool]
		same := has.ipv4 && a.out.Length4 == other.out.Length4 || has.ipv6 && a.out.Length6 == other.out.Length6
		if both && same && (shared == "" || pool < shared) {
			shared = pool
		}
	}
	if shared == "" {
		return nil
	}
	if _, is := nodes.common(nodes.selected(a.NodeSelectors), nodes.selected(other.NodeSelectors)); !is {
		return nil
	}
	return fmt.Errorf("spec.localPref is %d, and that of BGPAdvertisement %s is %d for the same prefixes of pool %s, from the same nodes to the same peers: "+
		"give both the same, or make their peers or nodeSelectors differ", a.LocalPref, other.Name, other.LocalPref, shared)
}

// missing names the peers that are not there.
func (a *advertisement) missing(peers map[string]Verdict) error {
	var names []string
	for _, n := range a.Peers {
		if _, ok := peers[n]; !ok {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("spec.peers names %s, and there is no such BGPPeer", strings.Join(names, ", "))
}
