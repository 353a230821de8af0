package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// udpBuffer is how many bytes of datagrams may wait, as far as the kernel
// grants it.
const udpBuffer = 8 << 20

// A server holds the open sockets of an echo.
type server struct {
	name  string
	tcp   []*net.TCPListener
	udp   []*net.UDPConn
	ready net.Listener
}

// listen opens every port on all addresses of both families.
func listen(name string, tcp, udp ports, ready string) (*server, error) {
	s := &server{name: name}
	for _, p := range tcp {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(p)})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening TCP port %d: %w", p, err), s.close())
		}
		s.tcp = append(s.tcp, l)
	}
	for _, p := range udp {
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(p)})
		if err == nil {
			err = c.SetReadBuffer(udpBuffer)
			s.udp = append(s.udp, c)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening UDP port %d: %w", p, err), s.close())
		}
	}
	var err error
	if s.ready, err = net.Listen("tcp", ready); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the readiness check's address %s: %w", ready, err), s.close())
	}
	return s, nil
}

// serve answers until a socket fails.
func (s *server) serve() error {
	ended := make(chan error)
	for _, l := range s.tcp {
		go func() { ended <- s.serveTCP(l) }()
	}
	for _, c := range s.udp {
		go func() { ended <- s.serveUDP(c) }()
	}
	go func() { ended <- http.Serve(s.ready, http.HandlerFunc(s.readiness)) }()
	return <-ended
}

// serveTCP greets each connection on the spot (one line into an empty send
// buffer never waits for the peer) and then echoes until the peer ends it.
func (s *server) serveTCP(l *net.TCPListener) error {
	var line []byte
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // the peer gave up, or too many are open: the next one may do
			time.Sleep(time.Millisecond)
			continue
		}
		peer := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		line = append(append(line[:0], s.name...), ' ')
		line = append(peer.AppendTo(line), '\n')
		if _, err := c.Write(line); err != nil { // a peer that is gone wants no answer
			c.Close()
			continue
		}
		go echo(c)
	}
}

// echo sends back what comes.
func echo(c *net.TCPConn) {
	defer c.Close()
	var buf [512]byte
	for {
		n, err := c.Read(buf[:])
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (s *server) serveUDP(c *net.UDPConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf[:len(buf)-len(s.name)])
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // a peer refused an answer: nobody to tell
			continue
		}
		_, _ = c.WriteToUDPAddrPort(append(buf[:n], s.name...), from)
	}
}

func (s *server) readiness(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, s.name)
}

func (s *server) close() error {
	var err error
	for _, l := range s.tcp {
		err = errors.Join(err, l.Close())
	}
	for _, c := range s.udp {
		err = errors.Join(err, c.Close())
	}
	if s.ready != nil {
		err = errors.Join(err, s.ready.Close())
	}
	return err
}
