package bgp

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// Terms are what two OPENs agree on.
type terms struct {
	Internal     bool
	Hold         time.Duration // 0: neither timer runs
	Keepalive    time.Duration
	Families     [families]bool
	FourOctetAS  bool
	IPv4OverIPv6 bool
	Restart      bool // both know graceful restart
}

// shownAS is the AS that the peer sees.
func (p *Peer) shownAS() uint32 {
	if p.LocalAS != 0 {
		return p.LocalAS
	}
	return p.MyAS
}

// offer is what our OPEN says.
func (p *Peer) offer(routerID netip.Addr, overIPv6, restarting bool) open {
	if p.RouterID.IsValid() {
		routerID = p.RouterID
	}
	return open{
		AS: p.shownAS(), ID: routerID, Hold: p.HoldTime,
		Families:    [families]bool{ipv4: p.IPv4, ipv6: p.IPv6},
		FourOctetAS: true, RouteRefresh: true,
		IPv4OverIPv6:    overIPv6 && p.IPv4,
		GracefulRestart: p.GracefulRestart, Restarting: restarting, RestartTime: p.restartTime(),
	}
}

func (p *Peer) restartTime() time.Duration { return cmp.Or(p.RestartTime, defaultRestartTime) }

// agree says what a session is to be like, or why it cannot be (RFC 4271 §6.2).
func (p *Peer) agree(ours, theirs open) (terms, *notification) {
	t := terms{
		Internal: theirs.AS == ours.AS, Hold: min(ours.Hold, theirs.Hold),
		FourOctetAS: theirs.FourOctetAS, IPv4OverIPv6: ours.IPv4OverIPv6 && theirs.IPv4OverIPv6,
		Restart: ours.GracefulRestart && theirs.GracefulRestart,
	}
	t.Keepalive = t.Hold / 3
	if p.Keepalive > 0 {
		t.Keepalive = min(t.Keepalive, p.Keepalive)
	}
	if n := p.refuse(ours, theirs); n != nil {
		return t, n
	}
	common := false
	for f := range families {
		t.Families[f] = ours.Families[f] && theirs.Families[f]
		common = common || t.Families[f]
	}
	if !common {
		return t, openError(packet.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY, wanted(ours),
			"it speaks none of the address families that shall be advertised: activate one for this neighbour")
	}
	return t, nil
}

// refuse says what is wrong with the other side's AS, identifier or hold time.
func (p *Peer) refuse(ours, theirs open) *notification {
	const badAS = packet.BGP_ERROR_SUB_BAD_PEER_AS
	switch {
	case theirs.AS == 0:
		return openError(badAS, nil, "the router says that its AS is 0 (RFC 7607)")
	case p.PeerAS != 0 && theirs.AS != p.PeerAS:
		return openError(badAS, nil, "the router says that its AS is %d, %d is expected", theirs.AS, p.PeerAS)
	case p.PeerAS == 0 && p.Internal && !p.External && theirs.AS != ours.AS:
		return openError(badAS, nil, "the router says that its AS is %d, ours (%d) is expected", theirs.AS, ours.AS)
	case p.PeerAS == 0 && p.External && !p.Internal && theirs.AS == ours.AS:
		return openError(badAS, nil, "the router says that its AS is %d, which is ours, and another is expected", theirs.AS)
	case theirs.ID == netip.IPv4Unspecified():
		return openError(packet.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER, nil, "the router says that its identifier is 0.0.0.0")
	case theirs.ID == ours.ID && theirs.AS == ours.AS: // RFC 6286 §2.2
		return openError(packet.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER, nil, "the router has our own identifier, %s: one of the two must change", ours.ID)
	case theirs.Hold > 0 && theirs.Hold < 3*time.Second:
		return openError(packet.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME, nil, "the router offers a hold time of %s, the least is 3s", theirs.Hold)
	}
	return nil
}

// wanted are the capabilities without which there is no session (RFC 5492 §5).
func wanted(ours open) (octets []byte) {
	for f := range families {
		if ours.Families[f] {
			octets = append(octets, uint8(packet.BGP_CAP_MULTIPROTOCOL), 4)
			octets = append(binary.BigEndian.AppendUint16(octets, afi[f]), 0, packet.SAFI_UNICAST)
		}
	}
	return octets
}
