package allocator

import "net/netip"

// A Report is what a node says of one Service: what it does, not what it may do. It is
// not changed once told.
type Report struct {
	// Addrs are the Service's addresses that the node answers for, or advertises,
	// sorted; none: it does so for none any more.
	Addrs []netip.Addr
	// On are the interfaces to which that is limited (none: it is not), or the BGP
	// peers that are told. Sorted.
	On []string
}

// NotAnnounced: nodes may announce the address, and by the word of the nodes none does.
// It is no answer of Place.
const NotAnnounced Code = "NotAnnounced"

// Seat returns which nodes may answer for an address, as Place said last.
func (s *Snapshot) Seat(a netip.Addr) (Seat, bool) {
	seat, ok := s.seating.seats[a]
	return seat, ok
}
