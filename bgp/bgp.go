// Package bgp advertises a set of prefixes to a set of peers (RFC 4271).
//
// It decides what each router is told, and when: for the prefixes and the peers
// that somebody else decided ([Advertiser.Set]) it keeps a session with each
// peer and sends what is new before it withdraws what is gone.
//
// # Invariants
//
//  1. A peer that is told A and shall be told B gets the difference, once:
//     announcements first, withdrawals after them. A prefix that is in A and in
//     B is never withdrawn in between; one whose attributes differ is replaced.
//  2. Set waits for nobody. Peers do not disturb each other: one that accepts
//     connections and stays silent, that does not read, resets or talks
//     nonsense delays neither Set nor the sessions with others.
//  3. A session is closed by us only for a reason that Status and Config.Changed
//     tell, and a change of one peer touches only the session with that one.
//     Other prefixes, another password, BFD profile, Multihop or time between
//     attempts leave the session up, and so do those fields of Peer that count
//     from the next session on. For the rest a session ends with Cease; but
//     where graceful restart has been agreed on, and router, AS numbers,
//     identifier and families stay the same, it ends in silence and the next one
//     says that we have restarted (RFC 4724 §4), so that the router keeps the
//     routes in between. Another Source or Device is also another BFD session:
//     where BFD is in use, the router may drop them when it hears of the end of
//     the old one.
//  4. What ends by itself ends silently: when the context of Run ends, no
//     NOTIFICATION is sent and BFD does not say AdminDown, so routers that know
//     graceful restart (RFC 4724) keep the routes until the next process is
//     there. What is meant says so: Close, and what Set takes away.
//  5. Nothing that a router advertises is accepted, stored or even parsed. Its
//     UPDATEs are counted as signs of life and skipped.
//  6. No route is advertised with a next hop that is not an address of this
//     node and of the route's kind: a family for which the session's interface
//     has none is not advertised, and Status says so.
//
// # On the wire
//
// The sessions are our own; of gobgp only the codec is used. A router daemon as
// a library has one table for all peers, keeps every route that routers send,
// connects and restarts at its own pace, and costs 10 MB. We only send.
//
// A peer is connected to at once, and after a failure again after 1, 2, 4, ...
// s up to Peer.Connect, each less up to a quarter (RFC 4271 §10), and at once
// when BFD or a router advertisement says that the router is there. Meanwhile it
// may connect to us (Config.Listen). Where RFC 4271 suggests 4 minutes we wait
// 10 s for an OPEN; a peer that reads nothing for a hold time, which should have
// closed the session itself, is given up (RFC 9687). Every packet leaves with
// TTL 255, so that routers with TTL security (RFC 5082) need nothing here, and
// with DSCP CS6.
//
// Where a session follows one that ended silently, and the peer has BFD, BFD
// speaks first: nothing is dialled, and a connection of the router is not answered,
// until BFD has been up for half a second, or was waited for in vain for 3 s (longer
// if the profile's detection time is: that and half a second, at most 30 s). For
// the router's BFD may be up still with the last process; when it finds that gone
// (FRR only after the detection time), it ends a BGP session that is established
// with Cease/BFD Down, for which graceful restart keeps no routes. While there is
// no session it keeps them.
//
// Capabilities: multiprotocol (RFC 4760), route refresh (RFC 2918), four-octet
// AS (RFC 6793), IPv4 with an IPv6 next hop (RFC 8950) on IPv6 sessions, and
// graceful restart without the N bit of RFC 8538: with it a router would keep
// routes to a node that went silent until the restart time has passed.
//
// # Left to others
//
// Which prefixes, for which peers and when (speaker); that packets for them
// lead anywhere (kube-proxy); whether a peer is alive within milliseconds
// (bgp/bfd).
package bgp

import (
	"log/slog"
	"net/netip"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"
)

