package controller

import (
	"fmt"
	"net/netip"
)

// This file says, by Events on a BGPPeer, how this node's session with the router
// stands: what only a node can see, and no status of the object can hold for all of
// them. Who calls must not do so at each attempt.

// Reasons of Events about BGPPeers. MetalLB has none.
const (
	eventSessionUp         = "SessionUp"
	eventSessionDown       = "SessionDown"
	eventSessionFailing    = "SessionFailing"
	eventSessionIncomplete = "SessionIncomplete"
	eventBFDFailing        = "BFDFailing"
)

// SessionUp says that the session with a router is established.
func (c *Controller) SessionUp(peer string, router netip.Addr, as uint32) {
	c.tellPeer(peer, saying{reason: eventSessionUp, text: fmt.Sprintf("node %q has a BGP session with %s, AS %d", c.Node, routerAt(router), as)})
}

// SessionDown says that a session has ended, and why.
func (c *Controller) SessionDown(peer string, router netip.Addr, why string) {
	c.tellPeer(peer, saying{true, eventSessionDown, fmt.Sprintf("the BGP session of node %q with %s has ended: %s", c.Node, routerAt(router), why)})
}

// SessionFailing says why there is no session; attempts go on.
func (c *Controller) SessionFailing(peer string, router netip.Addr, why string) {
	c.tellPeer(peer, saying{true, eventSessionFailing, fmt.Sprintf("node %q has no BGP session with %s, and tries again: %s", c.Node, routerAt(router), why)})
}

// SessionIncomplete says what is not advertised over a session that is established.
func (c *Controller) SessionIncomplete(peer string, router netip.Addr, why string) {
	c.tellPeer(peer, saying{true, eventSessionIncomplete, fmt.Sprintf("node %q does not advertise everything to %s: %s", c.Node, routerAt(router), why)})
}

// BFDFailing says why BFD does not work.
func (c *Controller) BFDFailing(peer string, router netip.Addr, why string) {
	c.tellPeer(peer, saying{true, eventBFDFailing, fmt.Sprintf("BFD of node %q with %s does not work: %s", c.Node, routerAt(router), why)})
}

func routerAt(router netip.Addr) string {
	if !router.IsValid() {
		return "its router, which has not been found yet"
	}
	return "router " + router.String()
}

func (c *Controller) tellPeer(peer string, what saying) {
	of := name{Namespace: c.Namespace, Name: peer}
	c.belief.mu.Lock()
	defer c.belief.mu.Unlock()
	if p, ok := c.belief.peers.items[of]; ok {
		c.events.say(event{of: of, peer: true, uid: p.fact.uid, what: what})
	}
}
