package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	asTrans            = 23456 // RFC 6793 §9
	defaultRestartTime = 120 * time.Second
	maxRestartTime     = 4095 // seconds: 12 bits, RFC 4724 §3
	extendedParameters = 255  // RFC 9072 §2
	restartingBit      = 0x8000
)

// An open is what an OPEN says (RFC 4271 §4.2), as far as it matters here.
type open struct {
	AS              uint32
	ID              netip.Addr
	Hold            time.Duration
	Families        [families]bool
	FourOctetAS     bool
	RouteRefresh    bool
	IPv4OverIPv6    bool          // RFC 8950
	GracefulRestart bool          // RFC 4724
	Restarting      bool          // its R bit
	RestartTime     time.Duration // of GracefulRestart
}

// message encodes o with the capabilities that it names.
func (o open) message() []byte {
	var caps []packet.ParameterCapabilityInterface
	var restart []*packet.CapGracefulRestartTuple
	for f := range families {
		if o.Families[f] {
			caps = append(caps, packet.NewCapMultiProtocol(routeFamily[f]))
			restart = append(restart, packet.NewCapGracefulRestartTuple(routeFamily[f], true))
		}
	}
	if o.RouteRefresh {
		caps = append(caps, packet.NewCapRouteRefresh())
	}
	if o.IPv4OverIPv6 {
		caps = append(caps, packet.NewCapExtendedNexthop([]*packet.CapExtendedNexthopTuple{
			packet.NewCapExtendedNexthopTuple(packet.RF_IPv4_UC, packet.AFI_IP6)}))
	}
	if o.GracefulRestart {
		seconds := min(int64(o.RestartTime/time.Second), maxRestartTime)
		caps = append(caps, packet.NewCapGracefulRestart(o.Restarting, false, uint16(seconds), restart))
	}
	as := uint16(asTrans)
	if o.AS <= 0xffff {
		as = uint16(o.AS)
	}
	if o.FourOctetAS {
		caps = append(caps, packet.NewCapFourOctetASNumber(o.AS))
	}
	return mustSerialize(packet.NewBGPOpenMessage(as, uint16(o.Hold/time.Second), o.ID.String(),
		[]packet.OptionParameterInterface{packet.NewOptionParameterCapability(caps)}))
}

// parseOpen reads the body of an OPEN, at least 10 octets long. What it names and
// we do not know is passed over (RFC 5492 §3).
func parseOpen(body []byte) (open, *notification) {
	o := open{
		AS:   uint32(binary.BigEndian.Uint16(body[1:])),
		Hold: time.Duration(binary.BigEndian.Uint16(body[3:])) * time.Second,
		ID:   netip.AddrFrom4([4]byte(body[5:9])),
	}
	if body[0] != 4 {
		return o, openError(packet.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER, []byte{0, 4}, "it speaks version %d, we 4", body[0])
	}
	malformed := openError(0, nil, "its optional parameters are malformed")
	rest, width := body[10:], 1
	size := int(body[9])
	if size == extendedParameters && len(rest) >= 3 && rest[0] == extendedParameters { // RFC 9072 §2
		size, width = int(binary.BigEndian.Uint16(rest[1:])), 2
		rest = rest[3:]
	}
	if size != len(rest) {
		return o, malformed
	}
	multiprotocol := false
	for len(rest) > 0 {
		kind, value, after, ok := cutField(rest, width)
		if !ok {
			return o, malformed
		}
		if kind != packet.BGP_OPT_CAPABILITY {
			return o, openError(packet.BGP_ERROR_SUB_UNSUPPORTED_OPTIONAL_PARAMETER, nil, "it wants optional parameter %d", kind)
		}
		rest = after
		for len(value) > 0 {
			code, content, next, ok := cutField(value, 1)
			if !ok {
				return o, malformed
			}
			multiprotocol = multiprotocol || code == uint8(packet.BGP_CAP_MULTIPROTOCOL)
			o.learn(packet.BGPCapabilityCode(code), content)
			value = next
		}
	}
	if !multiprotocol {
		o.Families[ipv4] = true // RFC 4760 §8
	}
	return o, nil
}

// cutField takes one type, length and value off b, its length width octets wide.
func cutField(b []byte, width int) (kind uint8, value, rest []byte, ok bool) {
	if len(b) < 1+width {
		return 0, nil, nil, false
	}
	size := int(b[1])
	if width == 2 {
		size = int(binary.BigEndian.Uint16(b[1:]))
	}
	kind, b = b[0], b[1+width:]
	if size > len(b) {
		return 0, nil, nil, false
	}
	return kind, b[:size], b[size:], true
}

// learn takes one capability over. One of the wrong length is as good as none.
func (o *open) learn(code packet.BGPCapabilityCode, value []byte) {
	switch {
	case code == packet.BGP_CAP_MULTIPROTOCOL && len(value) == 4:
		if f, ok := familyOf(binary.BigEndian.Uint16(value), value[3]); ok {
			o.Families[f] = true
		}
	case code == packet.BGP_CAP_ROUTE_REFRESH:
		o.RouteRefresh = true
	case code == packet.BGP_CAP_FOUR_OCTET_AS_NUMBER && len(value) == 4:
		o.FourOctetAS, o.AS = true, binary.BigEndian.Uint32(value)
	case code == packet.BGP_CAP_EXTENDED_NEXTHOP:
		for tuple := range slices.Chunk(value, 6) { // AFI, SAFI and AFI of the next hop, two octets each
			if len(tuple) == 6 && binary.BigEndian.Uint32(tuple) == packet.AFI_IP<<16|packet.SAFI_UNICAST &&
				binary.BigEndian.Uint16(tuple[4:]) == packet.AFI_IP6 {
				o.IPv4OverIPv6 = true
			}
		}
	case code == packet.BGP_CAP_GRACEFUL_RESTART && len(value) >= 2:
		word := binary.BigEndian.Uint16(value)
		o.GracefulRestart, o.Restarting = true, word&restartingBit != 0
		o.RestartTime = time.Duration(word&maxRestartTime) * time.Second
	}
}
