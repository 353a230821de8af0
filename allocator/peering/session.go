package peering

import (
	"net/netip"
	"time"
)

// A Session is one BGP session that a node shall have: a BGPPeer with everything
// that it names looked up.
type Session struct {
	Name string // of the BGPPeer

	// Frozen: the object cannot be used as it stands. A session of that name that
	// is there stays as it is, and none is made. No other field but Name counts.
	Frozen bool

	// Address is the router's; it is not valid on an unnumbered session, which is
	// with the one router that speaks up on Interface.
	Address   netip.Addr
	Interface string     // of an unnumbered session
	Port      uint16     // 1 to 65535
	Source    netip.Addr // what the node speaks from; not valid: as the kernel chooses
	VRF       string     // name of the VRF device; "": none

	MyAS     uint32     // of the node
	LocalAS  uint32     // shown to this router instead of MyAS; 0: MyAS is
	PeerAS   uint32     // of the router; 0: any that Internal or External allow
	Internal bool       // PeerAS is 0 and must be ours
	External bool       // PeerAS is 0 and must not be ours
	RouterID netip.Addr // in the form of an IPv4 address, not 0 (RFC 6286)

	IPv4, IPv6 bool // what is advertised over it

	HoldTime  time.Duration // 0, or 3 s to 65535 s in whole seconds
	Keepalive time.Duration // at most HoldTime
	Connect   time.Duration // between two attempts to connect, 1 s to 65535 s

	Multihop        bool   // the router is of another AS and need not be on a segment of the node
	TTLSecurity     bool   // only packets that no router has forwarded are taken (RFC 5082)
	Password        string // of TCP MD5 (RFC 2385); "": none
	GracefulRestart bool   // RFC 4724: the router keeps the routes while the daemon restarts

	BFD *BFD // nil: none
}

// BFD is a BFDProfile, with the defaults filled in.
type BFD struct {
	Receive    time.Duration // 10 ms to 60 s
	Transmit   time.Duration // 10 ms to 60 s
	Multiplier int           // 2 to 255
	Passive    bool          // wait until the router speaks
	MinimumTTL int           // of packets that are taken on multihop sessions, 1 to 254
}
