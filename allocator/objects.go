package allocator

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// This file says of pools and advertisements what is wrong with them, and how
// full the pools are.

// PoolError says why a pool is refused; nil when it is accepted.
func (s *Snapshot) PoolError(name string) error {
	if p := s.poolNamed(name); p != nil {
		return p.err
	}
	return nil
}

// PoolWarning says what a pool in use asks for that is not there.
func (s *Snapshot) PoolWarning(name string) error {
	p := s.poolNamed(name)
	if p == nil || p.err != nil || p.Allocation == nil || len(s.namespaces) == 0 {
		return nil
	}
	for _, n := range s.namespaces {
		if p.Allocation.selects(n.Name, n.Labels) {
			return nil
		}
	}
	return errors.New("spec.serviceAllocation: namespaces and namespaceSelectors match no namespace, so no Service gets an address from it")
}

// Use counts the addresses of a pool, each at most math.MaxInt64.
type Use struct {
	Assigned4, Assigned6   int64
	Available4, Available6 int64
}

// Uses counts for every pool what is assigned of it, as published and planned, and
// what is left. Where a seat is kept, an address is assigned, too.
func (s *Snapshot) Uses() map[string]Use {
	uses := make(map[string]Use, len(s.pools))
	extra := map[string]int64{} // addresses that are only given to who names them
	for a := range s.groups {
		if p := s.poolOf(a); p != nil {
			u := uses[p.Name]
			if a.Is4() {
				u.Assigned4++
			} else {
				u.Assigned6++
			}
			uses[p.Name] = u
			if p.AvoidBuggyIPs && buggy(a) {
				extra[p.Name]++
			}
		}
	}
	for _, p := range s.pools {
		u := uses[p.Name]
		u.Available4 = left(p.capacity(IPv4), u.Assigned4-extra[p.Name])
		u.Available6 = left(p.capacity(IPv6), u.Assigned6)
		uses[p.Name] = u
	}
	return uses
}

func left(capacity, used int64) int64 {
	if capacity == math.MaxInt64 {
		return capacity
	}
	return capacity - used
}

// AdvertisementError says what an advertisement asks for that is not there. The
// rest of it works.
func (s *Snapshot) AdvertisementError(name string) error {
	ad, ok := s.layer2.ads[name]
	if !ok {
		return nil
	}
	return s.advertisementError(ad)
}

// BGPAdvertisementError is AdvertisementError for a BGPAdvertisement.
func (s *Snapshot) BGPAdvertisementError(name string) error {
	ad, ok := s.bgp.ads[name]
	if !ok {
		return nil
	}
	return s.advertisementError(ad)
}

func (s *Snapshot) advertisementError(ad Advertisement) error {
	var problems []error
	for _, p := range ad.Pools {
		if _, ok := s.definition[p]; !ok {
			problems = append(problems, fmt.Errorf("spec.ipAddressPools names %s, and there is no such pool", p))
		}
	}
	if len(ad.PoolSelectors) > 0 && !slices.ContainsFunc(s.pools, func(p *pool) bool { return anyMatches(ad.PoolSelectors, p.Labels) }) {
		problems = append(problems, errors.New("spec.ipAddressPoolSelectors match no pool"))
	}
	if len(ad.NodeSelectors) > 0 && len(s.nodes) > 0 {
		found := false
		for _, n := range s.nodes {
			found = found || anyMatches(ad.NodeSelectors, n.Labels)
		}
		if !found {
			problems = append(problems, errors.New("spec.nodeSelectors match no node, so nothing is announced by it"))
		}
	}
	for _, p := range ad.Preferences {
		if p.Weight < 1 || p.Weight > 100 {
			problems = append(problems, fmt.Errorf("spec.preferredNodeSelectors: weight %d is not from 1 to 100", p.Weight))
		}
	}
	return errors.Join(problems...)
}
