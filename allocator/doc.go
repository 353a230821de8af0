// Package allocator decides which address each Service holds (Plan), whether a
// decision may be published (Check), and which nodes may answer for each address
// (Place). All three are functions of a Snapshot; time is an argument.
//
// # Reading order
//
//	facts.go      what is known: Services, pools, nodes …, all plain values
//	record.go     what is remembered of a Service beside its addresses, and how far it is believed
//	snapshot.go   the facts with their indexes; With applies one change
//	plan.go       Plan: holders first, then those that wait
//	draft.go      one Service's decision, from what it holds to what it shall hold
//	comeback.go   back to a seat, or to what the status lost
//	reside.go     may a resident stay? may a Service join?
//	agree.go      who was there first, and who stays when residents disagree about the key
//	choose.go     which address does a Service get?
//	free.go       which addresses are not free although no Service has them; quotas
//	finish.go     overlap, record, order of the answer
//	check.go      Check: a second opinion on each step, on what reside.go says of the facts
//	request.go    what annotations and spec ask for
//	pool.go       ranges, overlaps between pools, the lowest free address
//	pools.go      which pool has an address; how full pools are
//	index.go      who sits on which address
//	keyed.go      which addresses are held under a sharing key, and whose ports are free there
//	wait.go       who is to be decided anew when something changes
//	objects.go    what is wrong with a pool or an advertisement
//	reason.go     why: codes and sentences
//	place.go      Place: one Seat for each address
//	eligible.go   endpoints, nodes, advertisements: where a Service is served
//	route.go      what BGP routers are told of an address, and by which nodes
//	owner.go      which node of a Seat answers ARP and NDP
//	selector.go   label selectors
//
// # Vocabulary
//
//	hold      an address in status.loadBalancer.ingress is held
//	resident  a Service that holds an address, among those that hold the same
//	comer     a Service that is to hold an address, as planned and not yet published
//	share     to hold one address together; the sharing key is the consent to it, of
//	          Services of one namespace, or of all where the pool says so
//	arrival   when a resident came to an address, by its record; then age
//	changed   of a resident: its key is not the one with which it was admitted
//	party     the residents of an address that agree: all with one key, or one without
//	admit     an address admits a Service that may join its residents
//	join      to take an address that others hold, or a new one beside the old one
//	settle    to wait, before an address is left, for the change to be undone or completed
//	overlap   the time in which a replaced address is held beside its successor
//	release   to leave an address
//	mark      what a Service's record says of the pool that an address came from
//	seat      a place on an address, kept for a Service that left it over a port, or
//	          whose status lost it;
//	          and a Seat: who may answer for an address
//	claim     one Service's say in which nodes may answer for its address
//	base      the usable nodes that a set of advertisements selects, for all Seats alike
//	standing  what those advertisements say of one node of a base
//	owner     the node that answers ARP and NDP for an address
//	heir      the node that would follow the owner
//
// # Invariants
//
// Of what is published, whatever prefix of the writes has been done in whatever
// order, and whoever led meanwhile:
//
//  1. Nobody is given an address where another resident has one of its ports, or
//     not the same non-empty sharing key, or is of another namespace, unless keys count
//     across namespaces there; nor one that a node, spec.externalIPs of another Service
//     or the API server uses, or that no host can use.
//  2. A held address is left only because its Service is gone or not ours, for
//     another one that its own request names and gets, for a family that it lost,
//     a pool lost (settled), a clash of ports that it brought, or a disagreement
//     about the key that it lost (settled); or because somebody else wrote it into
//     the status, as the record tells. Policy, selectors, endpoints and nodes never
//     matter.
//  3. Who moves holds the new address, first in the list, and the old one for the
//     overlap, then the new one only. A clash of ports is the exception: it ends
//     at once, and the seat is kept through the settle time, with the ports that it
//     had: no other namespace takes these meanwhile, nor keeps the Service from coming
//     back. Who loses an address and is still in the overlap of another goes back to
//     that.
//  4. An edit that is undone within the settle time moves nobody. (A pool that
//     takes in an address is its pool from then on.)
//  5. A request that cannot be met costs nothing that is held.
//  6. Of two residents that claim one port, the one that was admitted with it stays.
//     A Service without a record was admitted with nothing.
//  7. Of residents of one namespace that disagree about the key, the largest party
//     stays; a tie goes to one that has not changed, then to who came first. Across
//     namespaces who changed leaves. Who names the address has nowhere else to go, and
//     who has nowhere to go stays.
//  8. No newcomer robs a holder, and none is put where a seat is kept for another.
//  9. A lost pool is the operator's word: with no other address to be had, the
//     lost one is released after the settle time. Only an address that no pool of
//     ours is known to have given is kept.
//
// Of Plan, Check and Place:
//
//  10. The same facts and time give the same answer: in any order of input, and
//     for a snapshot made by With as for one made from nothing. (A decision that is not
//     published yet has times that are up to a second old.) Plan's work follows from what
//     has changed, and not from how many Services hold or wait for something else.
//  11. When neither facts nor matters in flight change any more, the next Plan
//     decides what is published, and wakes nobody.
//  12. Then every Service that fits has an address, and every request that can be
//     met is met.
//  13. Check refuses no decision of Plan for the same snapshot and time.
//  14. A Seat names, for each protocol, the nodes that serve all the Services on its
//     address which that protocol announces, of the namespace that came first; if there
//     are none, those that serve the same, largest set of them (a tie goes to the set
//     with who came first); if there are none either, of the next namespace. Services
//     of other namespaces are served if they work on all these nodes. A Service without
//     a usable endpoint or without an advertisement constrains nothing.
//  15. An address has a node while one of its Services has one.
//  16. Whoever sees the same Seat, the same living nodes and the same loads chooses
//     the same owner; it changes only for a dead owner, a lost seat or a greater
//     weight. The heir is who owns when the owner is dead.
//  17. Of nodes that may answer for the same addresses and are of the same weight,
//     none is given one while it owns clearly more than another (Crowded).
//  18. Every BGPAdvertisement of a Service that is served makes one Route, from those
//     of the nodes that it selects. Only on nodes where an older one gives the same
//     prefix another local preference on the same session is it left out, and the
//     Service told.
//
// Of strangers and of time:
//
//  19. No Service loses an address, nor are the nodes that answer for it others,
//     because of what is written into Services and EndpointSlices of another namespace:
//     it is neither outvoted nor crowded out nor moved by it. (Who holds nothing may
//     be beaten to a free address.)
//  20. While somebody leads, the record tells what a Service holds: what its status lost
//     comes back, if it is still to be had. Times that lie in the future, before the
//     Service was made, or before somebody led, are not believed.
//
// # Left to others
//
// Where facts come from, and the order and the fate of writes (package
// controller: it writes a decision whole, on condition that the Service is as
// the snapshot has it); when a node takes over and how it is handed over
// (package speaker). A decision published late is judged again by the next Plan.
package allocator
