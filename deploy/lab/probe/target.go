package probe

import (
	"encoding"
	"fmt"
	"net/netip"
	"strings"
)

// Protocol is the transport that a target is probed with.
type Protocol uint8

// The two transports.
const (
	TCP Protocol = iota
	UDP
)

func (p Protocol) String() string {
	if p == UDP {
		return "udp"
	}
	return "tcp"
}

// Target is one port of one address.
type Target struct {
	Protocol Protocol
	Addr     netip.AddrPort
}

var (
	_ encoding.TextMarshaler   = Target{}
	_ encoding.TextUnmarshaler = (*Target)(nil)
)

// ParseTarget reads the form tcp:192.0.2.1:80 or udp:[2001:db8::1]:53.
func ParseTarget(s string) (Target, error) {
	name, rest, ok := strings.Cut(s, ":")
	var t Target
	switch {
	case ok && name == "tcp":
		t.Protocol = TCP
	case ok && name == "udp":
		t.Protocol = UDP
	default:
		return Target{}, fmt.Errorf("target %q: want tcp:ADDRESS:PORT or udp:ADDRESS:PORT, an IPv6 address in brackets", s)
	}
	addr, err := netip.ParseAddrPort(rest)
	if err != nil {
		return Target{}, fmt.Errorf("target %q: %w; want %s:ADDRESS:PORT, an IPv6 address in brackets", s, err, name)
	}
	if addr.Port() == 0 {
		return Target{}, fmt.Errorf("target %q: port 0 cannot be probed", s)
	}
	t.Addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	return t, nil
}

func (t Target) String() string { return t.Protocol.String() + ":" + t.Addr.String() }

// MarshalText writes the form that [ParseTarget] reads.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is [ParseTarget].
func (t *Target) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTarget(string(b))
	return err
}
