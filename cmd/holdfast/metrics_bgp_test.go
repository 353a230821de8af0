package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/speaker"
)

// sessions collects the figures of BGP sessions.
type sessions []speaker.Peer

func (sessions) Describe(chan<- *prometheus.Desc)       {}
func (s sessions) Collect(out chan<- prometheus.Metric) { put(out).peers(s) }

// Sessions show under our names, by the name of the BGPPeer, and under MetalLB's, by
// address and port. Two peers with one router do not spoil all figures.
func TestMetricsOfSessions(t *testing.T) {
	router := netip.MustParseAddr("10.0.0.1")
	all := sessions{
		{PeerStatus: bgp.PeerStatus{
			Name: "tor1", Address: router, State: bgp.Established, AdvertisedV4: 12, AdvertisedV6: 3, Connects: 5, Ups: 3, Downs: 2,
			Sent:     bgp.Messages{Opens: 4, Updates: 17, Keepalives: 200, Notifications: 1},
			Received: bgp.Messages{Opens: 3, Keepalives: 201, RouteRefreshes: 1},
			BFD:      &bfd.Status{State: bfd.Up, PacketsIn: 1000, PacketsOut: 1001, Dropped: map[string]uint64{"TTL": 2}, Ups: 2, Downs: 1},
		}, Port: 179},
		{PeerStatus: bgp.PeerStatus{Name: "again", Address: router, BFD: &bfd.Status{}}, Port: 179},
		{PeerStatus: bgp.PeerStatus{Name: "tor2", State: bgp.Active}, Interface: "eth1", Port: 1179, VRF: "red"},
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(all)
	const want = `
# HELP holdfast_bfd_packets_dropped_total BFD packets that were not taken, by reason.
# TYPE holdfast_bfd_packets_dropped_total counter
holdfast_bfd_packets_dropped_total{peer="tor1",reason="TTL"} 2
# HELP holdfast_bfd_session_up 1 while the BFD session is up.
# TYPE holdfast_bfd_session_up gauge
holdfast_bfd_session_up{peer="again"} 0
holdfast_bfd_session_up{peer="tor1"} 1
# HELP holdfast_bgp_prefixes_advertised Prefixes that the router has been told.
# TYPE holdfast_bgp_prefixes_advertised gauge
holdfast_bgp_prefixes_advertised{family="ipv4",peer="again"} 0
holdfast_bgp_prefixes_advertised{family="ipv4",peer="tor1"} 12
holdfast_bgp_prefixes_advertised{family="ipv4",peer="tor2"} 0
holdfast_bgp_prefixes_advertised{family="ipv6",peer="again"} 0
holdfast_bgp_prefixes_advertised{family="ipv6",peer="tor1"} 3
holdfast_bgp_prefixes_advertised{family="ipv6",peer="tor2"} 0
# HELP holdfast_bgp_session_downs_total Times that an established session ended.
# TYPE holdfast_bgp_session_downs_total counter
holdfast_bgp_session_downs_total{peer="again"} 0
holdfast_bgp_session_downs_total{peer="tor1"} 2
holdfast_bgp_session_downs_total{peer="tor2"} 0
# HELP holdfast_bgp_session_up 1 while the BGP session is established.
# TYPE holdfast_bgp_session_up gauge
holdfast_bgp_session_up{peer="again"} 0
holdfast_bgp_session_up{peer="tor1"} 1
holdfast_bgp_session_up{peer="tor2"} 0
# HELP metallb_bfd_control_packet_input BFD control packets received. (MetalLB's name.)
# TYPE metallb_bfd_control_packet_input counter
metallb_bfd_control_packet_input{peer="10.0.0.1",vrf="default"} 1000
# HELP metallb_bfd_session_down_events Times that the BFD session went down from being up. (MetalLB's name.)
# TYPE metallb_bfd_session_down_events counter
metallb_bfd_session_down_events{peer="10.0.0.1",vrf="default"} 1
# HELP metallb_bfd_session_up 1 while the BFD session is up. (MetalLB's name.)
# TYPE metallb_bfd_session_up gauge
metallb_bfd_session_up{peer="10.0.0.1",vrf="default"} 1
# HELP metallb_bgp_announced_prefixes_total Prefixes that the router has been told. (MetalLB's name.)
# TYPE metallb_bgp_announced_prefixes_total gauge
metallb_bgp_announced_prefixes_total{peer="10.0.0.1:179",vrf="default"} 15
metallb_bgp_announced_prefixes_total{peer="eth1:1179",vrf="red"} 0
# HELP metallb_bgp_session_up 1 while the BGP session is established. (MetalLB's name.)
# TYPE metallb_bgp_session_up gauge
metallb_bgp_session_up{peer="10.0.0.1:179",vrf="default"} 1
metallb_bgp_session_up{peer="eth1:1179",vrf="red"} 0
# HELP metallb_bgp_total_sent BGP messages sent. (MetalLB's name.)
# TYPE metallb_bgp_total_sent counter
metallb_bgp_total_sent{peer="10.0.0.1:179",vrf="default"} 222
metallb_bgp_total_sent{peer="eth1:1179",vrf="red"} 0
# HELP metallb_bgp_updates_total BGP UPDATE messages sent. (MetalLB's name.)
# TYPE metallb_bgp_updates_total counter
metallb_bgp_updates_total{peer="10.0.0.1:179",vrf="default"} 17
metallb_bgp_updates_total{peer="eth1:1179",vrf="red"} 0
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want),
		"holdfast_bfd_packets_dropped_total", "holdfast_bfd_session_up", "holdfast_bgp_prefixes_advertised", "holdfast_bgp_session_downs_total", "holdfast_bgp_session_up",
		"metallb_bfd_control_packet_input", "metallb_bfd_session_down_events", "metallb_bfd_session_up",
		"metallb_bgp_announced_prefixes_total", "metallb_bgp_session_up", "metallb_bgp_total_sent", "metallb_bgp_updates_total"); err != nil {
		t.Error(err)
	}
	names := map[string]bool{}
	gathered, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range gathered {
		names[m.GetName()] = true
	}
	for kind, all := range map[string]string{
		"bgp": "session_up announced_prefixes_total opens_sent opens_received notifications_sent updates_total updates_total_received " +
			"keepalives_sent keepalives_received route_refresh_sent total_sent total_received",
		"bfd": "session_up control_packet_input control_packet_output echo_packet_input echo_packet_output session_up_events session_down_events",
	} {
		for _, n := range strings.Fields(all) {
			if !names["metallb_"+kind+"_"+n] {
				t.Errorf("MetalLB's metallb_%s_%s is missing", kind, n)
			}
		}
	}
}
