package bgp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An address is one of this node's.
type address struct {
	netip.Prefix // with the host's bits
	Index        int
	flags        uint32 // IFA_F_*
}

// usable is one that packets can be sent to in a minute too.
func (a address) usable() bool {
	return a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0
}

// leased is one that may change by itself (SLAAC, DHCP).
func (a address) leased() bool { return a.flags&unix.IFA_F_PERMANENT == 0 }

// nameOf is the name of an interface, or nothing if it is gone.
func nameOf(index int) string {
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return ""
	}
	return ifi.Name
}

// shareFor is how long a list of addresses serves all peers that look again, or whose
// router is about to be connected to.
const shareFor = time.Second

// A gazetteer has the node's addresses, for all peers: a node may have thousands, and
// the kernel tells all or none.
type gazetteer struct {
	mu  sync.Mutex
	at  time.Time
	all []address // not changed once it is here
}

// fresh are the addresses of this moment.
func (g *gazetteer) fresh() ([]address, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.read()
}

// recent are those of a second ago at most.
func (g *gazetteer) recent() ([]address, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.at.IsZero() && time.Since(g.at) < shareFor {
		return g.all, nil
	}
	return g.read()
}

func (g *gazetteer) read() ([]address, error) {
	all, err := addresses()
	if err == nil {
		g.all, g.at = all, time.Now()
	}
	return all, err
}

// addresses lists those of all interfaces.
func addresses() ([]address, error) {
	dump, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("listing the node's addresses: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(dump)
	if err != nil {
		return nil, fmt.Errorf("listing the node's addresses: %w", err)
	}
	var all []address
	for i := range messages {
		if m := &messages[i]; m.Header.Type == unix.RTM_NEWADDR {
			if a, ok := parseAddress(m.Data); ok {
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// parseAddress reads a struct ifaddrmsg: family, prefix length, flags and scope in an
// octet each, then the index of the interface; and the attributes behind it.
func parseAddress(b []byte) (a address, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return a, false
	}
	bits := int(b[1])
	a.flags, a.Index = uint32(b[2]), int(binary.NativeEndian.Uint32(b[4:]))
	var local, other netip.Addr
	for b = b[unix.SizeofIfAddrmsg:]; len(b) > 0; {
		kind, value, rest, ok := cutAttribute(b)
		if !ok {
			return a, false
		}
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS: // the other end of a point-to-point link, if IFA_LOCAL is there
			other, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS:
			if len(value) != 4 {
				return a, false
			}
			a.flags = binary.NativeEndian.Uint32(value)
		}
		b = rest
	}
	if !local.IsValid() {
		local = other
	}
	a.Prefix = netip.PrefixFrom(local, bits)
	return a, a.Prefix.IsValid()
}

// cutAttribute takes one struct rtattr off b: its length and type, two octets each,
// its value, and zeros up to a multiple of four. That of package syscall panics where
// the last one has no zeros.
func cutAttribute(b []byte) (kind uint16, value, rest []byte, ok bool) {
	if len(b) < unix.SizeofRtAttr {
		return 0, nil, nil, false
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < unix.SizeofRtAttr || size > len(b) {
		return 0, nil, nil, false
	}
	return binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:size], b[min((size+3)&^3, len(b)):], true
}
