package bfd

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// The defaults of a Profile.
const (
	DefaultInterval   = 300 * time.Millisecond
	DefaultMultiplier = 3
	DefaultMinimumTTL = 254
)

// The UDP ports of RFC 5881 §4 and RFC 5883 §5.
const (
	Port         = 3784
	MultihopPort = 4784
)

const (
	shortest, longest = 10 * time.Millisecond, time.Minute
	slow              = time.Second // the fastest that a session may send that is not up, RFC 5880 §6.8.3
)

// A Profile is how fast a session is. The zero value of a field means the default.
type Profile struct {
	Transmit   time.Duration // Desired Min TX Interval when up, 10 ms to 60 s; 300 ms
	Receive    time.Duration // Required Min RX Interval, 10 ms to 60 s; 300 ms
	Multiplier int           // Detect Mult, 2 to 255; 3
	Passive    bool          // send nothing until the peer has spoken (RFC 5880 §6.1)
	MinimumTTL int           // multihop only: packets with a lower TTL are dropped, 1 to 254; 254
}

// Check tells what is out of range.
func (p Profile) Check() error {
	for _, interval := range []struct {
		name string
		is   time.Duration
	}{{"transmit", p.Transmit}, {"receive", p.Receive}} {
		if interval.is != 0 && (interval.is < shortest || interval.is > longest) {
			return fmt.Errorf("the %s interval is %v: it must be %v to %v", interval.name, interval.is, shortest, longest)
		}
	}
	if p.Multiplier != 0 && (p.Multiplier < 2 || p.Multiplier > 255) {
		return fmt.Errorf("the detection multiplier is %d: it must be 2 to 255", p.Multiplier)
	}
	if p.MinimumTTL < 0 || p.MinimumTTL > 254 {
		return fmt.Errorf("the minimum TTL is %d: it must be 1 to 254", p.MinimumTTL)
	}
	return nil
}

// complete is p with the defaults filled in, and intervals as the wire has them:
// in microseconds.
func (p Profile) complete() Profile {
	if p.Transmit == 0 {
		p.Transmit = DefaultInterval
	}
	if p.Receive == 0 {
		p.Receive = DefaultInterval
	}
	if p.Multiplier == 0 {
		p.Multiplier = DefaultMultiplier
	}
	if p.MinimumTTL == 0 {
		p.MinimumTTL = DefaultMinimumTTL
	}
	p.Transmit = p.Transmit.Truncate(time.Microsecond)
	p.Receive = p.Receive.Truncate(time.Microsecond)
	return p
}

// Detection is the detection time that the peer has of us, if it wants to hear us
// no less often than we want to hear it.
func (p Profile) Detection() time.Duration {
	p = p.complete()
	return time.Duration(p.Multiplier) * max(p.Transmit, p.Receive)
}

// A Session is one that is wanted.
type Session struct {
	Peer      netip.Addr // with a zone if it is link-local
	Local     netip.Addr // what to speak from; not valid: as the kernel chooses
	Interface string     // single hop: packets must come in here; "": any
	Device    string     // VRF device, or ""
	Multihop  bool
	Profile   Profile
}

// A Key is who a session is with. There is one session of a key at a time.
type Key struct {
	Peer     netip.Addr
	Device   string
	Multihop bool
}

// Key is who the session is with.
func (s Session) Key() Key { return Key{s.Peer.Unmap(), s.Device, s.Multihop} }

// Check tells why there can be no such session.
func (s Session) Check() error {
	switch {
	case !s.Peer.IsValid() || s.Peer.IsUnspecified() || s.Peer.IsMulticast():
		return fmt.Errorf("the peer's address is %v: it must be a unicast address", s.Peer)
	case s.Peer.Is6() && s.Peer.IsLinkLocalUnicast() && s.Peer.Zone() == "":
		return fmt.Errorf("the peer's address %v is link-local: it needs a zone, as in %v%%eth0", s.Peer, s.Peer)
	case s.Multihop && s.Peer.IsLinkLocalUnicast():
		return fmt.Errorf("the peer's address %v is link-local: it cannot be several hops away", s.Peer)
	case s.Local.IsValid() && s.Local.Unmap().Is4() != s.Peer.Unmap().Is4():
		return fmt.Errorf("the local address %v and the peer's address %v are of different families", s.Local, s.Peer)
	}
	if err := s.Profile.Check(); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// complete is s as the rest of the package takes it.
func (s Session) complete() Session {
	s.Peer = s.Peer.Unmap()
	s.Local = s.Local.Unmap().WithZone("")
	s.Profile = s.Profile.complete()
	switch {
	case s.Multihop:
		s.Interface = ""
	case s.Peer.Zone() != "":
		s.Interface = s.Peer.Zone()
	}
	return s
}

// A Change is a change of a session's state.
type Change struct {
	Session  Session
	From, To State
	Reason   string

	Local      Diagnostic // ours, RFC 5880 §4.1
	Remote     Diagnostic // in the peer's newest packet
	PeerState  State      // in the peer's newest packet; Down if none is known
	At         time.Time
	SinceHeard time.Duration // since the peer's newest packet came; 0 if none is known
}

// Failed tells that the peer, or the way to it, was there and no longer is. It is
// false when the session goes down because either side's operator wants it so,
// which says nothing of the peer's health (RFC 5882 §3.2).
func (c Change) Failed() bool {
	return c.From == Up && c.To == Down && c.PeerState != AdminDown
}

// Status is the state of one session.
type Status struct {
	Session // as wanted, with the defaults filled in

	State   State
	Since   time.Time
	Reason  string // of the latest change
	Trouble string // why the session cannot work at present: what is wrong and what to do; "": it can

	LocalDiscr, RemoteDiscr uint32 // RemoteDiscr is 0 while the peer is not heard
	RemoteState             State
	Local, Remote           Diagnostic

	TransmitEvery time.Duration // interval before jitter; 0: only changes of state are sent
	DetectAfter   time.Duration // detection time; 0 while the peer is not heard

	// What the peer said last; 0 while it is not heard.
	RemoteTransmit, RemoteReceive time.Duration
	RemoteMultiplier              int

	PacketsIn, PacketsOut, SendErrors uint64
	Dropped                           map[string]uint64 // packets not taken, by reason; those with no reason left out. Of a wrong TTL on a single hop one in 8 is seen, on average
	Ups, Downs                        uint64            // times that it came up, and went down from being up
}

// Config is what a Detector is made of. The zero value works.
type Config struct {
	// Log gets changes of state at Info, sessions that cannot work at Warn. Nil discards.
	Log *slog.Logger
	// Changed, if set, is called after each change of a session's state, one call
	// at a time and in their order. It must not block; it may call Set.
	Changed func(Change)
	// Port and MultihopPort are the UDP ports to listen on and to send to; 0 means
	// those of the RFCs.
	Port, MultihopPort uint16
	// RealTime asks for the scheduling class SCHED_RR for the thread that sends and
	// detects, which takes CAP_SYS_NICE, and a share of real time for the cgroup where the
	// kernel has RT_GROUP_SCHED; what was got is logged, and each new session asks again. If it is granted, GOMAXPROCS
	// is raised by 4 for the whole process: without that the thread would wait for
	// ordinary ones that have no CPU.
	RealTime bool
}

// Stats are counters of packets that belong to no session.
type Stats struct {
	Dropped map[string]uint64 // by reason. Of those too short, or of another version, one in 8 is seen, on average
}
