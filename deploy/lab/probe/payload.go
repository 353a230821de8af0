package probe

import "encoding/hex"

// payloadSize is the length of a request's own text: sixteen hexadecimal digits of its
// number and a line feed, so that a person and a line-reading server can read it.
const payloadSize = 17

func payload(b []byte, seq uint64) []byte {
	var n [8]byte
	for i := range n {
		n[7-i] = byte(seq >> (8 * i))
	}
	b = hex.AppendEncode(b, n[:])
	return append(b, '\n')
}

// parsePayload splits an answer into the request's number and what follows it.
func parsePayload(b []byte) (seq uint64, rest []byte, ok bool) {
	if len(b) < payloadSize || b[payloadSize-1] != '\n' {
		return 0, nil, false
	}
	var n [8]byte
	if _, err := hex.Decode(n[:], b[:payloadSize-1]); err != nil {
		return 0, nil, false
	}
	for _, c := range n {
		seq = seq<<8 | uint64(c)
	}
	return seq, b[payloadSize:], true
}
