package controller

import (
	"fmt"
	"net/netip"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// Unproven says, by an Event on each of the Services, that this node advertises an
// address by BGP although no health check port has answered there within that time.
func (c *Controller) Unproven(addr netip.Addr, services []allocator.ServiceName, waited time.Duration) {
	c.tell(services, saying{warning: true, reason: eventUnproven, text: fmt.Sprintf("node %q advertises %s by BGP without proof that it serves it: "+
		"no spec.healthCheckNodePort of the Services there has answered 200 for %s. Does kube-proxy, or what takes its place, serve that port on the node, "+
		"and may the node connect to itself?", c.Node, addr, waited.Round(time.Second))})
}

// eventUnproven is a reason of Events that MetalLB does not have.
const eventUnproven = "notProvenToServe"
