package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	defaultLocalPref = 100
	gracefulShutdown = 0xffff0000 // 65535:0, RFC 8326
)

// A dialect is how one session says things.
type dialect struct {
	internal    bool
	as          uint32 // shown
	fourOctetAS bool
}

// encode is the path attributes of a route but for the next hop and MP_REACH_NLRI
// (RFC 4271 §5), in ascending order of type; split is where type 3 belongs.
func (d dialect) encode(a *attributes) (octets []byte, split int) {
	add := func(p packet.PathAttributeInterface) {
		b, err := p.Serialize()
		if err != nil {
			panic("bgp: encoding a path attribute: " + err.Error()) // its size has been checked
		}
		octets = append(octets, b...)
	}
	add(packet.NewPathAttributeOrigin(packet.BGP_ORIGIN_ATTR_TYPE_IGP))
	add(packet.NewPathAttributeAsPath(d.path()))
	split = len(octets)
	if d.internal {
		add(packet.NewPathAttributeLocalPref(a.preference()))
	}
	if len(a.communities) > 0 {
		add(packet.NewPathAttributeCommunities(a.communities))
	}
	if a.weight > 0 {
		add(packet.NewPathAttributeExtendedCommunities([]packet.ExtendedCommunityInterface{
			packet.NewLinkBandwidthExtended(twoOctets(d.as), a.weight)}))
	}
	if !d.internal && !d.fourOctetAS && d.as > 0xffff { // RFC 6793 §4.2.2
		add(packet.NewPathAttributeAs4Path([]*packet.As4PathParam{
			packet.NewAs4PathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{d.as})}))
	}
	if len(a.large) > 0 {
		large := make([]*packet.LargeCommunity, len(a.large))
		for i, l := range a.large {
			large[i] = packet.NewLargeCommunity(l[0], l[1], l[2])
		}
		add(packet.NewPathAttributeLargeCommunities(large))
	}
	return octets, split
}

// preference is LOCAL_PREF. A router lowers that of a path which is about to go
// only on entry to its AS (RFC 8326 §4): within, it is ours to say.
func (a *attributes) preference() uint32 {
	switch {
	case slices.Contains(a.communities, gracefulShutdown):
		return 0
	case a.localPref == 0:
		return defaultLocalPref
	}
	return a.localPref
}

// path is the AS_PATH: empty to internal peers, else the AS that we show.
func (d dialect) path() []packet.AsPathParamInterface {
	switch {
	case d.internal:
		return nil
	case d.fourOctetAS:
		return []packet.AsPathParamInterface{packet.NewAs4PathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{d.as})}
	}
	return []packet.AsPathParamInterface{packet.NewAsPathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, []uint16{twoOctets(d.as)})}
}

func twoOctets(as uint32) uint16 {
	if as > 0xffff {
		return asTrans
	}
	return uint16(as)
}

// write appends the UPDATEs of a step and says how many they are.
func (d dialect) write(out []byte, f family, s step) ([]byte, int) {
	byAttributes := make(map[*attributes][]netip.Prefix)
	var order []*attributes
	for _, piece := range s.announce {
		for _, r := range piece {
			if _, ok := byAttributes[r.attributes]; !ok {
				order = append(order, r.attributes)
			}
			byAttributes[r.attributes] = append(byAttributes[r.attributes], r.prefix)
		}
	}
	count := 0
	for _, a := range order {
		octets, split := d.encode(a)
		var n int
		if f == ipv4 && len(s.hop) == 4 {
			out, n = announce4(out, octets, split, s.hop, byAttributes[a])
		} else {
			out, n = announceMP(out, f, octets, s.hop, byAttributes[a])
		}
		count += n
	}
	var n int
	if f == ipv4 && len(s.was) == 4 {
		out, n = withdraw4(out, s.withdraw)
	} else {
		out, n = withdrawMP(out, f, s.withdraw)
	}
	return out, count + n
}

// begin starts an UPDATE; its length is written by finish.
func begin(out []byte) ([]byte, int) {
	start := len(out)
	out = append(out, marker...)
	return append(out, 0, 0, packet.BGP_MSG_UPDATE), start
}

func finish(out []byte, start int) []byte {
	binary.BigEndian.PutUint16(out[start+16:], uint16(len(out)-start))
	return out
}

// reserve leaves two octets for a length, which fill writes.
func reserve(out []byte) ([]byte, int) { return append(out, 0, 0), len(out) }

