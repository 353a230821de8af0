package speaker

import (
	"context"
	"errors"
	"fmt"
	"time"

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
		peers[i].RestartTime = s.restartTime
	}
	s.do(func(now time.Time) {
		drain := s.core.times.Drain
		if len(s.routes.table.list) == 0 {
			drain = 0
		}
		s.roster.set(now, peers, drain)
		s.routes.changed = true
	})
}

// connecting is how long a copy that has just started waits for its routers before
// it calls itself ready, so that a rolling update does not go on to the next node
// while no router knows this one. One that is down must not stop the update.
const connecting = 15 * time.Second

// Routed tells, by an error, that routers do not know yet what this node advertises.
func (s *Speaker) Routed() error {
	var since time.Time
	if !s.ask(func(time.Time) { since = s.routes.ready }) || since.IsZero() {
		return errors.New("still waits until it knows what it can advertise by BGP")
	}
	if time.Since(since) > connecting {
		return nil
	}
	for _, p := range s.bgp.Status() {
		if p.Ups == 0 && !p.Frozen {
			return fmt.Errorf("no session with BGP peer %s yet: %s", p.Name, p.Reason)
		}
	}
	return nil
}

// Withdraw ends BGP for good: routers are asked to prefer other nodes, get
// Times.Drain for it or until ctx ends, and then the sessions are closed.
func (s *Speaker) Withdraw(ctx context.Context, reason string) {
	s.relieve(ctx, nil)
	s.bgp.Close(ctx, reason)
}

// Pause prepares for the next daemon on this node: the sessions will end silently
// with Run. Routers that know graceful restart keep the routes for the next one;
// those that do not would drop them, and are asked to prefer other nodes before.
func (s *Speaker) Pause(ctx context.Context) {
	forgetful := map[string]bool{}
	for _, p := range s.bgp.Status() {
		if p.State == bgp.Established && !p.GracefulRestart {
			forgetful[p.Name] = true
		}
	}
	if len(forgetful) > 0 {
		s.relieve(ctx, forgetful)
	}
}

// relieve asks the named routers, all if there is no list, to prefer other nodes,
// and gives them time for it.
func (s *Speaker) relieve(ctx context.Context, routers map[string]bool) {
	told := 0
	s.ask(func(time.Time) {
		s.roster.end(routers)
		s.routes.changed = true
		told = len(s.routes.table.list)
	})
	if told == 0 {
		return
	}
	s.log.Info("asks routers to prefer other nodes", "routes", told, "duration", s.core.times.Drain)
	select {
	case <-ctx.Done():
	case <-time.After(s.core.times.Drain):
	}
}

// advertise tells bgp what routes has decided. In the loop.
func (s *Speaker) advertise(now time.Time) (wake time.Time) {
	wake = s.routes.decide(now)
	for _, n := range s.routes.notes {
		s.say(n)
	}
	s.routes.notes = nil
	expired, next := s.roster.expire(now)
	if (s.routes.changed || expired) && !s.routes.ready.IsZero() {
		s.bgp.Set(s.routes.table.prefixes(s.roster.names, s.roster.parting()), s.roster.peers)
		peers := s.roster.peers // never changed once made
		s.told.Store(&peers)
		s.routes.changed = false
		if s.advertising != nil {
			s.advertising()
		}
	}
	return earlier(wake, next)
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
