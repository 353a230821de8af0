package bfd

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
	"holdfast.dev/holdfast/deploy/world"
)

// What no session could take is dropped by the kernel, but for a sample.
func TestFilter(t *testing.T) {
	var good [packetLen]byte
	packet{state: Down, my: 99, multiplier: 3}.put(&good)
	old := bytes.Clone(good[:])
	old[0] &= 0x1f // version 0
	one4, one6 := listenerKey{four: true}, listenerKey{}
	many4, many6 := listenerKey{four: true, multihop: true}, listenerKey{multihop: true}
	for _, c := range []struct {
		name    string
		key     listenerKey
		ttl     int
		payload []byte
		all     bool
	}{
		{"one hop, IPv4", one4, 255, good[:], true},
		{"one hop, IPv6", one6, 255, good[:], true},
		{"one hop, IPv4, forwarded", one4, 254, good[:], false},
		{"one hop, IPv6, forwarded", one6, 254, good[:], false},
		{"several hops, IPv4", many4, 2, good[:], true},
		{"several hops, IPv6", many6, 2, good[:], true},
		{"short, IPv4", many4, 255, good[:packetLen-1], false},
		{"short, IPv6", one6, 255, good[:packetLen-1], false},
		{"empty", one4, 255, nil, false},
		{"version 0, IPv4", one4, 255, old, false},
		{"version 0, IPv6", many6, 255, old, false},
		{"long", one4, 255, append(good[:], 1, 2, 3), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			port, from, to := uint16(Port), "fd00::2", "fd00::1"
			if c.key.multihop {
				port = MultihopPort
			}
			if c.key.four {
				from, to = "10.0.0.2", "10.0.0.1"
			}
			var fd int
			must(t, world.Within(p.a, func() (err error) {
				fd, err = newListener(c.key, port, false)
				return err
			}))
			defer unix.Close(fd)
			in, came := newInbox(), 0
			const sent = 400
			mark := packet{state: Down, my: 7, multiplier: 3}
			passed := func() bool { // what was sent before has come, or never will
				var b [packetLen]byte
				mark.put(&b)
				inject(t, p.b, from, to, port, 255, b[:])
				marks := 0
				for in.receive(fd) {
					switch {
					case bytes.Equal(in.payload(), b[:]):
						marks++
					case bytes.Equal(in.payload(), c.payload):
						came++
					}
				}
				return marks > 0
			}
			eventually(t, "the way is open", passed)
			for range sent {
				inject(t, p.b, from, to, port, c.ttl, c.payload)
			}
			mark.my++
			eventually(t, "all that comes has come", passed)
			if c.all && came != sent || !c.all && (came == 0 || came > sent/2) { // 50 on average, this is more than six deviations away
				t.Errorf("%d of %d have come", came, sent)
			}
		})
	}
}
