package speaker

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
)

// This file joins what routes decides with package bgp.

// Advertiser advertises routes: a bgp.Advertiser, or a stand-in.
type Advertiser interface {
	Run(ctx context.Context) error
	Set(prefixes []bgp.Prefix, peers []bgp.Peer)
	Close(ctx context.Context, reason string)
	Status() []bgp.PeerStatus
}

// SetSessions tells which BGP sessions this node shall have. It does not wait.
// None comes up before it is known what is to be advertised.
func (s *Speaker) SetSessions(sessions []peering.Session) {
	peers := make([]bgp.Peer, len(sessions))
	for i, session := range sessions {
		peers[i] = peerOf(session)
	}
	s.do(func(time.Time) {
		s.peers, s.routes.changed = peers, true
	})
}

// Advertised returns by Service the names of the BGP peers to which this node
// advertises one of its addresses, sorted.
func (s *Speaker) Advertised() (all map[allocator.ServiceName][]string) {
	s.ask(func(time.Time) { all = s.routes.advertised(s.peerNames()) })
	return all
}

// Peers returns how the BGP sessions of this node stand.
func (s *Speaker) Peers() []bgp.PeerStatus { return s.bgp.Status() }

// Withdraw ends BGP for good: routers are asked to prefer other nodes, get
// Times.Drain for it or until ctx ends, and then the sessions are closed. Without
// it they end silently with Run, and routers with graceful restart keep the routes
// for the next daemon.
func (s *Speaker) Withdraw(ctx context.Context, reason string) {
	told := 0
	s.ask(func(time.Time) {
		s.routes.leave()
		told = len(s.routes.table.list)
	})
	if told > 0 {
		s.log.Info("asks routers to prefer other nodes", "routes", told, "duration", s.core.times.Drain)
		select {
		case <-ctx.Done():
		case <-time.After(s.core.times.Drain):
		}
	}
	s.bgp.Close(ctx, reason)
}

// peerNames are the names of the peers, sorted. In the loop.
func (s *Speaker) peerNames() []string {
	names := make([]string, len(s.peers))
	for i, p := range s.peers {
		names[i] = p.Name
	}
	slices.Sort(names)
	return names
}

// advertise tells bgp what routes has decided. In the loop.
func (s *Speaker) advertise(now time.Time) (wake time.Time) {
	wake = s.routes.decide(now)
	for _, n := range s.routes.notes {
		s.say(n)
	}
	s.routes.notes = nil
	if s.routes.changed && s.routes.ready {
		s.bgp.Set(s.routes.table.prefixes(s.peerNames(), s.routes.leaving), s.peers)
		s.routes.changed = false
		if s.advertising != nil {
			s.advertising()
		}
	}
	return wake
}

func peerOf(s peering.Session) bgp.Peer {
	p := bgp.Peer{
		Name: s.Name, Frozen: s.Frozen,
		Address: s.Address, Interface: s.Interface, Port: s.Port, Source: s.Source, Device: s.VRF,
		MyAS: s.MyAS, LocalAS: s.LocalAS, PeerAS: s.PeerAS, Internal: s.Internal, External: s.External, RouterID: s.RouterID,
		IPv4: s.IPv4, IPv6: s.IPv6,
		HoldTime: s.HoldTime, Keepalive: s.Keepalive, Connect: s.Connect,
		Multihop: s.Multihop, TTLSecurity: s.TTLSecurity, Password: s.Password, GracefulRestart: s.GracefulRestart,
	}
	if b := s.BFD; b != nil {
		p.BFD = &bfd.Profile{Transmit: b.Transmit, Receive: b.Receive, Multiplier: b.Multiplier, Passive: b.Passive, MinimumTTL: b.MinimumTTL}
	}
	return p
}

// someRouterID is a BGP identifier made of a name, for peers that are given none:
// any that no other router of the AS has (RFC 6286 §2.1).
func someRouterID(node string) netip.Addr {
	h := uint32(2166136261) // FNV-1a
	for i := range len(node) {
		h = (h ^ uint32(node[i])) * 16777619
	}
	return netip.AddrFrom4([4]byte{byte(h>>24) | 1, byte(h >> 16), byte(h >> 8), byte(h)})
}
