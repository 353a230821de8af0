// Package controller turns the Kubernetes API into snapshots, and decisions into
// API writes. It is the only package that knows Kubernetes.
//
// On every copy it watches, believes, makes snapshots, and tells who may announce
// what ([Config.Placed]) and which BGP sessions this node has ([Config.Sessions]).
// One copy, elected, plans besides, and publishes what differs from what the API
// shows: addresses, conditions, Events, the status of pools, advertisements and the
// objects about BGP, and the key of the gossip.
//
// Invariants (tests cite the numbers):
//
//  1. The announcement path waits for nobody. Placing happens in the loop, which
//     never writes and never reads the API; before every kind has been listed
//     once nothing is placed, and while the API is away nothing changes.
//  2. Belief never goes back: of every object the newest version counts, be it
//     from the watch, from a list, or the answer to a write of our own. A relist
//     is a difference, not a beginning.
//  3. Only the holder of the Lease writes what it decided, and only inside its
//     fence: each write carries the fence as its deadline, for the client and for
//     the API, and the version of the object for which it was decided. (What is
//     about this node's own announcements is every copy's to write: Events,
//     ServiceL2Status, ServiceBGPStatus.)
//  4. Before its first plan a leader reads everything that plans follow from, by a
//     quorum of the API's storage.
//  5. One write holds all that one decision is: the addresses, the record, the
//     conditions. It is made only when something differs, so a cluster in which
//     nothing happens sees no write but the renewal of the Lease.
//  6. What a write may yet do whose answer was lost is not given to another: an
//     address in doubt is held back until the doubt is over.
//  7. A bad object is refused by itself, with the reason in its status; a write
//     that is not accepted is retried by itself. Neither stops any other, nor does
//     an install that lacks the kinds of BGP. A BGPAdvertisement that comes to be
//     refused stays in use as it was, on every copy that has seen it so: one that has
//     started since cannot know it.
//  8. A decision that allocator.Check does not let pass is not written.
//  9. Who announces an address is told by the word of the copies: each says what its
//     node does (ServiceL2Status, ServiceBGPStatus), and the leader adds it up. What may
//     be is never told as what is.
//
// It leaves to packages allocator and peering every decision, and to package speaker
// what this node does about it.
package controller
