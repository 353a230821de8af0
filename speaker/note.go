package speaker

import (
	"net/netip"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// A Cause says why an address changed hands: a log attribute and a metric label.
type Cause string

// The causes.
const (
	Unclaimed        Cause = "unclaimed"          // nobody has answered for it yet
	OwnerGone        Cause = "owner-gone"         // who answered is out of sight, or withdrew
	OwnerLeaves      Cause = "owner-leaves"       // who answers is about to end
	OwnerNotEligible Cause = "owner-not-eligible" // who answers is no candidate any more
	Preferred        Cause = "preferred"          // the taker is of a greater weight
	Rebalanced       Cause = "rebalanced"         // who answers had clearly more addresses
	NewerClaim       Cause = "newer-claim"        // two answered; the newer claim stays
	Conflict         Cause = "conflict"           // a station that cannot be talked to answers
)

// Why a route is withdrawn.
const (
	Drained  Cause = "drained"  // this node serves it, and may not advertise it: others are preferred first
	Unserved Cause = "unserved" // this node does not serve it any more
)

// Causes are all of those of addresses that change hands.
var Causes = [...]Cause{Unclaimed, OwnerGone, OwnerLeaves, OwnerNotEligible, Preferred, Rebalanced, NewerClaim, Conflict}

// A Change is what happened to an address on this node.
type Change string

// The changes.
const (
	Announced  Change = "announced"  // this node answers
	Yielded    Change = "yielded"    // another node answers
	Released   Change = "released"   // nobody may answer any more
	Lost       Change = "lost"       // the last interface that it was announced on is gone
	Joined     Change = "joined"     // a Service joined an address that this node answers for
	Stranded   Change = "stranded"   // no interface is there to answer on, and nobody else answers
	Contested  Change = "contested"  // another station announced the address
	Used       Change = "used"       // a machine that is no node answers for the address: it is not taken
	Advertised Change = "advertised" // BGP peers are told
	Withdrawn  Change = "withdrawn"  // BGP peers are told no more, or told to prefer others before
	Unproven   Change = "unproven"   // BGP peers are told, although no health check port has answered in time
	Unheard    Change = "unheard"    // a node does not answer other nodes, but does answer for its addresses
)

// A Notice says what happened to an address.
type Notice struct {
	Change     Change
	Addr       netip.Addr
	Services   []allocator.ServiceName // that the address serves, or that joined it
	Interfaces []string                // of Stranded: where it was to be announced; empty: everywhere
	Interface  string                  // of Contested and Used: where the other station was heard
	MAC        string                  // its hardware address
	Took       time.Duration           // of Unproven: how long was waited
}

// note is a change in the world, for the log, the metrics and the Events.
type note struct {
	kind     Change
	addr     netip.Addr
	cause    Cause
	other    string                  // the node that had it before, or has it now
	proof    string                  // how this node knows: claim, wire or conflict
	took     time.Duration           // since this node was due, or since another one was
	services []allocator.ServiceName // that the address serves
	iface    string                  // where the other station was heard
	mac      string
	quiet    bool // another node says it too: nobody but the log needs to know

	interfaces []string // where it was to be announced; empty: everywhere
}

// notice is what a note tells whoever is interested in Services; none: nothing.
func (n note) notice() (Notice, bool) {
	switch n.kind {
	case Announced, Advertised, Joined, Stranded, Contested, Used, Unproven:
		return Notice{n.kind, n.addr, n.services, n.interfaces, n.iface, n.mac, n.took}, !n.quiet
	}
	return Notice{}, false
}
