package bfd

import (
	"encoding/binary"
	"testing"
)

// valid is a packet that everything lets pass.
func valid() []byte {
	var b [packetLen]byte
	from(Up).put(&b)
	return b[:]
}

// The rules of RFC 5880 §6.8.6 that need no session.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(b []byte) []byte
		want  drop
	}{
		{"valid", func(b []byte) []byte { return b }, taken},
		{"longer datagram", func(b []byte) []byte { return append(b, 0, 0) }, taken},
		{"empty", func(b []byte) []byte { return nil }, dropShort},
		{"short", func(b []byte) []byte { return b[:23] }, dropShort},
		{"version 0", func(b []byte) []byte { b[0] = 0; return b }, dropVersion},
		{"version 2", func(b []byte) []byte { b[0] = 2 << 5; return b }, dropVersion},
		{"length below 24", func(b []byte) []byte { b[3] = 23; return b }, dropLength},
		{"length beyond the datagram", func(b []byte) []byte { b[3] = 25; return b }, dropLength},
		{"length below 26 with authentication", func(b []byte) []byte { b[1] |= flagAuth; return b }, dropLength},
		{"authentication", func(b []byte) []byte { b[1] |= flagAuth; b[3] = 26; return append(b, 1, 2) }, dropAuthentication},
		{"multiplier", func(b []byte) []byte { b[2] = 0; return b }, dropMultiplier},
		{"multipoint", func(b []byte) []byte { b[1] |= flagMultipoint; return b }, dropMultipoint},
		{"my discriminator", func(b []byte) []byte { clear(b[4:8]); return b }, dropMyDiscriminator},
		{"your discriminator, up", func(b []byte) []byte { clear(b[8:12]); return b }, dropYourDiscriminator},
		{"your discriminator, init", func(b []byte) []byte { clear(b[8:12]); b[1] = byte(Init) << 6; return b }, dropYourDiscriminator},
		{"your discriminator, down", func(b []byte) []byte { clear(b[8:12]); b[1] = byte(Down) << 6; return b }, taken},
		{"your discriminator, admin down", func(b []byte) []byte { clear(b[8:12]); b[1] = 0; return b }, taken},
	} {
		if _, got := parse(c.spoil(valid())); got != c.want {
			t.Errorf("%s: %q, not %q", c.name, dropNames[got], dropNames[c.want])
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(valid())
	f.Add(valid()[:10])
	f.Add(append(valid(), 1, 2, 3))
	all := from(Init)
	all.poll, all.final, all.independent, all.demand, all.diag = true, true, true, true, 31
	var b [packetLen]byte
	all.put(&b)
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, in []byte) {
		p, why := parse(in)
		if why != taken {
			if p != (packet{}) {
				t.Fatalf("%q, and yet %+v", dropNames[why], p)
			}
			return
		}
		var out [packetLen]byte
		p.put(&out)
		want := [packetLen]byte(in)
		want[3] = packetLen
		if out != want {
			t.Fatalf("%x became %x", want, out)
		}
		if binary.BigEndian.Uint32(in[4:]) == 0 || in[2] == 0 {
			t.Fatalf("taken: %x", in)
		}
	})
}
