package allocator

import (
	"errors"
	"fmt"
	"slices"
)

// This file says of pools and advertisements what is wrong with them.

// PoolError says why a pool is refused; nil when it is accepted.
func (s *Snapshot) PoolError(name string) error {
	if p := s.poolNamed(name); p != nil {
		return p.err
	}
	return nil
}

// PoolWarning says what a pool in use asks for that is not there, or that no Service
// gets.
func (s *Snapshot) PoolWarning(name string) error {
	p := s.poolNamed(name)
	if p == nil || p.err != nil {
		return nil
	}
	return errors.Join(s.deserted(p), s.barred(p))
}

// deserted says that no namespace is there for whose Services the pool is.
func (s *Snapshot) deserted(p *pool) error {
	if p.Allocation == nil || len(s.namespaces) == 0 {
		return nil
	}
	for _, n := range s.namespaces {
		if p.Allocation.selects(n.Name, n.Labels) {
			return nil
		}
	}
	return errors.New("spec.serviceAllocation: namespaces and namespaceSelectors match no namespace, so no Service gets an address from it")
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
