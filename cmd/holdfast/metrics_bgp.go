package main

import (
	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/speaker"
)

// What a copy tells of its BGP sessions.
var (
	descSession    = describe("bgp_session_up", "1 while the BGP session is established.", "peer")
	descPrefixes   = describe("bgp_prefixes_advertised", "Prefixes that the router has been told.", "peer", "family")
	descMessages   = describe("bgp_messages_total", "BGP messages, by direction (sent, received) and type.", "peer", "direction", "type")
	descConnects   = describe("bgp_connects_total", "Attempts to connect to the router.", "peer")
	descUps        = describe("bgp_session_ups_total", "Times that the session was established.", "peer")
	descDowns      = describe("bgp_session_downs_total", "Times that an established session ended.", "peer")
	descBFDUp      = describe("bfd_session_up", "1 while the BFD session is up.", "peer")
	descBFDUps     = describe("bfd_session_ups_total", "Times that the BFD session came up.", "peer")
	descBFDDowns   = describe("bfd_session_downs_total", "Times that the BFD session went down from being up.", "peer")
	descBFDPackets = describe("bfd_packets_total", "BFD packets, by direction (sent, received).", "peer", "direction")
	descBFDDropped = describe("bfd_packets_dropped_total", "BFD packets that were not taken, by reason.", "peer", "reason")
)

func (p put) peers(all []speaker.Peer) {
	for _, s := range all {
		p.gauge(descSession, one(s.State == bgp.Established), s.Name)
		p.gauge(descPrefixes, float64(s.AdvertisedV4), s.Name, "ipv4")
		p.gauge(descPrefixes, float64(s.AdvertisedV6), s.Name, "ipv6")
		p.messages(s.Name, "sent", s.Sent)
		p.messages(s.Name, "received", s.Received)
		p.counter(descConnects, s.Connects, s.Name)
		p.counter(descUps, s.Ups, s.Name)
		p.counter(descDowns, s.Downs, s.Name)
		if s.BFD != nil {
			p.bfd(s.Name, *s.BFD)
		}
	}
	p.metallb(all)
}

// one is 1 for true.
func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (p put) messages(peer, direction string, m bgp.Messages) {
	p.counter(descMessages, m.Opens, peer, direction, "open")
	p.counter(descMessages, m.Updates, peer, direction, "update")
	p.counter(descMessages, m.Notifications, peer, direction, "notification")
	p.counter(descMessages, m.Keepalives, peer, direction, "keepalive")
	p.counter(descMessages, m.RouteRefreshes, peer, direction, "route-refresh")
}

func (p put) bfd(peer string, s bfd.Status) {
	p.gauge(descBFDUp, one(s.State == bfd.Up), peer)
	p.counter(descBFDUps, s.Ups, peer)
	p.counter(descBFDDowns, s.Downs, peer)
	p.counter(descBFDPackets, s.PacketsOut, peer, "sent")
	p.counter(descBFDPackets, s.PacketsIn, peer, "received")
	for reason, n := range s.Dropped {
		p.counter(descBFDDropped, n, peer, reason)
	}
}
