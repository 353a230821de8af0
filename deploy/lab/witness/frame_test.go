package witness

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

var (
	node   = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	client = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	vip    = netip.MustParseAddr("172.30.0.200")
	vip6   = netip.MustParseAddr("fd30::200")
)

func arpFrame(t testing.TB, op arp.Operation, to net.HardwareAddr, sender, target string) []byte {
	t.Helper()
	p, err := arp.NewPacket(op, node, netip.MustParseAddr(sender), to, netip.MustParseAddr(target))
	if err != nil {
		t.Fatal(err)
	}
	return frame(t, to, ethernet.EtherTypeARP, p.MarshalBinary)
}

func frame(t testing.TB, to net.HardwareAddr, kind ethernet.EtherType, marshal func() ([]byte, error)) []byte {
	t.Helper()
	body, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&ethernet.Frame{Destination: to, Source: node, EtherType: kind, Payload: body}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ndpFrame(t testing.TB, m ndp.Message) []byte {
	t.Helper()
	return frame(t, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, ethernet.EtherTypeIPv6, func() ([]byte, error) {
		body, err := ndp.MarshalMessage(m)
		head := make([]byte, ip6Len)
		head[0], head[6] = 0x60, icmp6
		return append(head, body...), err
	})
}

func TestFrames(t *testing.T) {
	na := func(solicited bool) ndp.Message {
		return &ndp.NeighborAdvertisement{Solicited: solicited, Override: true, TargetAddress: vip6,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: node}}}
	}
	for _, c := range []struct {
		name  string
		parse func([]byte) (Announcement, bool)
		frame []byte
		want  Kind // "": none
	}{
		{"gratuitous request", parseARP, arpFrame(t, arp.OperationRequest, broadcast, "172.30.0.200", "172.30.0.200"), GratuitousRequest},
		{"gratuitous reply", parseARP, arpFrame(t, arp.OperationReply, broadcast, "172.30.0.200", "172.30.0.200"), GratuitousReply},
		{"reply to everybody", parseARP, arpFrame(t, arp.OperationReply, broadcast, "172.30.0.200", "172.30.0.9"), GratuitousReply},
		{"answer", parseARP, arpFrame(t, arp.OperationReply, client, "172.30.0.200", "172.30.0.9"), Answer},
		{"question", parseARP, arpFrame(t, arp.OperationRequest, broadcast, "172.30.0.200", "172.30.0.9"), ""},
		{"probe", parseARP, arpFrame(t, arp.OperationRequest, broadcast, "0.0.0.0", "172.30.0.200"), ""},
		{"unsolicited", parseNDP, ndpFrame(t, na(false)), Unsolicited},
		{"solicited", parseNDP, ndpFrame(t, na(true)), Answer},
		{"solicitation", parseNDP, ndpFrame(t, &ndp.NeighborSolicitation{TargetAddress: vip6}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, ok := c.parse(c.frame)
			if ok != (c.want != "") || a.Kind != c.want {
				t.Fatalf("%+v %v, want %q", a, ok, c.want)
			}
			if ok && (a.Addr != vip && a.Addr != vip6 || a.MAC != node.String()) {
				t.Errorf("%+v", a)
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(arpFrame(f, arp.OperationReply, client, "172.30.0.200", "172.30.0.9"))
	f.Add(ndpFrame(f, &ndp.NeighborAdvertisement{TargetAddress: vip6}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := parseARP(b); ok && !a.Addr.IsValid() {
			t.Error(a)
		}
		if a, ok := parseNDP(b); ok && !a.Addr.IsValid() {
			t.Error(a)
		}
	})
}

func TestHeard(t *testing.T) {
	h := &Heard{}
	h.Add(Announcement{at(1), vip, "m1", GratuitousRequest})
	h.Add(Announcement{at(3), vip, "m1", Answer})
	h.Add(Announcement{at(4), vip6, "m2", Unsolicited})
	h.Add(Announcement{at(5), vip, "m2", Answer})
	check(t, h.NoGratuitous(vip, at(0)), "m1 announced 172.30.0.200 at 12:00:01.000 (gratuitous-request)")
	check(t, h.NoGratuitous(vip, at(2)), "")
	check(t, h.NoGratuitous(vip6, at(2)), "m2 announced fd30::200")
	if got := h.Stations(vip, at(2)); len(got) != 2 || got[0] != "m1" || got[1] != "m2" {
		t.Errorf("answered: %v", got)
	}
}
