package bfd

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inbox receives one packet after the other into the same memory.
type inbox struct {
	name   unix.RawSockaddrInet6 // big enough for IPv4 too
	iov    unix.Iovec
	header unix.Msghdr
	buf    [256]byte
	oob    [256]byte
	n      int

	from  netip.Addr // without zone
	ttl   int
	index uint32 // of the interface
	stamp int64  // ns of the wall clock, by the kernel; 0: none
}

func newInbox() *inbox {
	in := &inbox{}
	in.iov.Base = &in.buf[0]
	in.iov.SetLen(len(in.buf))
	in.header.Name = (*byte)(unsafe.Pointer(&in.name))
	in.header.Iov, in.header.Control = &in.iov, &in.oob[0]
	in.header.SetIovlen(1)
	return in
}

func (in *inbox) payload() []byte { return in.buf[:in.n] }

// receive takes the next packet of a socket; false if there is none.
func (in *inbox) receive(fd int) bool {
	in.header.Namelen = unix.SizeofSockaddrInet6
	in.header.SetControllen(len(in.oob))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.header)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return false
	}
	in.n = int(n)
	in.from, in.ttl, in.index, in.stamp = in.sender(), 0, 0, 0
	for rest := in.oob[:in.header.Controllen]; len(rest) > 0; {
		header, content, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		in.note(header.Level, header.Type, content)
		rest = next
	}
	return true
}

func (in *inbox) sender() netip.Addr {
	if in.name.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&in.name)).Addr)
	}
	return netip.AddrFrom16(in.name.Addr)
}

// note reads one control message.
func (in *inbox) note(level, kind int32, content []byte) {
	order := binary.NativeEndian
	switch {
	case level == unix.SOL_SOCKET && kind == unix.SO_TIMESTAMPNS_NEW && len(content) >= 16:
		in.stamp = int64(order.Uint64(content))*int64(time.Second) + int64(order.Uint64(content[8:]))
	case level == unix.IPPROTO_IP && kind == unix.IP_TTL && len(content) >= 4,
		level == unix.IPPROTO_IPV6 && kind == unix.IPV6_HOPLIMIT && len(content) >= 4:
		in.ttl = int(order.Uint32(content))
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(content) >= unix.SizeofInet4Pktinfo:
		in.index = order.Uint32(content)
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(content) >= unix.SizeofInet6Pktinfo:
		in.index = order.Uint32(content[16:])
	}
}

// came is when the packet came, on the clock that only goes forward. The kernel stamps by
// the wall clock: if that was set since, now or the last moment when there was nothing to
// read bounds the error.
func (in *inbox) came(now, emptied time.Time) time.Time {
	if in.stamp == 0 {
		return now
	}
	at := now.Add(-max(time.Duration(now.UnixNano()-in.stamp), 0))
	if at.Before(emptied) {
		return emptied
	}
	return at
}
