package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// nextHops finds what a router can reach this node by (invariant 6): for the
// session's own family its local address, for the other one an address of the
// interface that the session runs over. A family that has none is explained.
func nextHops(all []address, local netip.Addr, t terms) (hops [families]hop, problem string) {
	own := ipv6
	if local.Is4() {
		own = ipv4
	}
	index := interfaceOf(all, local)
	for f := range families {
		if !t.Families[f] {
			continue
		}
		switch {
		case f == own && f == ipv4:
			hops[f] = hopOf(local)
		case own == ipv6 && (f == ipv6 || t.IPv4OverIPv6):
			hops[f] = sixHop(all, local, index)
		default:
			if a, ok := best(all, index, f); ok {
				hops[f] = hopOf(a)
				continue
			}
			problem = fmt.Sprintf("%s is not advertised: the interface of %s has no global %s address to be the next hop; give it one", f, local, f)
		}
	}
	return hops, problem
}

func hopOf(a netip.Addr) hop { return hop(a.WithZone("").AsSlice()) }

// sixHop is a global address alone, or on a link-local session a global one, if
// there is one, and the link-local one (RFC 2545 §3).
func sixHop(all []address, local netip.Addr, index int) hop {
	if !local.IsLinkLocalUnicast() {
		return hopOf(local)
	}
	if global, ok := best(all, index, ipv6); ok {
		return hopOf(global) + hopOf(local)
	}
	return hopOf(local)
}

// interfaceOf is the index of the interface that has an address; 0: none. A
// link-local one may be on several, and is told apart by its zone.
func interfaceOf(all []address, a netip.Addr) int {
	for _, x := range all {
		if x.Addr() == a.WithZone("") && (a.Zone() == "" || a.Zone() == nameOf(x.Index)) {
			return x.Index
		}
	}
	return 0
}

// best is the address of an interface that serves as next hop of a family: one
// that lasts, of a subnet rather than alone, then the lowest.
func best(all []address, index int, f family) (netip.Addr, bool) {
	var fit []address
	for _, x := range all {
		if x.Index == index && x.Addr().Is4() == (f == ipv4) && x.Addr().IsGlobalUnicast() && x.usable() {
			fit = append(fit, x)
		}
	}
	if len(fit) == 0 {
		return netip.Addr{}, false
	}
	return slices.MinFunc(fit, func(x, y address) int {
		return cmp.Or(later(x.leased(), y.leased()), later(x.IsSingleIP(), y.IsSingleIP()), x.Addr().Compare(y.Addr()))
	}).Addr(), true
}

// later puts what is true behind what is not.
func later(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}
