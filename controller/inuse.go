package controller

import (
	"context"
	"net/netip"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"holdfast.dev/holdfast/allocator"
)

// This file knows who uses addresses beside our Services: Services of any type by
// spec.externalIPs, the API server, and the routers on the way. (Nodes say it
// themselves, see nodeFact.)

// apiService is the Service whose endpoints are the API servers.
var apiService = name{Namespace: "default", Name: "kubernetes"}

const (
	byAPIServer = "the API server"
	// gatewaysAgain is how often the node is asked for the gateways of its routes.
	gatewaysAgain = 30 * time.Second
)

// uses notes who uses addresses; without any, nobody by that name does. It is called
// under the lock.
func (b *belief) uses(u allocator.InUse) {
	was, known := b.inUse[u.By]
	switch {
	case len(u.Addrs) == 0 && !known, known && slices.Equal(was.Addrs, u.Addrs):
		return
	case len(u.Addrs) == 0:
		delete(b.inUse, u.By)
		b.factDiffers(changed{"in use", name{Name: u.By}}, allocator.DropInUse{By: u.By})
	default:
		b.inUse[u.By] = u
		b.factDiffers(changed{"in use", name{Name: u.By}}, allocator.PutInUse{InUse: u})
	}
}

// serviceUses notes what a Service names in spec.externalIPs.
func (b *belief) serviceUses(n name, s *service) {
	u := allocator.InUse{By: "spec.externalIPs of Service " + n.String(), Service: n}
	if s != nil {
		u.Addrs = s.externalIPs
	}
	b.uses(u)
}

// apiAddresses returns the addresses of API servers that an EndpointSlice names: the
// API servers write one with the name of their Service.
func apiAddresses(in *discoveryv1.EndpointSlice) (addrs []netip.Addr) {
	if nameOf(in) != apiService || in.Labels[discoveryv1.LabelServiceName] != apiService.Name {
		return nil
	}
	for i := range in.Endpoints {
		addrs = append(addrs, addressesOf(in.Endpoints[i].Addresses)...)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// addressesOf reads addresses, and leaves out what is none.
func addressesOf(texts []string) (addrs []netip.Addr) {
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			addrs = append(addrs, a.WithZone("").Unmap())
		}
	}
	return addrs
}

// apiServers notes which API servers EndpointSlices name; all that do, or some of them.
func (b *belief) apiServers(named map[name][]netip.Addr, all bool) {
	if all {
		clear(b.servers)
	}
	for slice, addrs := range named {
		if b.servers[slice] = addrs; len(addrs) == 0 {
			delete(b.servers, slice)
		}
	}
	u := allocator.InUse{By: byAPIServer}
	for _, addrs := range b.servers {
		u.Addrs = append(u.Addrs, addrs...)
	}
	slices.SortFunc(u.Addrs, netip.Addr.Compare)
	u.Addrs = slices.Compact(u.Addrs)
	b.uses(u)
}

// followGateways has no Service given an address that is the next hop of a route of
// this node: whoever leads knows those of its own node, which its segments share.
func (c *Controller) followGateways(ctx context.Context) {
	if c.Gateways == nil {
		return
	}
	again := time.NewTicker(gatewaysAgain)
	defer again.Stop()
	failing := false
	for {
		addrs, err := c.Gateways()
		if err != nil && !failing {
			c.Log.Warn("asking for the gateways of this node's routes", "err", err)
		}
		if failing = err != nil; !failing {
			c.belief.mu.Lock()
			c.belief.uses(allocator.InUse{By: "a gateway in the routes of node " + c.Node, Addrs: addrs})
			c.belief.mu.Unlock()
			c.belief.wake()
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}
