package bfd

import (
	"fmt"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	udpHeader     = 8
	networkHeader = 0xfff00000 // SKF_NET_OFF: offsets from here are into the IP header
	ipv4TTL       = 8
	ipv6HopLimit  = 7
	keepAll       = 0xffff
	// sample is of how many packets that are not for us one is let in, so that
	// counters, the log and Status can tell of them. A power of two.
	sample = 8
)

// discardAll makes a socket keep nothing of what comes.
func discardAll(fd int) error { return attach(fd, []bpf.Instruction{bpf.RetConstant{Val: 0}}) }

// discardOthers has the kernel drop what no session of a listener could take: too
// short, of another version, or on a single hop with another TTL than 255 (RFC 5880
// §6.8.6, RFC 5881 §5), but for a sample. A flood of it, from any distance, then
// neither fills the buffer nor occupies the thread that detects. It saves work only:
// what is let in is looked at as if there were no filter.
func discardOthers(fd int, k listenerKey) error {
	hops := uint32(networkHeader + ipv6HopLimit)
	if k.four {
		hops = networkHeader + ipv4TTL
	}
	least := uint32(255)
	if k.multihop { // how low it may be differs from session to session
		least = 0
	}
	return attach(fd, []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: udpHeader + packetLen, SkipFalse: 6},
		bpf.LoadAbsolute{Off: udpHeader, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: version, SkipFalse: 3},
		bpf.LoadAbsolute{Off: hops, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: least, SkipFalse: 1},
		bpf.RetConstant{Val: keepAll},
		bpf.LoadExtension{Num: bpf.ExtRand},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: sample - 1, SkipFalse: 1},
		bpf.RetConstant{Val: keepAll},
		bpf.RetConstant{Val: 0},
	})
}

func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assembling a filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	return os.NewSyscallError("attaching a filter", err)
}
