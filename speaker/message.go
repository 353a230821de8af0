package speaker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// kind says what a message is for.
type kind uint8

const (
	// kindDelta carries what changed from sequence number to sequence number.
	kindDelta kind = 1 + iota
	// kindFull carries every claim of the sender.
	kindFull
	// kindAsk asks for a kindFull.
	kindAsk
	// kindDigest carries life, sequence number and standing, and no claims.
	kindDigest
	// kindSuspect names a node that may be dead, and carries no claims.
	kindSuspect
)

// version is the first octet of every message; messages of another version are
// refused, so that a later one may change anything.
const version = 1

// datagram is the room for entries in one UDP packet, with what memberlist and
// encryption add still below the smallest MTU of IPv6, 1,280 octets.
const datagram = 1100

// A message is what one node tells another about its own claims.
type message struct {
	kind kind
	node string // the sender
	life uint64 // of the sender's process: its start, Unix ns
	from uint64 // sequence number that a delta builds upon
	to   uint64 // sequence number after it

	standing

	entries []entry
	about   string // the node that is suspected
}

// standing is what a node says of itself.
type standing struct {
	ready   bool // it has a placement: it can announce
	looking bool // it has just started and looks around before it announces
	leaving bool // it is about to go
}

const (
	flagReady = 1 << iota
	flagLeaving
	flagLooking
)

const (
	flagIPv6 = 1 << iota
	flagYielding
	flagGone
	flagDeferring
	flagDark
	flagUnfit
)

// appendMessage appends the octets of m to b. Times become ages as of now.
func appendMessage(b []byte, m message, now time.Time) []byte {
	var flags byte
	if m.ready {
		flags |= flagReady
	}
	if m.leaving {
		flags |= flagLeaving
	}
	if m.looking {
		flags |= flagLooking
	}
	b = append(b, version, byte(m.kind), flags, byte(len(m.node)))
	b = append(b, m.node...)
	b = binary.BigEndian.AppendUint64(b, m.life)
	b = binary.AppendUvarint(b, m.from)
	b = binary.AppendUvarint(b, m.to)
	if m.kind == kindSuspect {
		return append(b, m.about...)
	}
	for _, e := range m.entries {
		b = appendEntry(b, e, now)
	}
	return b
}

func appendEntry(b []byte, e entry, now time.Time) []byte {
	var flags byte
	if e.addr.Is6() {
		flags |= flagIPv6
	}
	if e.claim.yielding {
		flags |= flagYielding
	}
	if e.claim.deferring {
		flags |= flagDeferring
	}
	if e.gone {
		flags |= flagGone
	}
	if e.dark {
		flags |= flagDark
	}
	if e.unfit {
		flags |= flagUnfit
	}
	b = append(b, flags)
	b = append(b, e.addr.AsSlice()...)
	if e.gone {
		return b
	}
	b = binary.AppendUvarint(b, e.claim.epoch)
	return binary.AppendUvarint(b, uint64(max(0, now.Sub(e.claim.basis).Milliseconds())))
}

var errShort = errors.New("message ends too early")

// parseMessage reads what appendMessage wrote. Ages become times as of now.
func parseMessage(b []byte, now time.Time) (message, error) {
	r := reader{b: b}
	if v := r.octet(); v != version && r.err == nil {
		return message{}, fmt.Errorf("message of version %d, want %d", v, version)
	}
	m := message{kind: kind(r.octet())}
	flags := r.octet()
	m.standing = standing{flags&flagReady != 0, flags&flagLooking != 0, flags&flagLeaving != 0}
	m.node = string(r.take(int(r.octet())))
	m.life = r.uint64()
	m.from, m.to = r.uvarint(), r.uvarint()
	if m.kind == kindSuspect {
		m.about = string(r.take(len(r.b)))
	}
	for r.err == nil && len(r.b) > 0 {
		m.entries = append(m.entries, r.entry(now))
	}
	switch {
	case r.err != nil:
		return message{}, r.err
	case m.kind < kindDelta || m.kind > kindSuspect:
		return message{}, fmt.Errorf("message of unknown kind %d", m.kind)
	case m.node == "":
		return message{}, errors.New("message without a sender")
	}
	return m, nil
}

// reader takes a message apart; after an error it yields zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.err = errShort
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err = errShort
		return 0
	}
	r.take(n)
	return v
}

// century bounds an age, so that no message can make time overflow.
const century = 100 * 365 * 24 * time.Hour

func (r *reader) entry(now time.Time) entry {
	flags := r.octet()
	n := 4
	if flags&flagIPv6 != 0 {
		n = 16
	}
	addr, _ := netip.AddrFromSlice(r.take(n))
	e := entry{addr: addr, gone: flags&flagGone != 0, dark: flags&flagDark != 0, unfit: flags&flagUnfit != 0}
	if e.gone {
		return e
	}
	e.claim.yielding, e.claim.deferring = flags&flagYielding != 0, flags&flagDeferring != 0
	e.claim.epoch = min(r.uvarint(), 1<<62) // there is always a next one
	age := min(r.uvarint(), uint64(century/time.Millisecond))
	e.claim.basis = now.Add(-time.Duration(age) * time.Millisecond)
	return e
}
