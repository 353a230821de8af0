// Package bfd detects a dead peer: Bidirectional Forwarding Detection (RFC 5880)
// in asynchronous mode over one hop (RFC 5881, UDP port 3784) and over several
// (RFC 5883, UDP port 4784), on IPv4 and IPv6.
//
// It decides when a peer is up and when it is not, for a set of sessions that
// somebody else decided ([Detector.Set]), and tells each change with its reason
// ([Config].Changed).
//
// # Invariants
//
//  1. A session that is up is declared down by time only if its sockets have been
//     read empty, twice and a millisecond apart, after the detection time had
//     passed since its newest packet came. What counts is when the kernel received
//     a packet, not when it was read: a daemon that was short of CPU neither calls
//     a living peer dead nor takes longer to notice a dead one once it runs again.
//  2. Every change of state is one of RFC 5880 §6.8.6 (the table in machine.go),
//     the end of the detection time, or a wish of the caller, and carries its reason.
//  3. No packet moves a session that the rules of RFC 5880 §6.8.6, RFC 5881 §5
//     (TTL 255 on a single hop) or the session's interface and MinimumTTL exclude.
//  4. While a session is not up it sends at most once a second (§6.8.3), but for
//     changes of state, answers to a Poll, and the farewell of a session that is
//     no longer wanted. Otherwise packets are spread over 75 to 100 % of the
//     interval (§6.8.7).
//  5. New timers are put in force by a Poll Sequence: a longer transmit interval and
//     a shorter detection time not before the peer has answered (§6.8.3). A change of
//     Profile never takes a session down.
//  6. Run ends in silence: routers hold what they know until their own detection
//     time has passed. AdminDown is sent only when it is meant: by Shutdown, and
//     to a peer that Set no longer names.
//  7. Nothing on the path between a timer or a socket and a packet waits for another
//     goroutine, writes a log, or calls the caller: one goroutine, locked to one thread,
//     reads, decides and sends. It reads 256 packets of a socket at most before it looks at
//     its timers, and the kernel drops most of what no session could take.
//
// # What a change means
//
// A peer whose operator has shut the session down (AdminDown) is not dead, and BGP must
// not drop its routes for it (RFC 5882 §3.2, §4.1): [Change.Failed] tells the two apart.
//
// # Left out
//
// The echo function (we advertise Required Min Echo RX Interval 0, RFC 5880 §6.8.1, so
// that no peer sends us any), asking for Demand mode (a peer that asks for it is obeyed:
// §6.6, we then send only state changes and Polls), and authentication (packets that
// carry it are dropped). The C bit is clear: BFD lives and dies with the daemon.
//
// # Left to others
//
// What follows from a peer's death (bgp); which peers there are (controller).
package bfd
