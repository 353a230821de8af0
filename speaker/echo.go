package speaker

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// An echoer sends ICMP echo requests and collects the answers, over one raw
// socket for each family. It needs CAP_NET_RAW, and waits for nothing: one
// goroutine sends and collects in turn, so no answer is overlooked because its
// reader came too late.
type echoer struct {
	v4, v6 int // sockets; -1: there is none
	id     uint16
	cookie [8]byte // tells this process's requests from others'
	seq    uint16
}

// Types of ICMP, RFC 792 and RFC 4443 §4.
const (
	echoReply4   = 0
	echoRequest4 = 8
	echoRequest6 = 128
	echoReply6   = 129
)

const (
	solRaw     = 255 // SOL_RAW
	icmpFilter = 1   // ICMP_FILTER
	echoLen    = 16  // type, code, checksum, identifier, sequence number, cookie
)

// openEchoer opens the sockets. A family that the kernel does not have is left out.
func openEchoer() (*echoer, error) {
	e := &echoer{v4: -1, v6: -1}
	rand.Read(e.cookie[:]) // never fails
	e.id = binary.BigEndian.Uint16(e.cookie[:])
	var err4, err6 error
	if e.v4, err4 = rawSocket(syscall.AF_INET, syscall.IPPROTO_ICMP); err4 == nil {
		err4 = syscall.SetsockoptInt(e.v4, solRaw, icmpFilter, ^(1 << echoReply4))
	}
	if e.v6, err6 = rawSocket(syscall.AF_INET6, syscall.IPPROTO_ICMPV6); err6 == nil {
		err6 = syscall.SetsockoptICMPv6Filter(e.v6, syscall.IPPROTO_ICMPV6, syscall.ICMPV6_FILTER, onlyReplies6())
	}
	if err4 != nil && err6 != nil {
		return nil, errors.Join(os.NewSyscallError("raw socket for ICMP", err4), e.close())
	}
	return e, nil
}

func rawSocket(family, proto int) (int, error) {
	return syscall.Socket(family, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, proto)
}

// onlyReplies6 blocks every type of ICMPv6 but echo replies (RFC 3542 §3.2).
func onlyReplies6() *syscall.ICMPv6Filter {
	var f syscall.ICMPv6Filter
	for i := range f.Data {
		f.Data[i] = ^uint32(0)
	}
	f.Data[echoReply6>>5] &^= 1 << (echoReply6 & 31)
	return &f
}

func (e *echoer) close() error {
	var all []error
	for _, fd := range []int{e.v4, e.v6} {
		if fd >= 0 {
			all = append(all, os.NewSyscallError("closing a socket for ICMP", syscall.Close(fd)))
		}
	}
	return errors.Join(all...)
}

// ask sends a request. The error is that of this node: no route, no room.
func (e *echoer) ask(to netip.Addr) error {
	e.seq++
	kind := byte(echoRequest4)
	if to.Is6() {
		kind = echoRequest6
	}
	var b [echoLen]byte
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.seq)
	copy(b[8:], e.cookie[:])
	if to.Is4() {
		binary.BigEndian.PutUint16(b[2:], checksum(b[:]))
		return os.NewSyscallError("sendto", syscall.Sendto(e.v4, b[:], syscall.MSG_DONTWAIT, &syscall.SockaddrInet4{Addr: to.As4()}))
	}
	// The kernel fills in the checksum of ICMPv6 (RFC 3542 §3.1).
	return os.NewSyscallError("sendto", syscall.Sendto(e.v6, b[:], syscall.MSG_DONTWAIT, &syscall.SockaddrInet6{Addr: to.As16()}))
}

// collectMost is how many packets are read from one socket in one turn.
const collectMost = 1000

// collect returns who has answered since the last time.
func (e *echoer) collect() (from []netip.Addr) {
	for _, fd := range []int{e.v4, e.v6} {
		for more, i := fd >= 0, 0; more && i < collectMost; i++ {
			var addr netip.Addr
			if addr, more = e.receive(fd); addr.IsValid() && !slices.Contains(from, addr) {
				from = append(from, addr)
			}
		}
	}
	return from
}

// receive reads one packet; no address: it is no answer to this process.
func (e *echoer) receive(fd int) (from netip.Addr, more bool) {
	var b [256]byte
	n, sender, err := syscall.Recvfrom(fd, b[:], syscall.MSG_DONTWAIT)
	if errors.Is(err, syscall.EAGAIN) {
		return netip.Addr{}, false
	}
	if err != nil {
		return netip.Addr{}, true // an error that was queued: it has been taken off
	}
	packet, reply := b[:n], byte(echoReply6)
	switch s := sender.(type) {
	case *syscall.SockaddrInet4:
		if len(packet) < 20 || len(packet) < 4*int(packet[0]&15) {
			return netip.Addr{}, true
		}
		packet, reply = packet[4*int(packet[0]&15):], echoReply4
		from = netip.AddrFrom4(s.Addr)
	case *syscall.SockaddrInet6:
		from = netip.AddrFrom16(s.Addr)
	}
	if len(packet) < echoLen || packet[0] != reply || binary.BigEndian.Uint16(packet[4:]) != e.id || [8]byte(packet[8:16]) != e.cookie {
		return netip.Addr{}, true
	}
	return from, true
}

// checksum is that of RFC 1071, over an even number of octets.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
