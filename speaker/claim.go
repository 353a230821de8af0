package speaker

import (
	"net/netip"
	"time"
)

// A claim says that a node answers for an address. Only the node itself makes,
// changes and withdraws its claims; the others hold copies.
type claim struct {
	node string
	// epoch orders the claims for one address: a node that takes over exceeds
	// every epoch that it has seen.
	epoch uint64
	// basis is when the claimant last learnt something new about who may answer
	// for the address, on the clock of whoever holds this copy. A claim with a
	// later basis than one's own was made by a node that knows more.
	basis time.Time
	// heard is when this copy came first.
	heard time.Time
	// deferring: the claimant believes that somebody else should answer.
	deferring bool
	// yielding: and it is not among the candidates itself. It answers until
	// somebody else does, whoever that is.
	yielding bool
}

// newer orders claims for one address: the higher epoch, then the greater name.
func (c claim) newer(d claim) bool {
	if c.epoch != d.epoch {
		return c.epoch > d.epoch
	}
	return c.node > d.node
}

// stride is how far a claim leaps that is made with a majority of the peers in
// sight. One that is made without leaps by 1: when a partition heals, what the
// larger part decided meanwhile is newer.
const stride = 1 << 16

// next is the epoch of a claim that exceeds top.
func nextEpoch(top uint64, majority bool) uint64 {
	if !majority {
		return top + 1
	}
	return (top/stride + 1) * stride
}

// An entry is a change of one claim in a message: set, or withdrawn.
type entry struct {
	addr  netip.Addr
	claim claim // node is not set: it is the sender of the message
	gone  bool
	dark  bool // gone, and nobody has it instead
	unfit bool // gone or never there: the sender has no interface for the address
}
