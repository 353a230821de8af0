package bgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 10 * time.Second // SYNs leave after 0, 1, 3 and 7 s
	maxHops     = 255              // RFC 5082: what arrives with it has not been forwarded
	classCS6    = 48 << 2          // RFC 4594 §3.1, network control
	maxPassword = 80               // TCP_MD5SIG_MAXKEYLEN
)

// An endpoint is how one session's packets leave and which ones are taken.
type endpoint struct {
	local    netip.Addr // not valid: as the kernel chooses
	remote   netip.AddrPort
	device   string
	password string
	direct   bool // only what has not been forwarded
}

// connect opens a connection to a router.
func (e endpoint) connect(ctx context.Context) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error { return e.prepare(c) }}
	if e.local.IsValid() {
		local := e.local
		if local.IsLinkLocalUnicast() && local.Is6() && local.Zone() == "" {
			local = local.WithZone(e.remote.Addr().Zone())
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	c, err := d.DialContext(ctx, "tcp", e.remote.String())
	if err != nil {
		return nil, explain(e, err)
	}
	return c.(*net.TCPConn), nil
}

// explain says what to do about an error of the kernel.
func explain(e endpoint, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err // without the addresses: the peer is known
	}
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL) && e.local.IsValid():
		return fmt.Errorf("%s is not an address of this node: correct the source address: %w", e.local, err)
	case errors.Is(err, unix.ENODEV) && e.device != "":
		return fmt.Errorf("there is no VRF device %s on this node: %w", e.device, err)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("connecting to %s: %w: the router does not listen there, or not to this node", e.remote, err)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Errorf("connecting to %s: no answer within %s; a TCP MD5 password or TTL security that one side has and the other has not looks like this too", e.remote, dialTimeout)
	}
	return fmt.Errorf("connecting to %s: %w", e.remote, err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func isErrno(err error, any ...unix.Errno) bool {
	return slices.ContainsFunc(any, func(e unix.Errno) bool { return errors.Is(err, e) })
}

// prepare sets the options of a socket that is about to connect.
func (e endpoint) prepare(c syscall.RawConn) error {
	return control(c, func(fd int) error {
		six := e.remote.Addr().Is6()
		if err := mark(fd, six); err != nil {
			return err
		}
		if e.device != "" {
			if err := unix.BindToDevice(fd, e.device); err != nil {
				return fmt.Errorf("binding to device %s: %w", e.device, err)
			}
		}
		if e.password != "" {
			if err := sign(fd, six, e.remote.Addr(), e.password); err != nil {
				return err
			}
		}
		return demand(fd, six, e.direct)
	})
}

// adopt sets the options of an accepted connection that its listener could not know,
// or may not have known yet.
func (e endpoint) adopt(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error {
		if e.password != "" {
			if err := sign(fd, e.remote.Addr().Is6(), e.remote.Addr(), e.password); err != nil {
				return err
			}
		}
		if !e.direct {
			return nil
		}
		ttl, err := synTTL(fd)
		if err == nil && ttl < maxHops {
			err = fmt.Errorf("it has come with TTL %d, and TTL security (RFC 5082) wants %d: it must be on at the router too", ttl, maxHops)
		}
		return cmp.Or(err, demand(fd, e.remote.Addr().Is6(), true))
	})
}

// synTTL is the TTL with which the SYN of an accepted connection came, whose listener
// has TCP_SAVE_SYN.
func synTTL(fd int) (int, error) {
	var header [128]byte // of IP and TCP: 60 octets and 60, or 40 and 60
	size := uint32(len(header))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_SAVED_SYN,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&size)), 0)
	switch {
	case errno != 0:
		return 0, fmt.Errorf("asking for the SYN: %w", errno)
	case size >= 20 && header[0]>>4 == 4:
		return int(header[8]), nil
	case size >= 40 && header[0]>>4 == 6:
		return int(header[7]), nil
	}
	return 0, errors.New("the kernel has not kept the SYN")
}

// rekey changes the password of a connection that lives.
func (e endpoint) rekey(c *net.TCPConn, password string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error { return sign(fd, e.remote.Addr().Is6(), e.remote.Addr(), password) })
}

func control(c syscall.RawConn, do func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// mark makes packets leave with 255 hops and as network control.
func mark(fd int, six bool) error {
	level, hops, class := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS
	if six {
		level, hops, class = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(fd, level, hops, maxHops); err != nil {
		return fmt.Errorf("setting the TTL: %w", err)
	}
	if err := unix.SetsockoptInt(fd, level, class, classCS6); err != nil {
		return fmt.Errorf("setting DSCP CS6: %w", err)
	}
	return nil
}

// demand drops what has been forwarded (RFC 5082), if direct.
func demand(fd int, six, direct bool) error {
	if !direct {
		return nil
	}
	level, option := unix.IPPROTO_IP, unix.IP_MINTTL
	if six {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT
	}
	if err := unix.SetsockoptInt(fd, level, option, maxHops); err != nil {
		return fmt.Errorf("setting the least TTL: %w", err)
	}
	return nil
}

// sign sets the TCP MD5 key (RFC 2385) for one peer; an empty one removes it.
// It also works on a connection that lives.
func sign(fd int, six bool, peer netip.Addr, password string) error {
	if len(password) > maxPassword {
		return fmt.Errorf("the password is %d octets long, TCP MD5 takes %d", len(password), maxPassword)
	}
	s := unix.TCPMD5Sig{Keylen: uint16(len(password))}
	copy(s.Key[:], password)
	// A sockaddr_in has the address after the port, a sockaddr_in6 after the port
	// and the flow label.
	if six {
		s.Addr.Family = unix.AF_INET6
		a := peer.As16()
		copy(s.Addr.Data[6:], a[:])
	} else {
		s.Addr.Family = unix.AF_INET
		a := peer.As4()
		copy(s.Addr.Data[2:], a[:])
	}
	err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &s)
	if password == "" && errors.Is(err, unix.ENOENT) {
		return nil // there was none
	}
	if err != nil {
		return fmt.Errorf("setting the TCP MD5 password: %w", err)
	}
	return nil
}
