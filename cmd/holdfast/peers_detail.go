package main

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/speaker"
)

// detailPeers writes all that is known of sessions, for people.
func detailPeers(w io.Writer, peers []speaker.Peer, now time.Time) {
	if len(peers) == 0 {
		fmt.Fprintln(w, nobody)
		return
	}
	for i, p := range peers {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, p.Name)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		say := func(what, format string, args ...any) {
			fmt.Fprintf(t, "  %s\t%s\n", what, fmt.Sprintf(format, args...))
		}
		say("router", "%s", routerOf(p))
		say("state", "%s for %s: %s", p.State, brief(now.Sub(p.Since).Round(time.Second)), p.Reason)
		for _, text := range remarks(p) {
			say("note", "%s", text)
		}
		if p.LastError != "" {
			say("last error", "%s", p.LastError)
		}
		say("AS shown", "%d", p.LocalAS)
		if p.State == bgp.Established {
			detailSession(say, p.PeerStatus)
		}
		say("sent", "%s", countOf(p.Sent))
		say("received", "%s", countOf(p.Received))
		say("sessions", "%d established, %d lost, %d attempts to connect", p.Ups, p.Downs, p.Connects)
		if p.BFD != nil {
			detailBFD(say, *p.BFD, now)
		}
		_ = t.Flush() // as far as the reader is there
	}
}

func routerOf(p speaker.Peer) string {
	text := "not found yet"
	if p.Address.IsValid() {
		text = netip.AddrPortFrom(p.Address, p.Port).String()
	}
	if p.Interface != "" {
		text += " on " + p.Interface
	}
	if p.VRF != "" {
		text += " in VRF " + p.VRF
	}
	return text
}

// detailSession is about a session that is established.
func detailSession(say func(what, format string, args ...any), p bgp.PeerStatus) {
	kind := "external"
	if p.Internal {
		kind = "internal"
	}
	say("peer", "AS %d (%s), router ID %s", p.RemoteAS, kind, p.RemoteID)
	say("connection", "%s to %s", p.Local, p.Remote)
	if p.HoldTime == 0 {
		say("timers", "none: the hold time is 0")
	} else {
		say("timers", "hold %s, keepalive %s", brief(p.HoldTime), brief(p.Keepalive))
	}
	var agreed []string
	for _, c := range []struct {
		is   bool
		name string
	}{
		{p.IPv4, "IPv4"}, {p.IPv6, "IPv6"}, {p.ExtendedNextHop, "IPv4 with IPv6 next hops"},
		{p.FourOctetAS, "four-octet AS"}, {p.RouteRefresh, "route refresh"},
	} {
		if c.is {
			agreed = append(agreed, c.name)
		}
	}
	if p.GracefulRestart {
		agreed = append(agreed, "graceful restart (the router's restart time is "+brief(p.RemoteRestartTime)+")")
	}
	say("agreed on", "%s", strings.Join(agreed, ", "))
	say("advertised", "%d IPv4, %d IPv6 prefixes", p.AdvertisedV4, p.AdvertisedV6)
}

func detailBFD(say func(what, format string, args ...any), b bfd.Status, now time.Time) {
	say("BFD", "%s for %s: %s", b.State, brief(now.Sub(b.Since).Round(time.Second)), b.Reason)
	say("BFD sends", "every %s, wants to hear every %s, multiplier %d", b.TransmitEvery, b.Profile.Receive, b.Profile.Multiplier)
	if b.DetectAfter > 0 {
		say("BFD hears", "a router that is %s, offers every %s, wants every %s, multiplier %d; dead after %s of silence",
			b.RemoteState, b.RemoteTransmit, b.RemoteReceive, b.RemoteMultiplier, b.DetectAfter)
	} else {
		say("BFD hears", "nothing")
	}
	say("BFD packets", "%d sent, %d received, %d not sent%s", b.PacketsOut, b.PacketsIn, b.SendErrors, droppedOf(b.Dropped))
	say("BFD sessions", "%d up, %d down", b.Ups, b.Downs)
}

func droppedOf(by map[string]uint64) (text string) {
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		text += fmt.Sprintf(", %d dropped (%s)", by[reason], reason)
	}
	return text
}

func countOf(m bgp.Messages) string {
	return fmt.Sprintf("%d OPEN, %d UPDATE, %d KEEPALIVE, %d NOTIFICATION, %d ROUTE-REFRESH", m.Opens, m.Updates, m.Keepalives, m.Notifications, m.RouteRefreshes)
}
