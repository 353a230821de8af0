package bfd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func udpSocket(four bool) (int, error) {
	family := unix.AF_INET6
	if four {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fd, os.NewSyscallError("socket", err)
}

type option struct{ level, name, value int }

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("setting socket option %d of level %d to %d: %w", o.name, o.level, o.value, err)
		}
	}
	return nil
}

// interfaceIndex is 0 if there is no such interface.
func interfaceIndex(name string) uint32 {
	request, err := unix.NewIfreq(name)
	if name == "" || err != nil {
		return 0
	}
	fd, err := udpSocket(true)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request) != nil {
		return 0
	}
	return request.Uint32()
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}
