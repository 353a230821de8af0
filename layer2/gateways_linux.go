package layer2

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateways returns the next hops of the routes in this node's main table, sorted: the
// addresses of routers, which nobody else on their segments may have.
func Gateways() ([]netip.Addr, error) {
	var out []netip.Addr
	add := func(ip net.IP) {
		if a, ok := netip.AddrFromSlice(ip); ok && !a.Unmap().IsUnspecified() {
			out = append(out, a.Unmap())
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("listing the routes of the main table: %w", err)
		}
		for _, r := range routes {
			add(r.Gw)
			for _, hop := range r.MultiPath {
				add(hop.Gw)
			}
			if via, ok := r.Via.(*netlink.Via); ok {
				add(via.Addr)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}
