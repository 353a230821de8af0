package layer2

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ether is an open interface: a packet socket for ARP, and one for NDP while it
// is wanted. Both see what the interface receives before any rule of the
// firewall, whether or not the addresses in it are the node's own, which they
// are not: the kernel would route a unicast solicitation for them away.
//
// ARP is rare. But a packet socket for IPv6 makes every IPv6 packet that the
// interface receives slower, whatever its filter says (see BenchmarkTraffic), so
// there is none where no IPv6 address is held.
type ether struct {
	k        *kernel
	index    int
	receive  func(frame []byte)
	arp, ndp tap
	groups   groups
}

// tap is an open packet socket; the zero value is none.
type tap struct {
	fd int
	id int32 // at the kernel's reader
}

const receiveBuffer = 4 << 20 // asked for; the kernel gives up to rmem_max

// Open opens the socket for ARP.
func (k *kernel) Open(l link, receive func(w wire, frame []byte)) (wire, error) {
	e := &ether{k: k, index: l.index, groups: groups{index: l.index}}
	e.receive = func(frame []byte) { receive(e, frame) }
	return e, e.open(&e.arp, typeARP, arpFilter)
}

func (e *ether) open(t *tap, kind uint16, filter []bpf.Instruction) (err error) {
	if t.fd, err = packetSocket(e.index, kind, filter); err != nil {
		return fmt.Errorf("packet socket for type %#04x: %w", kind, err)
	}
	if t.id, err = e.k.listen(t.fd, e.receive); err != nil {
		return errors.Join(err, unix.Close(t.fd))
	}
	return nil
}

func (e *ether) close(t *tap) error {
	if t.id == 0 {
		return nil
	}
	err := e.k.unlisten(t.id)
	*t = tap{}
	return err
}

// ListenNDP opens or closes the socket for NDP.
func (e *ether) ListenNDP(on bool) error {
	switch {
	case !on:
		return e.close(&e.ndp)
	case e.ndp.id != 0:
		return nil
	}
	return e.open(&e.ndp, typeIPv6, ndpFilter)
}

// packetSocket makes a socket that receives frames of one type from one
// interface. It has its filter before it is bound, so that nothing unfiltered
// gets in.
func packetSocket(index int, kind uint16, filter []bpf.Instruction) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return -1, fmt.Errorf("assembling a filter: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, ins := range raw {
		program[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return -1, os.NewSyscallError("attaching a filter", err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
		return -1, os.NewSyscallError("setting the receive buffer", err)
	}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: kind<<8 | kind>>8, Ifindex: index})
	return fd, os.NewSyscallError("bind", err)
}

// Send sends a frame through the socket of its type.
func (e *ether) Send(frame []byte) error {
	t := &e.arp
	if etherType(frame) == typeIPv6 {
		t = &e.ndp
	}
	if t.id == 0 {
		return errors.New("send: the socket is not open")
	}
	_, err := unix.Write(t.fd, frame)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
		return errBusy
	}
	return os.NewSyscallError("send", err)
}

func (e *ether) Join(group netip.Addr) error  { return e.groups.join(group) }
func (e *ether) Leave(group netip.Addr) error { return e.groups.leave(group) }

func (e *ether) Sockets() int {
	n := 1 + len(e.groups.sockets)
	if e.ndp.id != 0 {
		n++
	}
	return n
}

// Close closes all sockets, with which the kernel leaves the groups.
func (e *ether) Close() error {
	return errors.Join(e.close(&e.arp), e.close(&e.ndp), e.groups.close())
}

// The filters let through what was sent to this station, to all or to a group
// (packet types 0, 1 and 2); not what a promiscuous interface or one with
// foreign VLANs sees besides.
const packetMulticast = 2

// arpFilter passes requests and replies for IPv4 on Ethernet. Replies and
// announcements of other stations are wanted whatever address they are for:
// there are few, and a filter by address would have to be replaced with each
// Set.
var arpFilter = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: packetMulticast, SkipTrue: 6},
	bpf.LoadAbsolute{Off: etherLen, Size: 4},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x00010800, SkipTrue: 4},
	bpf.LoadAbsolute{Off: etherLen + 4, Size: 4},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x06040000 | arpRequest, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x06040000 | arpReply, SkipTrue: 1},
	bpf.RetConstant{Val: arpLen},
	bpf.RetConstant{Val: 0},
}

// ndpFilter passes neighbour solicitations and advertisements. It looks at the
// protocol first: all IPv6 that the interface receives comes by here.
var ndpFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: etherLen + 6, Size: 2}, // next header, hop limit
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMPv6<<8 | hopLimit, SkipTrue: 6},
	bpf.LoadAbsolute{Off: etherLen + ipv6Len, Size: 2}, // type, code
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: neighborSolicitation << 8, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighborAdvertisement << 8, SkipTrue: 3},
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: packetMulticast, SkipTrue: 1},
	bpf.RetConstant{Val: 0xffff},
	bpf.RetConstant{Val: 0},
}
