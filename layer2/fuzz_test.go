package layer2

import (
	"net/netip"
	"testing"
)

// FuzzJudge holds what is decided about arbitrary frames to invariants 1, 2
// and 6, as read by other libraries.
func FuzzJudge(f *testing.F) {
	request := arpPacket{op: arpRequest, sha: foreign, spa: hostNet4.Addr(), tpa: vip4}
	solicit := neighborMessage{kind: neighborSolicitation, src: hostNet6.Addr(), dst: vip6, target: vip6, link: foreign}
	f.Add(appendARP(nil, broadcast, request))
	f.Add(appendARP(nil, broadcast, arpAnnouncements(vip4, foreign)[0]))
	f.Add(appendARP(nil, broadcast, arpAnnouncements(vip4, macB)[1]))
	f.Add(appendNDP(nil, macA, foreign, solicit))
	solicit.link = mac{}
	f.Add(appendNDP(nil, macA, foreign, solicit))
	f.Add(appendNDP(nil, allNodes, foreign, advertisement(vip6, allNodesIP, foreign)))
	f.Add([]byte{})

	table, _ := (&table{}).replace([]Entry{{Addr: vip4}, {Addr: vip6}, {Addr: other4, Interfaces: []string{"eth9"}}})
	eth0 := &face{name: "eth0", mac: macA, auto: true, ipv6: true}
	ours := macSet{macA: true, macB: true}
	f.Fuzz(func(t *testing.T, frame []byte) {
		mend(frame)
		v := judge(table, eth0, ours, frame, nil)
		got, read := sight(frame)
		if v.malformed && (v.reply != nil || v.claimed.IsValid()) {
			t.Fatalf("malformed, and yet %+v", v)
		}
		if v.reply != nil {
			checkReply(t, got, v.reply)
		}
		if v.claimed.IsValid() && (table.byAddr[v.claimed] == nil || ours[v.by] || ours[etherSource(frame)]) {
			t.Fatalf("%v is called claimed by %v", v.claimed, v.by)
		}
		// What mdlayher reads as a plain question for an address is answered.
		plain := read && got.kind == "request" && got.asked == vip4 && got.addr != vip4 && got.link.station()
		if plain && v.reply == nil && [6]byte(frame[14:20]) == arpHead {
			t.Fatalf("not answered: %+v", got)
		}
	})
}

// checkReply holds a reply against the question.
func checkReply(t *testing.T, question sighting, reply []byte) {
	answer, ok := sight(reply)
	switch {
	case !ok:
		t.Fatalf("a reply that others can not read: %x", reply)
	case answer.src != macA || answer.link != macA:
		t.Fatalf("a reply that does not say who we are: %+v", answer)
	case answer.addr != vip4 && answer.addr != vip6:
		t.Fatalf("a reply for what is not held on eth0: %+v", answer)
	case answer.dst[0]&1 != 0 && answer.dst != allNodes:
		t.Fatalf("a reply to a group: %+v", answer)
	case question.kind != "" && answer.addr != question.asked: // others read fewer forms of options
		t.Fatalf("%+v is no answer to %+v", answer, question)
	}
	if _, sound := parseNDP(reply); answer.addr.Is6() && !sound {
		t.Fatalf("an unsound advertisement: %+v", answer)
	}
}

// mend sets the checksum of what looks like ICMPv6, so that fuzzing gets past it.
func mend(frame []byte) {
	if etherType(frame) != typeIPv6 || len(frame) < etherLen+ipv6Len+neighborLen {
		return
	}
	ip := frame[etherLen:]
	n := int(ip[4])<<8 | int(ip[5])
	if n < neighborLen || ipv6Len+n > len(ip) {
		return
	}
	icmp := ip[ipv6Len : ipv6Len+n]
	icmp[2], icmp[3] = 0, 0
	sum := checksum(netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), icmp)
	icmp[2], icmp[3] = byte(sum>>8), byte(sum)
}
