package layer2

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// groups are the memberships of one interface. A socket has room for as many
// as net.core.optmem_max allows (about 2,340 at 131072), so they are spread
// over as many sockets as it takes. Nothing is ever sent or received on these.
type groups struct {
	index   int
	sockets []*groupSocket
	of      map[netip.Addr]*groupSocket
}

type groupSocket struct {
	fd   int
	full bool
}

func (g *groups) join(group netip.Addr) error {
	for _, s := range g.sockets {
		if s.full {
			continue
		}
		err := s.change(unix.IPV6_JOIN_GROUP, group, g.index)
		if err == nil {
			g.of[group] = s
			return nil
		}
		if !noRoom(err) {
			return err
		}
		s.full = true
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("opening a socket for groups", err)
	}
	s := &groupSocket{fd: fd}
	if err := s.change(unix.IPV6_JOIN_GROUP, group, g.index); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	if g.of == nil {
		g.of = map[netip.Addr]*groupSocket{}
	}
	g.sockets, g.of[group] = append(g.sockets, s), s
	return nil
}

func (g *groups) leave(group netip.Addr) error {
	s := g.of[group]
	if s == nil {
		return nil
	}
	delete(g.of, group)
	s.full = false
	return s.change(unix.IPV6_LEAVE_GROUP, group, g.index)
}

func (g *groups) close() error {
	var err error
	for _, s := range g.sockets {
		err = errors.Join(err, unix.Close(s.fd))
	}
	g.sockets, g.of = nil, nil
	return err
}

func (s *groupSocket) change(option int, group netip.Addr, index int) error {
	m := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)}
	err := unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, option, m)
	return os.NewSyscallError("changing a group", err)
}

func noRoom(err error) bool { return errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS) }
