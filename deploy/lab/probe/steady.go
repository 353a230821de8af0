package probe

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"
)

// steadyUDP sends all requests from one socket. Its receive buffer holds the answers of
// some seconds, so that a late reader loses none.
type steadyUDP struct {
	lane *lane
	fd   int
}

func (s *steadyUDP) send(r *request) error {
	if s.fd < 0 {
		family, to := sockaddr(s.lane.target)
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // a wish: without privilege the default does
		err = unix.Connect(fd, to)
		if err == nil {
			err = s.lane.loop.poll.add(fd, owner{lane: s.lane}, false)
		}
		if err != nil {
			s.lane.loop.poll.drop(fd)
			return err
		}
		s.fd = fd
	}
	_, err := unix.SendmsgN(s.fd, payload(s.lane.buffer[:0], r.seq), nil, nil, unix.MSG_NOSIGNAL)
	if isAnswer(err) { // an ICMP error of an earlier request, which took this one's place
		s.lane.settle(r, refused, "")
		return nil
	}
	return err
}

func (s *steadyUDP) ready(*request) {
	b := s.lane.buffer[:]
	for s.fd >= 0 {
		n, _, err := unix.Recvfrom(s.fd, b, 0)
		if isEmpty(err) {
			return
		}
		if seq, name, ok := parsePayload(b[:max(n, 0)]); ok {
			if r := s.lane.find(seq); r != nil {
				s.lane.settle(r, answered, s.lane.name(name))
			}
		}
	}
}

func (s *steadyUDP) giveUp(r *request) { s.ready(r) }

func (s *steadyUDP) close() {
	if s.fd >= 0 {
		s.lane.loop.poll.drop(s.fd)
		s.fd = -1
	}
}

// steadyTCP sends all requests as lines over one connection to a server that greets
// with its name and sends back what it gets. A connection that breaks takes the
// requests that wait on it with it; the next request opens another.
type steadyTCP struct {
	lane    *lane
	fd      int
	greeted bool
	backend string
	out, in []byte
}

func (s *steadyTCP) send(r *request) error {
	if s.fd < 0 {
		if err := s.dial(); err != nil {
			if isAnswer(err) {
				s.lane.settle(r, refused, "")
				return nil
			}
			return err
		}
	}
	s.out = payload(s.out, r.seq)
	s.flush()
	return nil
}

func (s *steadyTCP) dial() error {
	family, to := sockaddr(s.lane.target)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // latency only
	if err = unix.Connect(fd, to); err == unix.EINPROGRESS {
		err = nil
	}
	if err == nil {
		err = s.lane.loop.poll.add(fd, owner{lane: s.lane}, true)
	}
	if err != nil {
		s.lane.loop.poll.drop(fd)
		return err
	}
	s.fd, s.greeted, s.backend, s.out, s.in = fd, false, "", s.out[:0], s.in[:0]
	return nil
}

func (s *steadyTCP) flush() {
	n, err := unix.SendmsgN(s.fd, s.out, nil, nil, unix.MSG_NOSIGNAL)
	if n > 0 {
		s.out = slices.Delete(s.out, 0, n)
	}
	if isAnswer(err) {
		s.broken()
	}
}

func (s *steadyTCP) ready(*request) {
	for s.fd >= 0 {
		n, _, err := unix.Recvfrom(s.fd, s.lane.buffer[:], 0)
		if isEmpty(err) {
			if len(s.out) > 0 {
				s.flush()
			}
			return
		}
		if err != nil || n == 0 {
			s.broken()
			return
		}
		s.in = append(s.in, s.lane.buffer[:n]...)
		s.lines()
	}
}

func (s *steadyTCP) lines() {
	for {
		line, rest, ok := bytes.Cut(s.in, []byte("\n"))
		if !ok {
			return
		}
		if !s.greeted {
			name, _, _ := bytes.Cut(line, []byte(" "))
			s.greeted, s.backend = true, s.lane.name(name)
		} else if seq, _, ok := parsePayload(s.in[:len(line)+1]); ok {
			if r := s.lane.find(seq); r != nil {
				s.lane.settle(r, answered, s.backend)
			}
		}
		s.in = append(s.in[:0], rest...)
	}
}

// broken gives up every request that waits on the connection.
func (s *steadyTCP) broken() {
	s.close()
	for _, r := range s.lane.waiting() {
		s.lane.settle(r, refused, "")
	}
}

// giveUp reads once more; when a request is lost the connection is given up too, since
// TCP would answer the requests behind it long after their time.
func (s *steadyTCP) giveUp(r *request) {
	if s.ready(r); r.outcome == pending {
		s.close()
	}
}

func (s *steadyTCP) close() {
	if s.fd >= 0 {
		s.lane.loop.poll.drop(s.fd)
		s.fd = -1
	}
}
