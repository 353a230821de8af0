package probe

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits for sockets to become readable. Go's own would cost a goroutine and
// two switches for each of the thousands of sockets that live for less than a
// millisecond.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
	ready  [256]int
	owners []owner // by descriptor
}

// owner is whom a socket belongs to; fresh flows have one request on each.
type owner struct {
	lane    *lane
	request *request
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("opening epoll: %w", err)
	}
	return &poller{fd: fd}, nil
}

// add waits for the socket to be readable, or, with write, writable too.
func (p *poller) add(fd int, o owner, write bool) error {
	for fd >= len(p.owners) {
		p.owners = append(p.owners, make([]owner, 256)...)
	}
	p.owners[fd] = o
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if write {
		ev.Events |= unix.EPOLLOUT | unix.EPOLLET
	}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev)
}

// drop closes the socket.
func (p *poller) drop(fd int) {
	if fd < len(p.owners) {
		p.owners[fd] = owner{}
	}
	unix.Close(fd)
}

// wait returns sockets to read from, after this long at most. The slice is good until
// the next call.
func (p *poller) wait(most time.Duration) []int {
	ts := unix.NsecToTimespec(max(most, 0).Nanoseconds())
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == unix.ENOSYS { // before Linux 5.11: whole milliseconds
		m, err := unix.EpollWait(p.fd, p.events[:], int(max(most, 0).Milliseconds()))
		if err != nil {
			return nil
		}
		n = uintptr(m)
	} else if errno != 0 {
		return nil
	}
	for i := range p.ready[:n] {
		p.ready[i] = int(p.events[i].Fd)
	}
	return p.ready[:n]
}

func (p *poller) close() { unix.Close(p.fd) }
