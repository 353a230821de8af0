package bfd

import (
	"encoding/binary"
	"time"
)

// packetLen is the length of a control packet without authentication.
const packetLen = 24

const version = 1

// The flags of the second octet, below the state.
const (
	flagPoll        = 1 << 5
	flagFinal       = 1 << 4
	flagIndependent = 1 << 3 // control plane independent, C
	flagAuth        = 1 << 2
	flagDemand      = 1 << 1
	flagMultipoint  = 1 << 0
)

// packet is a control packet (RFC 5880 §4.1). Intervals are whole microseconds.
type packet struct {
	diag         Diagnostic
	state        State
	poll, final  bool
	independent  bool
	demand       bool
	multiplier   uint8
	my, your     uint32 // discriminators
	desiredTx    time.Duration
	requiredRx   time.Duration
	requiredEcho time.Duration
}

// drop is why a packet is not taken.
type drop uint8

const (
	taken drop = iota
	dropShort
	dropVersion
	dropLength
	dropMultiplier
	dropMultipoint
	dropMyDiscriminator
	dropYourDiscriminator
	dropAuthentication
	dropNoSession
	dropTTL
	dropInterface
	drops // how many there are
)

var dropNames = [drops]string{
	"", "too short", "version", "length", "multiplier is 0", "multipoint bit", "my discriminator is 0",
	"your discriminator is 0", "authentication", "no such session", "TTL", "interface",
}

// counted names what was counted.
func counted(n *[drops]uint64) map[string]uint64 {
	var m map[string]uint64
	for d, count := range n {
		if count > 0 {
			if m == nil {
				m = map[string]uint64{}
			}
			m[dropNames[d]] = count
		}
	}
	return m
}

// parse reads the payload of a datagram by the rules of RFC 5880 §6.8.6, those that
// need no session, in their order. No session here uses authentication.
func parse(b []byte) (packet, drop) {
	if len(b) < packetLen {
		return packet{}, dropShort
	}
	flags, length := b[1], int(b[3])
	p := packet{
		diag: Diagnostic(b[0] & 0x1f), state: State(flags >> 6),
		poll: flags&flagPoll != 0, final: flags&flagFinal != 0,
		independent: flags&flagIndependent != 0, demand: flags&flagDemand != 0,
		multiplier: b[2],
		my:         binary.BigEndian.Uint32(b[4:]), your: binary.BigEndian.Uint32(b[8:]),
		desiredTx: micros(b[12:]), requiredRx: micros(b[16:]), requiredEcho: micros(b[20:]),
	}
	switch {
	case b[0]>>5 != version:
		return packet{}, dropVersion
	case length < packetLen || flags&flagAuth != 0 && length < packetLen+2 || length > len(b):
		return packet{}, dropLength
	case p.multiplier == 0:
		return packet{}, dropMultiplier
	case flags&flagMultipoint != 0:
		return packet{}, dropMultipoint
	case p.my == 0:
		return packet{}, dropMyDiscriminator
	case p.your == 0 && p.state != Down && p.state != AdminDown:
		return packet{}, dropYourDiscriminator
	case flags&flagAuth != 0:
		return packet{}, dropAuthentication
	}
	return p, taken
}

// put writes the packet.
func (p packet) put(b *[packetLen]byte) {
	flags := byte(p.state) << 6
	for _, f := range [...]struct {
		set bool
		bit byte
	}{{p.poll, flagPoll}, {p.final, flagFinal}, {p.independent, flagIndependent}, {p.demand, flagDemand}} {
		if f.set {
			flags |= f.bit
		}
	}
	b[0], b[1], b[2], b[3] = version<<5|byte(p.diag)&0x1f, flags, p.multiplier, packetLen
	binary.BigEndian.PutUint32(b[4:], p.my)
	binary.BigEndian.PutUint32(b[8:], p.your)
	binary.BigEndian.PutUint32(b[12:], uint32(p.desiredTx/time.Microsecond))
	binary.BigEndian.PutUint32(b[16:], uint32(p.requiredRx/time.Microsecond))
	binary.BigEndian.PutUint32(b[20:], uint32(p.requiredEcho/time.Microsecond))
}

func micros(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}
