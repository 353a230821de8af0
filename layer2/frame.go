package layer2

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// mac is an Ethernet address.
type mac [6]byte

var (
	broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes  = mac{0x33, 0x33, 0, 0, 0, 1} // of ff02::1, RFC 2464 §7

	allNodesIP = netip.MustParseAddr("ff02::1")
)

// station says whether m can be the address of one station.
func (m mac) station() bool { return m != mac{} && m[0]&1 == 0 }

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

const (
	typeARP  = 0x0806
	typeIPv6 = 0x86dd

	etherLen = 14
)

// etherType returns the type of an Ethernet frame, 0 if it is none.
func etherType(frame []byte) uint16 {
	if len(frame) < etherLen {
		return 0
	}
	return binary.BigEndian.Uint16(frame[12:])
}

func etherSource(frame []byte) mac { return mac(frame[6:12]) }

func appendEther(b []byte, dst, src mac, kind uint16) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}
