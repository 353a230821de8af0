package bfd

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	trafficClass = 48 << 2 // DSCP CS6, network control
	priority     = 6       // in the node's own queues: the highest that needs no privilege
)

// sender is the socket that a session sends from. It is not connected: the kernel looks
// up the route of each packet anew, and no ICMP error gets in the way.
type sender struct {
	ready  bool // fd is open
	fd     int
	port   uint16 // that it sends from
	device uint32 // index of the VRF device
	to     unix.Sockaddr
	buf    [packetLen]byte
}

// newSender makes a socket bound to a port, and to the local address if one is wanted.
// What is sent to it is not kept: packets of peers come to the listener.
func newSender(w Session, port uint16, index uint32) (fd int, err error) {
	four := w.Peer.Is4()
	if fd, err = udpSocket(four); err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err = discardAll(fd); err != nil {
		return -1, err
	}
	options := []option{{unix.SOL_SOCKET, unix.SO_PRIORITY, priority}}
	if four {
		options = append(options, option{unix.IPPROTO_IP, unix.IP_TTL, 255}, option{unix.IPPROTO_IP, unix.IP_TOS, trafficClass})
	} else {
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			option{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255}, option{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, trafficClass})
	}
	if err = setOptions(fd, options); err != nil {
		return -1, err
	}
	if w.Device != "" {
		if err = unix.BindToDevice(fd, w.Device); err != nil {
			return -1, fmt.Errorf("binding to VRF device %s: %w", w.Device, err)
		}
	}
	local := w.Local
	switch {
	case local.IsValid():
	case four:
		local = netip.IPv4Unspecified()
	default:
		local = netip.IPv6Unspecified()
	}
	return fd, os.NewSyscallError("bind", unix.Bind(fd, sockaddr(local, port, index)))
}

// aim sets where to send.
func (n *sender) aim(peer netip.Addr, port uint16, index uint32) { n.to = sockaddr(peer, port, index) }

func (n *sender) send(p packet) error {
	p.put(&n.buf)
	return os.NewSyscallError("sendto", unix.Sendto(n.fd, n.buf[:], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, n.to))
}

func (n *sender) close() {
	if n.ready {
		unix.Close(n.fd)
	}
	n.ready = false
}

// sockaddr is the address for the kernel; index is that of the interface, which counts for
// link-local addresses.
func sockaddr(a netip.Addr, port uint16, index uint32) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}
	}
	to := &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	if a.IsLinkLocalUnicast() {
		to.ZoneId = index
	}
	return to
}
