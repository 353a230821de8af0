package bgp

import "net/netip"

// A table is what one peer has been told in this session.
type table struct {
	told [families][]route // as in a view
	hops [families]hop     // the next hop that it was told with
}

// A hop is a next hop as it goes into a message: 4, 16 or 32 octets (RFC 2545
// §3). Empty: there is none.
type hop string

// A step is what a peer must hear to know what it shall. Announcements come
// first: what is in both is never missing.
type step struct {
	announce []route
	withdraw []netip.Prefix
	hop      hop // for announce
	was      hop // of what is withdrawn
}

// turn makes want, with next hop h, what the peer has been told of a family
// once it has heard the step. Without a next hop nothing can be told.
func (t *table) turn(f family, want []route, h hop) step {
	s := step{hop: h, was: t.hops[f]}
	if h == "" {
		want = nil
	}
	told := t.told[f]
	t.told[f], t.hops[f] = want, h
	if h != s.was {
		s.announce = want
		s.withdraw = missing(told, want)
		return s
	}
	if len(told) == len(want) && (len(want) == 0 || &told[0] == &want[0]) {
		return s // the very same
	}
	for len(told) > 0 && len(want) > 0 {
		switch c := compare(told[0].prefix, want[0].prefix); {
		case c < 0:
			s.withdraw = append(s.withdraw, told[0].prefix)
			told = told[1:]
		case c > 0:
			s.announce = append(s.announce, want[0])
			want = want[1:]
		default:
			if told[0].attributes != want[0].attributes {
				s.announce = append(s.announce, want[0])
			}
			told, want = told[1:], want[1:]
		}
	}
	s.announce = append(s.announce, want...)
	for _, r := range told {
		s.withdraw = append(s.withdraw, r.prefix)
	}
	return s
}

// again forgets what has been told of a family, so that all of it is told anew;
// what the peer shall not have any more is still withdrawn.
func (t *table) again(f family, want []route, h hop) step {
	s := t.turn(f, want, h)
	s.announce = t.told[f]
	return s
}

// missing are the prefixes that were told and are not wanted.
func missing(told, want []route) (gone []netip.Prefix) {
	for _, r := range told {
		for len(want) > 0 && compare(want[0].prefix, r.prefix) < 0 {
			want = want[1:]
		}
		if len(want) == 0 || want[0].prefix != r.prefix {
			gone = append(gone, r.prefix)
		}
	}
	return gone
}

// compare is the order of views; equal prefixes, the most common case, are fast.
func compare(a, b netip.Prefix) int {
	if a == b {
		return 0
	}
	return a.Compare(b)
}
