package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// server answers as the lab's echo workload does, on a loopback address, except for
// requests, counted from 0 in the order of arrival, that mute says to leave unanswered.
type server struct {
	target Target
	mute   func(n int) bool
	seen   atomic.Int64
	muted  atomic.Int64
	mu     sync.Mutex
	open   map[net.Conn]bool
}

func serve(t *testing.T, p Protocol, address string, mute func(n int) bool) *server {
	t.Helper()
	s := &server{mute: mute, open: map[net.Conn]bool{}}
	if p == UDP {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.UDPConn).SetReadBuffer(4 << 20)
		t.Cleanup(func() { c.Close() })
		s.target = Target{UDP, netip.MustParseAddrPort(c.LocalAddr().String())}
		go s.datagrams(c)
		return s
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); s.hangUp() })
	s.target = Target{TCP, netip.MustParseAddrPort(l.Addr().String())}
	go s.connections(l)
	return s
}

func (s *server) silent() bool {
	if s.mute != nil && s.mute(int(s.seen.Add(1)-1)) {
		s.muted.Add(1)
		return true
	}
	return false
}

func (s *server) datagrams(c net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && !s.silent() {
			_, _ = c.WriteTo(append(b[:n:n], "backend"...), from)
		}
	}
}

func (s *server) connections(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[c] = true
		s.mu.Unlock()
		if s.silent() {
			continue
		}
		fmt.Fprintf(c, "backend %s\n", c.RemoteAddr())
		go s.echo(c)
	}
}

func (s *server) echo(c net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
			return
		}
		_, _ = c.Write(b[:n])
	}
}

// hangUp closes every connection.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// between mutes the requests from first to last-1.
func between(first, last int) func(int) bool {
	return func(n int) bool { return n >= first && n < last }
}
