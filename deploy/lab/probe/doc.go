// Package probe sends requests to targets at a fixed pace and tells which of them
// nobody answered.
//
// It decides, for every request that it sent, between four outcomes: answered,
// refused (a TCP reset, an ICMP error, a connection closed before the line), stalled
// (TCP connected and no line came within the timeout) and silent (nothing came).
// All but the first are lost.
//
// Invariants:
//
//  1. A request is sent for every tick start+n/rate: a late tick is caught up and
//     its lateness reported, never dropped.
//  2. An answer that had reached this host is never counted as lost: before a
//     request is given up its socket is read once more, however late the prober is.
//  3. What fails before a request has left this host for a reason of this host (no
//     port, no descriptor, no buffer) is a local error and no loss.
//  4. A silence is a longest row of requests, in the order of sending, that were
//     all lost. It lasts from the first of them to the next one that was answered.
//  5. With fresh flows every request has a source port of its own, and a port comes
//     back to the same target only after all 64,512 others: conntrack (30 s for UDP)
//     has forgotten the flow by then, at 1,000 a second.
//
// The timeout is below one second, so that a SYN sent again by TCP is no answer.
//
// TCP: connect, read one line, reset. UDP: one datagram, whose answer begins with
// the datagram's own text. What follows names the backend. Both are what the lab's
// echo workload does.
package probe
