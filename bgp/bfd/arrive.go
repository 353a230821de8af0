package bfd

import (
	"fmt"
	"net/netip"
	"time"
)

// arrive takes what the inbox holds: it finds the session and gives it the packet.
func (l *loop) arrive(n *listener, came, now time.Time) {
	in := l.inbox
	p, why := parse(in.payload())
	if why != taken {
		l.dropped[why]++
		return
	}
	s := l.find(n, p, in)
	if s == nil {
		l.dropped[dropNoSession]++
		return
	}
	if why := s.admits(in); why != taken {
		s.dropped[why]++
		l.turnAway(s, why, in)
		return
	}
	s.in++
	s.turned = taken
	l.do(s, s.m.receive(p, came, now), now)
	l.schedule(s, now)
}

// find is the session that a packet is for: the one whose discriminator it names, or,
// if it names none, the one with its sender (RFC 5880 §6.3).
func (l *loop) find(n *listener, p packet, in *inbox) *session {
	if p.your != 0 {
		if s := l.byDiscr[p.your]; s != nil && s.listener == n {
			return s
		}
		return nil
	}
	for _, s := range l.byPeer[in.from] {
		if s.listener == n && (!linkLocal(in.from) || s.index == in.index) {
			return s
		}
	}
	return nil
}

// admits tells whether a packet came the way that the session prescribes.
func (s *session) admits(in *inbox) drop {
	switch {
	case !s.want.Multihop && in.ttl != 255: // RFC 5881 §5
		return dropTTL
	case s.want.Multihop && in.ttl < s.want.Profile.MinimumTTL:
		return dropTTL
	case s.want.Interface != "" && in.index != s.index:
		return dropInterface
	}
	return taken
}

// turnAway notes that packets of the peer are not admitted, which the operator of either
// side may want to know while the session is not up.
func (l *loop) turnAway(s *session, why drop, in *inbox) {
	first := s.turned != why
	if s.turned, s.turnedTTL = why, in.ttl; first && s.m.state != Up {
		l.warn(s, s.turnedAway())
	}
}

// turnedAway says why the newest packet was not admitted, and what to do.
func (s *session) turnedAway() string {
	switch {
	case s.turned == taken || s.m.state == Up:
		return ""
	case s.turned == dropInterface:
		return fmt.Sprintf("packets of the peer do not come in on %s: name the interface that they come in on, or none", s.want.Interface)
	case s.want.Multihop:
		return fmt.Sprintf("packets of the peer come with TTL %d, less than %d: set the profile's minimum TTL to no more than that",
			s.turnedTTL, s.want.Profile.MinimumTTL)
	}
	return fmt.Sprintf("packets of the peer come with TTL %d instead of 255: it is no neighbour, or does not follow RFC 5881 §5", s.turnedTTL)
}

func linkLocal(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }
