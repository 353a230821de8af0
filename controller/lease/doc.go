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
//     machine that slept does not wake up as leader. A wall clock that is put
//     forward looks the same: the copy writes nothing more until it has renewed the
//     lease, which it does at once ([Term.Held]).
//  3. The term's work has ended before the lease is given back or taken anew. It
//     is given back only when that work says that nothing it sent can take
//     effect any more.
//  4. A lost answer costs time, not safety: whoever finds its own name in the
//     lease without knowing of it takes it by another write.
//  5. A view of the lease can be wrong, as when the API's storage was restored from a
//     backup and resourceVersions went back. So after an attempt that was refused or
//     failed, and after a watch that shows an older lease than was seen, the lease is
//     read by a quorum before it is tried again, and what that says counts, also if it
//     is older. Whose name an older lease holds takes it at once; others wait for its
//     whole duration from when they saw it so. Both wait besides until the holder that
//     they saw last can have no write under way, since it may still be inside its
//     fence; the same goes for a lease that was deleted under its holder. (A copy that
//     was started since has not seen that holder. It knows of no fence but that of the
//     lease that it finds.) Who finds this out and holds the lease says so in it
//     ([StorageRestored]), since versions may go on from where they were before every
//     copy has looked.
//  6. Times in the lease are by one clock for all copies ([Config.Now]), and decide
//     nothing about the election: they tell how long somebody has led ([LedSince]).
//
// It leaves to others what a leader does, and that each of its writes carries the
// fence as its deadline ([Term.Context]).
package lease
