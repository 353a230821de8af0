package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A fib is the kernel's routing table of a router: what packets follow,
// whatever the routing daemon believes. It is read by netlink, and not as in
// package router by starting ip: five hundred times a second, beside BFD.
type fib struct {
	router string
	handle *netlink.Handle
}

// openFIB opens the table of a network namespace.
func openFIB(router, namespace string) (*fib, error) {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return nil, fmt.Errorf("entering the network of %s: %w", router, err)
	}
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("opening the routing table of %s: %w", router, err)
	}
	return &fib{router, handle}, nil
}

func (f *fib) close() { f.handle.Close() }

// onLink is how a link-local next hop is written: which address it is, nobody
// chose.
func onLink(link string) string { return "link-local on " + link }

// nextHops are those of a host route, sorted; none if there is no such route.
func (f *fib) nextHops(to netip.Addr) ([]string, error) {
	family := netlink.FAMILY_V4
	if to.Is6() {
		family = netlink.FAMILY_V6
	}
	host := &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(to.BitLen(), to.BitLen())}
	routes, err := f.handle.RouteListFiltered(family, &netlink.Route{Dst: host}, netlink.RT_FILTER_DST)
	if err != nil {
		return nil, fmt.Errorf("reading the routing table of %s: %w", f.router, err)
	}
	var all []string
	for _, r := range routes {
		if len(r.MultiPath) == 0 {
			all = append(all, f.hop(r.Gw, r.Via, r.LinkIndex))
		}
		for _, p := range r.MultiPath {
			all = append(all, f.hop(p.Gw, p.Via, p.LinkIndex))
		}
	}
	slices.Sort(all)
	return all, nil
}

// hop is a next hop as text. It may be of another family than the route.
func (f *fib) hop(gw net.IP, via netlink.Destination, link int) string {
	if v, ok := via.(*netlink.Via); ok {
		gw = v.Addr
	}
	address, _ := netip.AddrFromSlice(gw)
	if !address.IsLinkLocalUnicast() {
		return address.Unmap().String()
	}
	l, err := f.handle.LinkByIndex(link)
	if err != nil {
		return address.String() // the link went with the route
	}
	return onLink(l.Attrs().Name)
}

// expect says how the next hops differ from those that are wanted.
func (f *fib) expect(to netip.Addr, want []string) error {
	got, err := f.nextHops(to)
	if err != nil {
		return err
	}
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		return fmt.Errorf("%s sends %s to %s, want %s", f.router, to, listed(got), listed(want))
	}
	return nil
}

func listed(hops []string) string {
	if len(hops) == 0 {
		return "nobody"
	}
	return strings.Join(hops, ", ")
}
