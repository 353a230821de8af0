package probe

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Source ports of fresh flows: all that need no privilege, in turn.
const (
	firstPort = 1024
	ports     = 65536 - firstPort
)

// fresh sends every request from a socket, and so from a source port, of its own.
type fresh struct {
	lane   *lane
	port   uint32 // next one, less firstPort
	family int
	kind   int
	bind4  unix.SockaddrInet4
	bind6  unix.SockaddrInet6
	to     unix.Sockaddr
	linger unix.Linger
}

func newFresh(l *lane) *fresh {
	f := &fresh{lane: l, kind: unix.SOCK_STREAM, linger: unix.Linger{Onoff: 1}}
	if l.target.Protocol == UDP {
		f.kind = unix.SOCK_DGRAM
	}
	f.family, f.to = sockaddr(l.target)
	// The wall clock and the target place the beginning, so that the next run to the
	// same target goes on beyond where this one ends, whatever its rate and whichever
	// other targets there are: flows that were lost live on in a conntrack for a while.
	place := fnv.New32a()
	fmt.Fprint(place, l.target)
	ran := float64(time.Now().UnixMilli()) * max(l.loop.cfg.Rate, DefaultRate) / 1000
	f.port = uint32((uint64(ran) + uint64(place.Sum32())) % ports)
	return f
}

func sockaddr(t Target) (family int, to unix.Sockaddr) {
	if a := t.Addr.Addr(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(t.Addr.Port()), Addr: a.As4()}
	} else {
		zone, _ := strconv.Atoi(a.Zone())
		return unix.AF_INET6, &unix.SockaddrInet6{Port: int(t.Addr.Port()), Addr: a.As16(), ZoneId: uint32(zone)}
	}
}

func (f *fresh) send(r *request) error {
	fd, err := unix.Socket(f.family, f.kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r.fd = fd
	if err := f.prepare(fd); err != nil {
		f.lane.drop(r)
		return err
	}
	err = unix.Connect(fd, f.to)
	if err == nil && f.kind == unix.SOCK_DGRAM {
		_, err = unix.SendmsgN(fd, payload(f.lane.buffer[:0], r.seq), nil, nil, unix.MSG_NOSIGNAL)
	}
	switch {
	case err == nil || err == unix.EINPROGRESS:
		if err := f.lane.loop.poll.add(fd, owner{f.lane, r}, false); err != nil {
			f.lane.drop(r)
			return err
		}
		return nil
	case isAnswer(err):
		f.lane.settle(r, refused, "")
		return nil
	}
	f.lane.drop(r)
	return err
}

// prepare binds the next free source port.
func (f *fresh) prepare(fd int) (err error) {
	if f.kind == unix.SOCK_STREAM {
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &f.linger); err != nil {
			return err
		}
	}
	// Sockets of other targets may have the port; those of other addresses alone count.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	for range 64 {
		port := int(firstPort + f.port)
		f.port = (f.port + 1) % ports
		if f.family == unix.AF_INET {
			f.bind4.Port = port
			err = unix.Bind(fd, &f.bind4)
		} else {
			f.bind6.Port = port
			err = unix.Bind(fd, &f.bind6)
		}
		if err != unix.EADDRINUSE {
			return err
		}
	}
	return err
}

// ready settles r if its answer, or a refusal, has arrived.
func (f *fresh) ready(r *request) {
	b := f.lane.buffer[:]
	n, _, err := unix.Recvfrom(r.fd, b, 0)
	switch {
	case isEmpty(err):
	case err != nil || n == 0 && f.kind == unix.SOCK_STREAM:
		f.lane.settle(r, refused, "")
	case f.kind == unix.SOCK_STREAM:
		name, _, _ := bytes.Cut(b[:n], []byte(" "))
		f.lane.settle(r, answered, f.lane.name(name))
	default:
		if seq, name, ok := parsePayload(b[:n]); ok && seq == r.seq {
			f.lane.settle(r, answered, f.lane.name(name))
		}
	}
}

// giveUp reads once more. Where TCP has connected and no line came, it was not the way to
// the server that was silent.
func (f *fresh) giveUp(r *request) {
	if f.ready(r); r.outcome == pending && f.kind == unix.SOCK_STREAM {
		info, err := unix.GetsockoptTCPInfo(r.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.State == tcpEstablished {
			f.lane.settle(r, stalled, "")
		}
	}
}

// tcpEstablished is the state of a connection whose handshake is done, in tcp_info.
const tcpEstablished = 1

func (f *fresh) close() {}
