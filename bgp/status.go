package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"holdfast.dev/holdfast/bgp/bfd"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// PeerStatus is what there is to say of one peer. What the router said is zero
// while no session is established.
type PeerStatus struct {
	Name      string
	State     State
	Since     time.Time // of State
	Reason    string    // of State
	LastError string    // why the latest session or attempt ended; "": none has
	Problem   string    // why part of what is wanted is not advertised; "": all is
	Frozen    bool
	Pending   bool // part of what is wanted waits for the next session: see Peer

	Address       netip.Addr // of the router; not valid: it has not been found
	LocalAS       uint32     // as shown to the router
	Local, Remote netip.AddrPort
	RemoteAS      uint32
	RemoteID      netip.Addr
	Internal      bool

	HoldTime, Keepalive        time.Duration // negotiated; 0: none
	IPv4, IPv6                 bool          // families negotiated
	FourOctetAS                bool
	RouteRefresh               bool
	ExtendedNextHop            bool // IPv4 with IPv6 next hops, RFC 8950
	GracefulRestart            bool // both sides know it
	RemoteRestartTime          time.Duration
	Established                time.Time // zero: it is not
	AdvertisedV4, AdvertisedV6 int       // prefixes that the router has been told

	Sent, Received Messages
	Connects       uint64 // attempts
	Ups, Downs     uint64 // times that the session was established, and ended after that

	BFD *bfd.Status // nil: none
}

// Messages are counters by type.
type Messages struct {
	Opens, Updates, Notifications, Keepalives, RouteRefreshes uint64
}

// Up is how long a session has been established.
func (s PeerStatus) Up(now time.Time) time.Duration {
	if s.Established.IsZero() {
		return 0
	}
	return now.Sub(s.Established)
}

// counters are those of a peer, over all its connections.
type counters struct {
	received, sent       [packet.BGP_MSG_ROUTE_REFRESH + 1]atomic.Uint64 // by type of message
	advertised           [families]atomic.Int64
	connects, ups, downs atomic.Uint64
}

func (c *counters) in(kind uint8) { c.received[kind].Add(1) }

func (c *counters) out(kind uint8, n int) { c.sent[kind].Add(uint64(n)) }

func messages(by *[packet.BGP_MSG_ROUTE_REFRESH + 1]atomic.Uint64) Messages {
	return Messages{
		Opens: by[packet.BGP_MSG_OPEN].Load(), Updates: by[packet.BGP_MSG_UPDATE].Load(),
		Notifications: by[packet.BGP_MSG_NOTIFICATION].Load(), Keepalives: by[packet.BGP_MSG_KEEPALIVE].Load(),
		RouteRefreshes: by[packet.BGP_MSG_ROUTE_REFRESH].Load(),
	}
}

// show is the status of a peer but for BFD.
func (p *peer) show() PeerStatus {
	p.mu.Lock()
	s := p.status
	p.mu.Unlock()
	s.Sent, s.Received = messages(&p.count.sent), messages(&p.count.received)
	s.Connects, s.Ups, s.Downs = p.count.connects.Load(), p.count.ups.Load(), p.count.downs.Load()
	if s.State == Established {
		s.AdvertisedV4, s.AdvertisedV6 = int(p.count.advertised[ipv4].Load()), int(p.count.advertised[ipv6].Load())
	}
	return s
}

// Status is the state of each peer, by name.
func (a *Advertiser) Status() []PeerStatus {
	byKey := make(map[bfd.Key]bfd.Status)
	for _, s := range a.detector.Status() {
		byKey[s.Key()] = s
	}
	a.mu.Lock()
	peers := make([]*peer, 0, len(a.peers))
	for _, p := range a.peers {
		peers = append(peers, p)
	}
	a.mu.Unlock()
	slices.SortFunc(peers, func(x, y *peer) int { return strings.Compare(x.name, y.name) })
	all := make([]PeerStatus, len(peers))
	for i, p := range peers {
		all[i] = p.show()
		if s, ok := p.wantedBFD(); ok {
			if b, ok := byKey[s.Key()]; ok {
				all[i].BFD = &b
			}
		}
	}
	return all
}