// Config is what an Advertiser is made of. RouterID is required.
type Config struct {
	// Log gets sessions that come and go at Info, what keeps them from coming
	// up at Warn, the steps at Debug. Nil discards.
	Log *slog.Logger
	// Listen is the TCP port on which routers may connect, 179 as a rule; 0:
	// none. One that is taken is tried again every 10 s.
	Listen uint16
	// RouterID is the BGP identifier (IPv4) towards peers that name none.
	RouterID netip.Addr
	// Restarting: this process follows one that ended silently. The first
	// session with each peer that is set within its restart time says so (the R bit
	// of RFC 4724 §3), and waits for BFD.
	Restarting bool
	// Changed, if set, is called for each change of a session's state: for one
	// peer in order, for several at the same time. It must not block; it may call Set.
	Changed func(Event)
	// RealTime asks for real-time scheduling of BFD (bfd.Config).
	RealTime bool
}

// State is one of RFC 4271 §8.2.2.
type State uint8

// Idle: no attempt is made, the peer is being removed. Connect: connecting.
// Active: waiting for the router, or until the next attempt.
const (
	Idle State = iota
	Connect
	Active
	OpenSent
	OpenConfirm
	Established
)

func (s State) String() string {
	return [...]string{"Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"}[s]
}

// MarshalText makes a State readable where it is printed by machines.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// An Event is a change of a session's state.
type Event struct {
	Peer     string
	From, To State
	Reason   string
	At       time.Time
}

// A Prefix is what shall be advertised. The same one may come more than once;
// a peer that would get it twice gets it once, with the communities of both and
// the higher LocalPref and Weight.
type Prefix struct {
	Prefix           netip.Prefix // bits beyond its length are cleared
	Peers            []string     // names of the peers that get it; empty: all
	LocalPref        uint32       // for internal peers; 0: 100. With GRACEFUL_SHUTDOWN among Communities they are told 0
	Communities      []uint32     // RFC 1997, in any order
	LargeCommunities [][3]uint32  // RFC 8092, in any order
	// Weight, in octets per second, is the value of the link bandwidth community
	// (draft-ietf-idr-link-bandwidth), by which routers weigh equal paths; 0: none.
	Weight float32
}

// A Peer is a router and how to speak with it. A change of RouterID, HoldTime,
// Keepalive, GracefulRestart or RestartTime does not end a session that is
// established: it counts from the next session on, and PeerStatus.Pending tells.
type Peer struct {
	Name string // unique

	// Frozen: it is not known what is wanted of this peer. A session of that
	// name stays as it is, and none is made. Only Name counts then; prefixes
	// come and go as with any other.
	Frozen bool

	Address   netip.Addr // with its zone when link-local; not valid: the router that is found on Interface
	Interface string     // of a peer without address (unnumbered)
	Port      uint16     // 0: 179
	Source    netip.Addr // what to speak from; not valid: as the kernel chooses
	Device    string     // VRF device that the session lives in, or ""

	MyAS     uint32
	LocalAS  uint32     // shown instead of MyAS, if not 0
	PeerAS   uint32     // 0: any that Internal and External allow
	Internal bool       // the router's AS must be ours
	External bool       // the router's AS must not be ours
	RouterID netip.Addr // for the next session

	IPv4, IPv6 bool // families to advertise

	HoldTime  time.Duration // offered to the next session; 0: none. Whole seconds, 3 to 65535
	Keepalive time.Duration // for the next session; at most a third of the negotiated hold time is used; 0: that
	Connect   time.Duration // longest wait between two attempts

	Multihop    bool   // BFD: the router may be further than one hop, which BGP need not be told
	TTLSecurity bool   // what a router has forwarded is not taken (RFC 5082)
	Password    string // of TCP MD5 (RFC 2385); 80 octets at most

	GracefulRestart bool          // for the next session
	RestartTime     time.Duration // for the next session; 0: 120 s; at most 4095 s

	BFD *bfd.Profile // nil: none; not changed once given
}
