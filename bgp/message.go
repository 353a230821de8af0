package bgp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	headerLen     = 19   // RFC 4271 §4.1
	maxMessageLen = 4096 // RFC 4271 §4.1; RFC 8654 is not negotiated
)

// What a message of each type is long at least, RFC 4271 §6.1 and RFC 2918 §3.
var minMessageLen = [...]int{
	packet.BGP_MSG_OPEN:          29,
	packet.BGP_MSG_UPDATE:        23,
	packet.BGP_MSG_NOTIFICATION:  21,
	packet.BGP_MSG_KEEPALIVE:     19,
	packet.BGP_MSG_ROUTE_REFRESH: 23,
}

var marker = bytes.Repeat([]byte{0xff}, 16)

// readMessage reads one message. The body of an UPDATE is skipped. The body is
// valid until the next call. An error is a *notification if the peer must be
// told, else what reading said. The reader's buffer holds a whole message.
func readMessage(r *bufio.Reader) (kind uint8, body []byte, err error) {
	head, err := r.Peek(headerLen)
	if err != nil {
		return 0, nil, err
	}
	kind, length := head[18], int(binary.BigEndian.Uint16(head[16:]))
	if n := checkHeader(head, kind, length); n != nil {
		return 0, nil, n
	}
	if kind == packet.BGP_MSG_UPDATE {
		_, err = r.Discard(length)
		return kind, nil, err
	}
	whole, err := r.Peek(length)
	if err != nil {
		return 0, nil, err
	}
	_, err = r.Discard(length)
	return kind, whole[headerLen:], err
}

// checkHeader is RFC 4271 §6.1.
func checkHeader(head []byte, kind uint8, length int) *notification {
	switch {
	case !bytes.Equal(head[:16], marker):
		return headerError(packet.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED, nil)
	case kind == 0 || int(kind) >= len(minMessageLen):
		return headerError(packet.BGP_ERROR_SUB_BAD_MESSAGE_TYPE, []byte{kind})
	case length < minMessageLen[kind], length > maxMessageLen,
		kind == packet.BGP_MSG_KEEPALIVE && length != headerLen:
		return headerError(packet.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, bytes.Clone(head[16:18]))
	}
	return nil
}

func headerError(subcode uint8, octets []byte) *notification {
	return &notification{code: packet.BGP_ERROR_MESSAGE_HEADER_ERROR, subcode: subcode, octets: octets}
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxMessageLen) }

// refreshedFamily is what a ROUTE-REFRESH asks for again (RFC 2918 §3).
func refreshedFamily(body []byte) (family, bool) {
	if len(body) != 4 { // §3; RFC 7313's demarcations, which are not asked for, are that long too
		return 0, false
	}
	return familyOf(binary.BigEndian.Uint16(body), body[3])
}

// A family of addresses, both unicast.
type family uint8

const (
	ipv4 family = iota
	ipv6
	families // how many there are
)

var (
	afi         = [families]uint16{packet.AFI_IP, packet.AFI_IP6}
	routeFamily = [families]packet.RouteFamily{packet.RF_IPv4_UC, packet.RF_IPv6_UC}
)

func (f family) String() string { return [...]string{"IPv4", "IPv6"}[f] }

func familyOf(a uint16, safi uint8) (family, bool) {
	for f := range families {
		if a == afi[f] && safi == packet.SAFI_UNICAST {
			return f, true
		}
	}
	return 0, false
}

// keepalive and the others are whole messages.
var keepalive = mustSerialize(packet.NewBGPKeepAliveMessage())

// mustSerialize encodes a message that cannot be too long.
func mustSerialize(m *packet.BGPMessage) []byte {
	b, err := m.Serialize()
	if err != nil {
		panic(fmt.Sprintf("bgp: encoding a message of type %d: %v", m.Header.Type, err))
	}
	return b
}
