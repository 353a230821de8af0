package witness

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// Kind says in which form an address was announced.
type Kind string

// The forms. The first three are gratuitous: nobody asked.
const (
	GratuitousRequest Kind = "gratuitous-request" // ARP request with sender = target
	GratuitousReply   Kind = "gratuitous-reply"   // ARP reply with sender = target, or to everybody
	Unsolicited       Kind = "unsolicited"        // neighbour advertisement that answers nothing
	Answer            Kind = "answer"             // ARP reply or solicited advertisement
)

// Gratuitous says whether nobody had asked.
func (k Kind) Gratuitous() bool { return k != Answer }

// Announcement is one frame that said: this address is at this station.
type Announcement struct {
	At   time.Time  `json:"at"`
	Addr netip.Addr `json:"addr"`
	MAC  string     `json:"mac"`
	Kind Kind       `json:"kind"`
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

const (
	etherLen = 14
	ip6Len   = 40
	icmp6    = 58
)

// parseARP reads an Ethernet frame that carries ARP (RFC 826).
func parseARP(frame []byte) (Announcement, bool) {
	var p arp.Packet
	if len(frame) < etherLen || p.UnmarshalBinary(frame[etherLen:]) != nil || !p.SenderIP.IsValid() || p.SenderIP.IsUnspecified() {
		return Announcement{}, false
	}
	a := Announcement{Addr: p.SenderIP, MAC: p.SenderHardwareAddr.String()}
	same := p.SenderIP == p.TargetIP
	switch {
	case p.Operation == arp.OperationRequest && same:
		a.Kind = GratuitousRequest
	case p.Operation == arp.OperationReply && (same || bytes.Equal(frame[:6], broadcast)):
		a.Kind = GratuitousReply
	case p.Operation == arp.OperationReply:
		a.Kind = Answer
	default: // a question tells where its asker is, not who answers for an address
		return Announcement{}, false
	}
	return a, true
}

// parseNDP reads an Ethernet frame that carries a neighbour advertisement (RFC 4861
// section 4.4).
func parseNDP(frame []byte) (Announcement, bool) {
	if len(frame) < etherLen+ip6Len || frame[etherLen+6] != icmp6 {
		return Announcement{}, false
	}
	m, err := ndp.ParseMessage(frame[etherLen+ip6Len:])
	if err != nil {
		return Announcement{}, false
	}
	na, ok := m.(*ndp.NeighborAdvertisement)
	if !ok {
		return Announcement{}, false
	}
	a := Announcement{Addr: na.TargetAddress, MAC: net.HardwareAddr(frame[6:12]).String(), Kind: Unsolicited}
	if na.Solicited {
		a.Kind = Answer
	}
	for _, o := range na.Options {
		if ll, ok := o.(*ndp.LinkLayerAddress); ok && ll.Direction == ndp.Target {
			a.MAC = ll.Addr.String()
		}
	}
	return a, true
}
