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
	NewerClaim       Cause = "newer-claim"        // two answered; the newer claim stays
	Conflict         Cause = "conflict"           // a station that cannot be talked to answers
)

// A Change is what happened to an address on this node.
type Change string

// The changes.
const (
	Announced Change = "announced" // this node answers
	Yielded   Change = "yielded"   // another node answers
	Released  Change = "released"  // nobody may answer any more
	Joined    Change = "joined"    // a Service joined an address that this node answers for
	Stranded  Change = "stranded"  // no interface is there to answer on
	Contested Change = "contested" // another station announced the address
)

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

	interfaces []string // where it was to be announced; empty: everywhere
}
