// Package lease elects one copy, through a coordination/v1 Lease, and fences it:
// it says up to which moment the copy that leads may write.
//
// Invariants (tests cite the numbers):
//
//  1. Never are two copies inside their fences at once. A copy counts its fence
//     from when it *sent* its last successful renewal, and less than the lease's
//     duration; another takes the lease only when it has seen it unchanged for the
//     whole duration, by a write on condition that it is unchanged still. No
//     two clocks are compared: only the rate at which they run matters, and the
//     difference between fence and duration is the margin for it.
//  2. A fence is passed when either the monotonic or the wall clock says so, so a
//     machine that slept does not wake up as leader.
//  3. The term's work has ended before the lease is given back or taken anew. It
//     is given back only when that work says that nothing it sent can take
//     effect any more.
//  4. A lost answer costs time, not safety: whoever finds its own name in the
//     lease without knowing of it takes it by another write.
//
// It leaves to others what a leader does, and that each of its writes carries the
// fence as its deadline ([Term.Context]).
package lease
