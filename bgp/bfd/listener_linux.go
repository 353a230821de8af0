package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const receiveBuffer = 1 << 20 // asked for; the kernel gives up to rmem_max

// listenerKey is what tells one listening socket from another.
type listenerKey struct {
	four, multihop bool
	device         string
}

// listener is a socket on one of the ports of BFD. It is there while sessions need it.
type listener struct {
	listenerKey
	fd    int    // -1: not open
	index uint32 // of the device
	users map[*session]bool
}

func (n *listener) close() {
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	n.fd = -1
}

// listen gives a session the listener that it needs.
func (l *loop) listen(s *session, device uint32) error {
	k := listenerKey{s.want.Peer.Is4(), s.want.Multihop, s.want.Device}
	n := l.listeners[k]
	if n == nil {
		n = &listener{listenerKey: k, fd: -1, users: map[*session]bool{}}
		l.listeners[k] = n
	}
	n.users[s], s.listener = true, n
	if n.fd >= 0 && n.index == device {
		return nil
	}
	n.close()
	defer l.repoll()
	fd, err := newListener(k, l.port(k.multihop), false)
	if errors.Is(err, unix.EADDRINUSE) && l.reuse(k, true) {
		fd, err = newListener(k, l.port(k.multihop), true)
		l.reuse(k, false)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("listening on UDP port %d: another program holds it: stop that program's BFD (%w)", l.port(k.multihop), err)
	case err != nil:
		return fmt.Errorf("listening on UDP port %d: %w", l.port(k.multihop), err)
	}
	n.fd, n.index = fd, device
	return nil
}

// release gives a session's listener up.
func (l *loop) release(s *session) {
	n := s.listener
	if n == nil {
		return
	}
	s.listener = nil
	if delete(n.users, s); len(n.users) == 0 {
		n.close()
		delete(l.listeners, n.listenerKey)
		l.repoll()
	}
}

// reuse lets a new socket be bound to the port of those that we have open in other VRFs,
// or no longer: nobody else may share it. It tells whether there are any.
func (l *loop) reuse(k listenerKey, on bool) (any bool) {
	for _, n := range l.listeners {
		if n.fd >= 0 && n.four == k.four && n.multihop == k.multihop && n.device != k.device {
			any = unix.SetsockoptInt(n.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, bit(on)) == nil || any
		}
	}
	return any
}

// repoll makes the list of what to wait for.
func (l *loop) repoll() {
	l.order = l.order[:0]
	l.polled = append(l.polled[:0], unix.PollFd{Fd: int32(l.wake), Events: unix.POLLIN})
	for _, n := range l.listeners {
		if n.fd >= 0 {
			l.order = append(l.order, n)
			l.polled = append(l.polled, unix.PollFd{Fd: int32(n.fd), Events: unix.POLLIN})
		}
	}
}

// newListener makes a socket that receives from every interface (of the VRF), with the
// TTL, the interface and the time of each packet.
func newListener(k listenerKey, port uint16, shared bool) (fd int, err error) {
	if fd, err = udpSocket(k.four); err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	options := []option{{unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1}}
	local := netip.IPv6Unspecified()
	if k.four {
		local = netip.IPv4Unspecified()
		options = append(options, option{unix.IPPROTO_IP, unix.IP_RECVTTL, 1}, option{unix.IPPROTO_IP, unix.IP_PKTINFO, 1})
	} else {
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			option{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1}, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1})
	}
	if err = setOptions(fd, options); err != nil {
		return -1, err
	}
	if k.device != "" {
		if err = unix.BindToDevice(fd, k.device); err != nil {
			return -1, fmt.Errorf("binding to VRF device %s: %w", k.device, err)
		}
	}
	if err = discardOthers(fd, k); err != nil {
		return -1, err
	}
	if err = setOptions(fd, []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, bit(shared)}}); err != nil {
		return -1, err
	}
	if err = unix.Bind(fd, sockaddr(local, port, 0)); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, setOptions(fd, []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 0}})
}

// read takes up to a batch of packets from a listener. It tells whether there may be more,
// and when the last one came.
func (l *loop) read(n *listener) (last time.Time, more bool) {
	for range batch {
		if !l.inbox.receive(n.fd) {
			return last, false
		}
		now := time.Now()
		last = l.inbox.came(now, l.emptied)
		l.arrive(n, last, now)
	}
	return last, true
}
