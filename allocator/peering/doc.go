// Package peering decides from what an operator has written about BGP which
// sessions each node has, what is advertised over them, and which objects cannot be
// used as they stand.
//
// It is pure: [Resolve] is a function of [Facts].
//
// Invariants (tests cite the numbers):
//
//  1. The same facts give the same plan, in any order.
//  2. Objects are refused one by one, each with what is wrong and what to do. A
//     refused object never stops another that does not need it.
//  3. Of two objects that cannot both be used, one that is in use as it stands
//     (Accepted) comes before one that is not, then the older one, then by name. So
//     no object in use is refused because another of its kind was made or edited.
//     Before all these comes a BGPPeer that has a session with the same router already
//     (Facts.Before): an edit of its own does not take it away.
//  4. Who edits a BGPPeer into nonsense loses no session: a peer that is refused is
//     Frozen on the nodes that it selects, and only a peer that is gone, or selects a
//     node no more, ends a session. What it keeps counts: a peer that cannot be beside
//     it is refused, so a node never has two sessions with one router, or in two ASes.
//     Where no plan before is known, after a restart, there is no session to keep.
//  5. A session without BFD is worth more than none: a profile that cannot be used
//     is a warning. A session that has BFD keeps it as it was, for a router may drop
//     the routes when BFD ends.
//  6. No more is advertised than what a pool owns: an advertisement whose prefixes
//     would be wider does not come into use for that pool, and one whose communities
//     are not all known does not come into use at all.
//  7. Who edits a BGPAdvertisement, or what it depends on, into nonsense loses no
//     prefix: one that is refused stays as it was in use before (Facts.Before), until
//     it is deleted. Where no plan before is known, after a restart, nobody knows how
//     that was, and it is not used.
//
// It leaves to package allocator which addresses are advertised from which nodes,
// and to package controller what of an object cannot be read at all ([Object]).
package peering
