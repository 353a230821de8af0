package main

import (
	"cmp"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/speaker"
)

// The figures of sessions under the names that MetalLB gives them with FRR, so that
// its users' dashboards and alerts go on: the label peer is ADDRESS:PORT for BGP and
// ADDRESS for BFD, vrf is "default" outside a VRF. What says how far FRR itself has
// come (zebra_notifications) has no counterpart.
var (
	metallbSession    = metallb("bgp_session_up", "1 while the BGP session is established.")
	metallbPrefixes   = metallb("bgp_announced_prefixes_total", "Prefixes that the router has been told.")
	metallbOpensOut   = metallb("bgp_opens_sent", "BGP OPEN messages sent.")
	metallbOpensIn    = metallb("bgp_opens_received", "BGP OPEN messages received.")
	metallbNotesOut   = metallb("bgp_notifications_sent", "BGP NOTIFICATION messages sent.")
	metallbUpdatesOut = metallb("bgp_updates_total", "BGP UPDATE messages sent.")
	metallbUpdatesIn  = metallb("bgp_updates_total_received", "BGP UPDATE messages received.")
	metallbAliveOut   = metallb("bgp_keepalives_sent", "BGP KEEPALIVE messages sent.")
	metallbAliveIn    = metallb("bgp_keepalives_received", "BGP KEEPALIVE messages received.")
	metallbRefreshOut = metallb("bgp_route_refresh_sent", "BGP ROUTE-REFRESH messages sent.")
	metallbAllOut     = metallb("bgp_total_sent", "BGP messages sent.")
	metallbAllIn      = metallb("bgp_total_received", "BGP messages received.")

	metallbBFD      = metallb("bfd_session_up", "1 while the BFD session is up.")
	metallbBFDIn    = metallb("bfd_control_packet_input", "BFD control packets received.")
	metallbBFDOut   = metallb("bfd_control_packet_output", "BFD control packets sent.")
	metallbEchoIn   = metallb("bfd_echo_packet_input", "BFD echo packets received: none, there is no echo mode.")
	metallbEchoOut  = metallb("bfd_echo_packet_output", "BFD echo packets sent: none, there is no echo mode.")
	metallbBFDUps   = metallb("bfd_session_up_events", "Times that the BFD session came up.")
	metallbBFDDowns = metallb("bfd_session_down_events", "Times that the BFD session went down from being up.")
)

func metallb(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("metallb_"+name, help+" (MetalLB's name.)", []string{"peer", "vrf"}, nil)
}

// metallb writes each session once: of two peers with one router, the first.
func (p put) metallb(all []speaker.Peer) {
	type session struct{ peer, vrf string }
	seen, seenBFD := map[session]bool{}, map[session]bool{}
	for _, s := range all {
		router := s.Interface
		if s.Address.IsValid() {
			router = s.Address.String()
		}
		at := session{fmt.Sprintf("%s:%d", router, cmp.Or(s.Port, 179)), cmp.Or(s.VRF, "default")}
		if !seen[at] {
			seen[at] = true
			p.metallbBGP(s.PeerStatus, at.peer, at.vrf)
		}
		at.peer = router
		if s.BFD != nil && !seenBFD[at] {
			seenBFD[at] = true
			p.metallbBFD(*s.BFD, at.peer, at.vrf)
		}
	}
}

func (p put) metallbBGP(s bgp.PeerStatus, peer, vrf string) {
	sum := func(m bgp.Messages) uint64 {
		return m.Opens + m.Updates + m.Notifications + m.Keepalives + m.RouteRefreshes
	}
	p.gauge(metallbSession, one(s.State == bgp.Established), peer, vrf)
	p.gauge(metallbPrefixes, float64(s.AdvertisedV4+s.AdvertisedV6), peer, vrf)
	p.counter(metallbOpensOut, s.Sent.Opens, peer, vrf)
	p.counter(metallbOpensIn, s.Received.Opens, peer, vrf)
	p.counter(metallbNotesOut, s.Sent.Notifications, peer, vrf)
	p.counter(metallbUpdatesOut, s.Sent.Updates, peer, vrf)
	p.counter(metallbUpdatesIn, s.Received.Updates, peer, vrf)
	p.counter(metallbAliveOut, s.Sent.Keepalives, peer, vrf)
	p.counter(metallbAliveIn, s.Received.Keepalives, peer, vrf)
	p.counter(metallbRefreshOut, s.Sent.RouteRefreshes, peer, vrf)
	p.counter(metallbAllOut, sum(s.Sent), peer, vrf)
	p.counter(metallbAllIn, sum(s.Received), peer, vrf)
}

func (p put) metallbBFD(s bfd.Status, peer, vrf string) {
	p.gauge(metallbBFD, one(s.State == bfd.Up), peer, vrf)
	p.counter(metallbBFDIn, s.PacketsIn, peer, vrf)
	p.counter(metallbBFDOut, s.PacketsOut, peer, vrf)
	p.counter(metallbEchoIn, 0, peer, vrf)
	p.counter(metallbEchoOut, 0, peer, vrf)
	p.counter(metallbBFDUps, s.Ups, peer, vrf)
	p.counter(metallbBFDDowns, s.Downs, peer, vrf)
}
