// Package controller turns the Kubernetes API into snapshots, and decisions into
// API writes. It is the only package that knows Kubernetes.
//
// On every copy it watches, believes, makes snapshots, and tells who may announce
// what ([Config.Placed]) and which BGP sessions this node has ([Config.Sessions]).
// One copy, elected, plans besides, and publishes what differs from what the API
// shows: addresses, conditions, Events, the status of pools, advertisements and the
// objects about BGP, and the key of the gossip.
//
// # Reading order
//
//	watch.go, shelf.go   what the API delivers, and what is believed of it
//	belief.go            all that is believed; differ.go: what of it is news
//	feed.go              what each reader has yet to take
//	loop.go              places, on every copy
//	tenure.go            plans, while this copy leads
//	publish.go           what is to be written on Services, and what is told of it
//	configs.go           likewise on pools, advertisements and the objects about BGP
//	rivals.go            who else writes there
//	publisher.go         sends it; queue.go: in which order; doubt.go: with what outcome
//	gate.go              when the API asks for fewer requests
//	events.go            Events; telling.go: how many
//
// Invariants (tests cite the numbers):
//
//  1. The announcement path waits for nobody. Placing happens in the loop, which
//     never writes, never reads the API and never plans; before every kind has been
//     listed once nothing is placed, and while the API is away nothing changes. Who
//     plans has a goroutine, a snapshot and a feed of news of its own, and makes the
//     snapshot from all facts when the term begins.
//  2. Belief never goes back: of every object the newest version counts, be it
//     from the watch, from a list, or the answer to a write of our own. A relist
//     is a difference, not a beginning. (But see 9.)
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
//  9. A belief can be wrong, as when etcd was restored from a backup and
//     resourceVersions went back. Proof of that is a list by a quorum that is older
//     than what was believed when it was asked for, an object in a list that is older
//     than it was believed although the list is not, or a Lease that is read as an older
//     one. Then every kind is listed by a quorum and believed whatever the versions, on
//     every copy: what is not there is gone. A leader begins a new term. The log has one
//     line when it is proven and one when all is read. A copy looks for proof when a
//     watch has to begin again that did not end by itself, which costs a read of one
//     object, and when a conflict is not explained by the watch within two seconds.
//     Answers that may come from a cache prove nothing by being old. Where versions have
//     passed what was believed before a copy could look, the Lease tells, with its next
//     renewal; until then a leader decides from what it believes.
//  10. Times that another copy will read are by the API server's clock, as the answers
//     to this copy's requests tell it; in a term that clock does not jump.
//  11. Addresses are written before what only says something about them, and nothing
//     waits for ever. When the API asks for a pause, nothing is written until it is
//     over, but the Lease. What may not be sent for the moment is sent later by itself.
//  12. Another writer of a Service's status is never answered write for write: it is
//     named, and what it changed is put right after a pause, each twice the last.
//  13. What is told of one object is bounded: Events in number, and in bytes what an
//     Event, a condition or a line of the log says. What was cut says so.
//  14. Who announces an address is told by the word of the copies: each says what its
//     node does (ServiceL2Status, ServiceBGPStatus), and the leader adds it up. What may
//     be is never told as what is.
//
// It leaves to packages allocator and peering every decision, and to package speaker
// what this node does about it.
package controller
