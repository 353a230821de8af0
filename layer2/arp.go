package layer2

import (
	"encoding/binary"
	"net/netip"
)

// Operations of RFC 826.
const (
	arpRequest = 1
	arpReply   = 2
)

const arpLen = etherLen + 28

// arpPacket is an ARP packet for IPv4 on Ethernet.
type arpPacket struct {
	op       uint16
	sha, tha mac        // sender and target hardware address
	spa, tpa netip.Addr // sender and target protocol address
}

// arpHead is what every such packet starts with: Ethernet, IPv4, 6 and 4 bytes.
var arpHead = [6]byte{0, 1, 8, 0, 6, 4}

// parseARP reads an Ethernet frame of type ARP; padding may follow the packet.
// It refuses operations other than request and reply, and senders that are no
// station: an answer to a group address would go to many.
func parseARP(frame []byte) (p arpPacket, ok bool) {
	if len(frame) < arpLen || [6]byte(frame[etherLen:]) != arpHead {
		return p, false
	}
	b := frame[etherLen+6:]
	p = arpPacket{
		op:  binary.BigEndian.Uint16(b),
		sha: mac(b[2:8]), spa: netip.AddrFrom4([4]byte(b[8:12])),
		tha: mac(b[12:18]), tpa: netip.AddrFrom4([4]byte(b[18:22])),
	}
	return p, (p.op == arpRequest || p.op == arpReply) && p.sha.station()
}

// appendARP appends the frame that carries p to dst. Both addresses of p must
// be IPv4.
func appendARP(b []byte, dst mac, p arpPacket) []byte {
	b = appendEther(b, dst, p.sha, typeARP)
	b = append(b, arpHead[:]...)
	b = binary.BigEndian.AppendUint16(b, p.op)
	spa, tpa := p.spa.As4(), p.tpa.As4()
	b = append(b, p.sha[:]...)
	b = append(b, spa[:]...)
	b = append(b, p.tha[:]...)
	return append(b, tpa[:]...)
}

// arpAnnouncements are the two forms of a gratuitous ARP that Linux neighbours
// take at once, whatever they heard before. The request has no target hardware
// address (RFC 5227 §2.3); the reply has the sender's own.
func arpAnnouncements(addr netip.Addr, own mac) [2]arpPacket {
	return [2]arpPacket{
		{op: arpRequest, sha: own, spa: addr, tpa: addr},
		{op: arpReply, sha: own, spa: addr, tha: own, tpa: addr},
	}
}
