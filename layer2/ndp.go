package layer2

import (
	"encoding/binary"
	"net/netip"
)

// ICMPv6 types of RFC 4861 §4.3 and §4.4.
const (
	neighborSolicitation  = 135
	neighborAdvertisement = 136
)

// Flags of an advertisement, RFC 4861 §4.4.
const (
	flagSolicited = 0x40
	flagOverride  = 0x20
)

const (
	ipv6Len     = 40
	neighborLen = 24 // ICMPv6 header, reserved or flags, target
	hopLimit    = 255
	protoICMPv6 = 58

	optionSourceLink = 1
	optionTargetLink = 2
)

// neighborMessage is a neighbour solicitation or advertisement.
type neighborMessage struct {
	kind             byte
	flags            byte // of an advertisement
	src, dst, target netip.Addr
	link             mac // of the link-layer option that belongs to the kind; zero: none
}

// parseNDP reads an Ethernet frame of type IPv6 that holds a solicitation or
// an advertisement, with the checks of RFC 4861 §7.1.
func parseNDP(frame []byte) (m neighborMessage, ok bool) {
	if len(frame) < etherLen+ipv6Len+neighborLen {
		return m, false
	}
	ip := frame[etherLen:]
	n := int(binary.BigEndian.Uint16(ip[4:]))
	if ip[0]>>4 != 6 || ip[6] != protoICMPv6 || ip[7] != hopLimit || n < neighborLen || ipv6Len+n > len(ip) {
		return m, false
	}
	icmp := ip[ipv6Len : ipv6Len+n]
	m = neighborMessage{
		kind: icmp[0], flags: icmp[4],
		src: netip.AddrFrom16([16]byte(ip[8:24])), dst: netip.AddrFrom16([16]byte(ip[24:40])),
		target: netip.AddrFrom16([16]byte(icmp[8:24])),
	}
	want := byte(optionTargetLink)
	if m.kind == neighborSolicitation {
		want, m.flags = optionSourceLink, 0
	}
	if icmp[1] != 0 || m.target.IsMulticast() || m.src.IsMulticast() || checksum(m.src, m.dst, icmp) != 0 {
		return m, false
	}
	if m.link, ok = linkOption(icmp[neighborLen:], want); !ok {
		return m, false
	}
	return m, m.sound()
}

// sound holds the rules for fields that depend on each other.
func (m neighborMessage) sound() bool {
	switch m.kind {
	case neighborSolicitation:
		return !m.src.IsUnspecified() || (m.dst == solicitedNode(m.dst) && m.link == mac{})
	case neighborAdvertisement:
		return !m.dst.IsMulticast() || m.flags&flagSolicited == 0
	}
	return false
}

// linkOption walks the options and returns the Ethernet address of the first
// one of the wanted type that holds a station's. Others are skipped, as RFC
// 4861 §4.6 wants; one of length zero makes the message invalid.
func linkOption(b []byte, want byte) (found mac, ok bool) {
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || int(b[1])*8 > len(b) {
			return mac{}, false
		}
		if m := mac(b[2:8]); b[0] == want && b[1] == 1 && found == (mac{}) && m.station() {
			found = m
		}
		b = b[int(b[1])*8:]
	}
	return found, true
}

// advertisement returns the message that tells dst that own has the address;
// it is solicited unless dst is a group.
func advertisement(addr, dst netip.Addr, own mac) neighborMessage {
	m := neighborMessage{kind: neighborAdvertisement, flags: flagOverride, src: addr, dst: dst, target: addr, link: own}
	if !dst.IsMulticast() {
		m.flags |= flagSolicited
	}
	return m
}

// appendNDP appends the frame that carries m, with its link-layer option unless m
// has none.
func appendNDP(b []byte, dst, src mac, m neighborMessage) []byte {
	b = appendEther(b, dst, src, typeIPv6)
	from, to, target := m.src.As16(), m.dst.As16(), m.target.As16()
	size := byte(neighborLen)
	if m.link != (mac{}) {
		size += 8
	}
	b = append(b, 0x60, 0, 0, 0, 0, size, protoICMPv6, hopLimit)
	b = append(b, from[:]...)
	b = append(b, to[:]...)
	start := len(b)
	b = append(b, m.kind, 0, 0, 0, m.flags, 0, 0, 0)
	b = append(b, target[:]...)
	if m.link != (mac{}) {
		option := byte(optionTargetLink)
		if m.kind == neighborSolicitation {
			option = optionSourceLink
		}
		b = append(b, option, 1)
		b = append(b, m.link[:]...)
	}
	binary.BigEndian.PutUint16(b[start+2:], checksum(m.src, m.dst, b[start:]))
	return b
}

// checksum is that of RFC 4443 §2.3: 0 over a message that holds its own.
func checksum(src, dst netip.Addr, icmp []byte) uint16 {
	from, to := src.As16(), dst.As16()
	sum := uint32(len(icmp)) + protoICMPv6
	for _, b := range [][]byte{from[:], to[:], icmp} {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// solicitedNode is the group of RFC 4291 §2.7.1 that solicitations for an
// address are sent to; addresses with the same last 24 bits share it.
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}