func fill(out []byte, at int) { binary.BigEndian.PutUint16(out[at:], uint16(len(out)-at-2)) }

// fit appends as many prefixes as the message that began at start holds.
func fit(out []byte, start, room int, prefixes []netip.Prefix) ([]byte, []netip.Prefix) {
	for len(prefixes) > 0 {
		p := prefixes[0]
		octets := (p.Bits() + 7) / 8
		if len(out)-start+1+octets > maxMessageLen-room {
			break
		}
		out = append(out, uint8(p.Bits()))
		if p.Addr().Is4() {
			a := p.Addr().As4()
			out = append(out, a[:octets]...)
		} else {
			a := p.Addr().As16()
			out = append(out, a[:octets]...)
		}
		prefixes = prefixes[1:]
	}
	return out, prefixes
}

// announce4 is RFC 4271 §4.3, for an IPv4 next hop.
func announce4(out, attributes []byte, split int, h hop, prefixes []netip.Prefix) (_ []byte, count int) {
	for len(prefixes) > 0 {
		var start, length int
		out, start = begin(out)
		out = append(out, 0, 0) // nothing is withdrawn
		out, length = reserve(out)
		out = append(out, attributes[:split]...)
		out = append(out, uint8(packet.BGP_ATTR_FLAG_TRANSITIVE), uint8(packet.BGP_ATTR_TYPE_NEXT_HOP), 4)
		out = append(out, h...)
		out = append(out, attributes[split:]...)
		fill(out, length)
		out, prefixes = fit(out, start, 0, prefixes)
		out = finish(out, start)
		count++
	}
	return out, count
}

func withdraw4(out []byte, prefixes []netip.Prefix) (_ []byte, count int) {
	for len(prefixes) > 0 {
		var start, length int
		out, start = begin(out)
		out, length = reserve(out)
		out, prefixes = fit(out, start, 2, prefixes)
		fill(out, length)
		out = append(out, 0, 0) // no attributes
		out = finish(out, start)
		count++
	}
	return out, count
}

// announceMP is RFC 4760 §3, MP_REACH_NLRI first (RFC 7606 §5.1).
func announceMP(out []byte, f family, attributes []byte, h hop, prefixes []netip.Prefix) (_ []byte, count int) {
	for len(prefixes) > 0 {
		var start, length, size int
		out, start = begin(out)
		out = append(out, 0, 0)
		out, length = reserve(out)
		out, size = beginMP(out, f, packet.BGP_ATTR_TYPE_MP_REACH_NLRI)
		out = append(out, uint8(len(h)))
		out = append(out, h...)
		out = append(out, 0) // reserved
		out, prefixes = fit(out, start, len(attributes), prefixes)
		fill(out, size)
		out = append(out, attributes...)
		fill(out, length)
		out = finish(out, start)
		count++
	}
	return out, count
}

// withdrawMP is RFC 4760 §4.
func withdrawMP(out []byte, f family, prefixes []netip.Prefix) (_ []byte, count int) {
	for len(prefixes) > 0 {
		out, prefixes = unreach(out, f, prefixes)
		count++
	}
	return out, count
}

// unreach is one UPDATE with as many prefixes as fit; without any, it is the
// End-of-RIB of a family (RFC 4724 §2).
func unreach(out []byte, f family, prefixes []netip.Prefix) ([]byte, []netip.Prefix) {
	out, start := begin(out)
	out = append(out, 0, 0)
	out, length := reserve(out)
	out, size := beginMP(out, f, packet.BGP_ATTR_TYPE_MP_UNREACH_NLRI)
	out, prefixes = fit(out, start, 0, prefixes)
	fill(out, size)
	fill(out, length)
	return finish(out, start), prefixes
}

func beginMP(out []byte, f family, kind packet.BGPAttrType) (_ []byte, size int) {
	out = append(out, uint8(packet.BGP_ATTR_FLAG_OPTIONAL|packet.BGP_ATTR_FLAG_EXTENDED_LENGTH), uint8(kind))
	out, size = reserve(out)
	out = binary.BigEndian.AppendUint16(out, afi[f])
	return append(out, packet.SAFI_UNICAST), size
}

// endOfRIB says that a family has been told in full (RFC 4724 §2).
func endOfRIB(out []byte, f family) []byte {
	if f == ipv4 {
		out, start := begin(out)
		return finish(append(out, 0, 0, 0, 0), start)
	}
	out, _ = unreach(out, f, nil)
	return out
}
