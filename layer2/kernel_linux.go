package layer2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// kernel is the system of a real machine. One goroutine reads all sockets of
// all interfaces through an epoll of its own. It blocks in the system call
// instead of in Go's network poller, which costs three times as much from
// request to answer (see BenchmarkARP).
type kernel struct {
	epoll  int
	quit   int // an eventfd
	done   chan struct{}
	failed *atomic.Uint64 // reads

	mu      sync.Mutex // a socket is read, or one comes or goes
	sockets map[int32]*listener
	last    int32
}

// listener is an open packet socket.
type listener struct {
	fd      int
	receive func(frame []byte)
}

const readBatch = 64 // frames from one socket before the next gets its turn

// openKernel starts the reader. It fails where packet sockets are not allowed.
func openKernel(failed *atomic.Uint64) (*kernel, error) {
	try, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("opening a packet socket: %w: give the process CAP_NET_RAW", err)
	}
	if err != nil {
		return nil, os.NewSyscallError("opening a packet socket", err)
	}
	unix.Close(try)
	k := &kernel{done: make(chan struct{}), failed: failed, sockets: map[int32]*listener{}}
	if k.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if k.quit, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(k.epoll))
	}
	if err = k.poll(k.quit, 0); err != nil {
		return nil, errors.Join(err, unix.Close(k.quit), unix.Close(k.epoll))
	}
	go k.read()
	return k, nil
}

func (k *kernel) poll(fd int, id int32) error {
	err := unix.EpollCtl(k.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: id})
	return os.NewSyscallError("epoll_ctl", err)
}

// listen hands what arrives on fd to receive, until unlisten.
func (k *kernel) listen(fd int, receive func(frame []byte)) (id int32, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	k.sockets[k.last] = &listener{fd: fd, receive: receive}
	if err := k.poll(fd, k.last); err != nil {
		delete(k.sockets, k.last)
		return 0, err
	}
	return k.last, nil
}

// unlisten closes a socket; receive is not running when it returns. Closing
// under the lock keeps the reader from a descriptor that was given to
// something else.
func (k *kernel) unlisten(id int32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sockets[id]
	delete(k.sockets, id)
	return os.NewSyscallError("closing a packet socket", unix.Close(s.fd))
}

// Close ends the reader.
func (k *kernel) Close() error {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	if _, err := unix.Write(k.quit, one); err != nil {
		return os.NewSyscallError("waking the reader", err)
	}
	<-k.done
	return errors.Join(unix.Close(k.quit), unix.Close(k.epoll))
}

func (k *kernel) read() {
	defer close(k.done)
	events := make([]unix.EpollEvent, 32)
	buf := make([]byte, 2048)
	for {
		n, err := unix.EpollWait(k.epoll, events, -1)
		if err != nil {
			continue // EINTR: nothing else can happen to a valid epoll
		}
		for _, e := range events[:n] {
			if e.Fd == 0 {
				return
			}
			k.drain(e.Fd, buf)
		}
	}
}

// drain reads what waits on a socket. The end of a link is told once as
// ENETDOWN; that the interface is gone is netlink's to say.
func (k *kernel) drain(id int32, buf []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sockets[id]
	for i := 0; s != nil && i < readBatch; i++ {
		n, err := unix.Read(s.fd, buf)
		switch {
		case err == nil && n < len(buf):
			s.receive(buf[:n])
		case err == nil: // longer than any frame that we understand
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
		default:
			k.failed.Add(1)
			return
		}
	}
}
