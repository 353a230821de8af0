package bgp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func seedOpens() []open {
	return []open{
		{AS: 65000, ID: netip.MustParseAddr("10.0.0.1"), Hold: 90 * time.Second, Families: [families]bool{true, true}, FourOctetAS: true,
			RouteRefresh: true, IPv4OverIPv6: true, GracefulRestart: true, Restarting: true, RestartTime: 120 * time.Second},
		{AS: 4200000001, ID: netip.MustParseAddr("10.0.0.2"), Families: [families]bool{ipv6: true}, FourOctetAS: true},
		{AS: 1, ID: netip.MustParseAddr("255.0.0.1"), Hold: 3 * time.Second, Families: [families]bool{true, false}},
	}
}

// What we encode is what we read, whatever else an OPEN may say.
func FuzzOpen(f *testing.F) {
	for _, o := range seedOpens() {
		f.Add(o.message()[headerLen:])
	}
	f.Add([]byte{4, 0xfd, 0xe8, 0, 90, 10, 0, 0, 1, 255, 255, 0, 5, 2, 0, 2, 2, 0}) // RFC 9072
	f.Add([]byte{3, 0, 1, 0, 90, 10, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 10 {
			return // the header's check
		}
		o, n := parseOpen(body)
		if n != nil {
			if n.String() == "" || len(n.message()) < headerLen+2 {
				t.Errorf("no reason: %+v", n)
			}
			return
		}
		if o.AS > 0xffff && !o.FourOctetAS || !o.GracefulRestart && o.RestartTime != 0 {
			t.Fatalf("%+v", o)
		}
		again, n := parseOpen(o.message()[headerLen:])
		if n != nil {
			t.Fatalf("%+v is not read again: %s", o, n)
		}
		if o.Families == [families]bool{} {
			o.Families[ipv4] = true // none named at all means this one
		}
		if again != o {
			t.Errorf("%+v came back as %+v", o, again)
		}
	})
}

// The reader takes whole messages or says what is wrong, and never holds on to
// a stream that says nothing.
func FuzzReadMessage(f *testing.F) {
	f.Add(keepalive)
	f.Add(append(bytes.Clone(keepalive), endOfRIB(nil, ipv6)...))
	f.Add(shutdown("bye").message())
	f.Add(bytes.Repeat([]byte{0xff}, 4096))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newReader(bytes.NewReader(stream))
		read := 0
		for {
			kind, body, err := readMessage(r)
			if err != nil {
				n := (*notification)(nil)
				if !errors.As(err, &n) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("reading: %v", err)
				}
				return
			}
			if read += headerLen; read > len(stream) || len(body) > maxMessageLen-headerLen || int(kind) >= len(minMessageLen) {
				t.Fatalf("message of type %d with %d octets", kind, len(body))
			}
		}
	})
}

// A notification's text is for people's eyes, whatever a router sends.
func FuzzNotification(f *testing.F) {
	f.Add([]byte{6, 2, 3, 'b', 'y', 'e'})
	f.Add([]byte{6, 2, 200, 'b'})
	f.Add([]byte{6, 4, 2, 0xff, '\n'})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 2 {
			return
		}
		n := parseNotification(body)
		for _, r := range n.communication() {
			if r < ' ' {
				t.Errorf("%q", n.communication())
			}
		}
		if n.String() == "" {
			t.Error("no name")
		}
	})
}

// RFC 9003 §2: 255 octets at most, whole characters.
func TestShutdownCommunication(t *testing.T) {
	long := bytes.Repeat([]byte("ü"), 200)
	n := parseNotification(shutdown(string(long)).message()[headerLen:])
	if got := n.communication(); got != string(long[:254]) {
		t.Errorf("%d octets: %q", len(got), got)
	}
}

// A router is found by what RFC 4861 §6.1.2 holds valid, and by nothing else.
func FuzzNeighborMessage(f *testing.F) {
	ifi := &net.Interface{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	ll, hops := netip.MustParseAddr("fe80::1").AsSlice(), maxHops
	for _, b := range [][]byte{advertisement(ifi), solicitation(ifi), advertisement(&net.Interface{}), advertisement(ifi)[:23], {134}, nil} {
		f.Add(b, ll, hops)
		f.Add(b, ll, hops-1)
		f.Add(b, netip.MustParseAddr("fd00::1").AsSlice(), hops)
	}
	f.Fuzz(func(t *testing.T, b, source []byte, hops int) {
		from, _ := netip.AddrFromSlice(source)
		kind, ok := neighborMessage(b, from, hops)
		if !ok {
			return
		}
		least := map[uint8]int{routerSolicitation: 8, routerAdvertisement: 16}[kind]
		if least == 0 || len(b) < least || b[0] != kind || b[1] != 0 || hops != 255 || !from.Is6() || !from.IsLinkLocalUnicast() {
			t.Fatalf("%x of %s with hop limit %d is taken for a message of type %d", b, from, hops, kind)
		}
		if len(b)%8 != 0 {
			t.Errorf("%x is taken, with options of no whole length", b)
		}
	})
}

// The kernel's words are read within their bounds, whatever they are.
func FuzzParseAddress(f *testing.F) {
	f.Add([]byte{2, 24, 0x80, 0, 3, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 2, 8, 0, 8, 0, 0x80, 0, 0, 0}) // IFA_LOCAL, IFA_FLAGS
	f.Add([]byte{2, 24, 0x80, 0, 3, 0, 0, 0, 5, 0, 8, 0, 1, 0, 0, 0})                             // flags of an octet
	f.Add([]byte{10, 200, 0, 0, 3, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 2})
	f.Add([]byte{2, 24, 0x80, 0, 3, 0, 0, 0, 5, 0, 9, 0, 1}) // the last attribute is not filled up
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, body []byte) {
		if a, ok := parseAddress(body); ok && (!a.IsValid() || a.Index != int(binary.NativeEndian.Uint32(body[4:]))) {
			t.Errorf("%x gives %+v", body, a)
		}
	})
}
