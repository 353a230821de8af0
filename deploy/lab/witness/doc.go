// Package witness records what a lab's cluster and network really did, so that claims
// about a stretch of time can be proved and not sampled.
//
// It decides what was seen: every published change of every Service, from a watch that
// goes on at the resource version where it broke off, and every frame with which a
// station announced an address to the client's segment. The claims are functions of
// those records.
//
// Invariants:
//
//  1. No change of a Service is missing from a [History]: if the watch cannot be
//     continued where it broke off, the history says so and every claim over that time
//     fails.
//  2. A claim over a time looks at the state that held at its beginning and at every
//     state since.
//  3. A frame that this host sent is nobody's announcement.
//
// What to do about a claim that fails is left to the scenario.
package witness
