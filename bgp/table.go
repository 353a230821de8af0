package bgp

import "net/netip"

// A table is what one peer has been told in this session.
type table struct {
	told [families]routes // as in a view
	hops [families]hop    // the next hop that it was told with
}

// A hop is a next hop as it goes into a message: 4, 16 or 32 octets (RFC 2545
// §3). Empty: there is none.
type hop string

// A step is what a peer must hear to know what it shall. Announcements come
// first: what is in both is never missing.
type step struct {
	announce [][]route
	withdraw []netip.Prefix
	hop      hop // for announce
	was      hop // of what is withdrawn
}

// turn makes want, with next hop h, what the peer has been told of a family
// once it has heard the step. Without a next hop nothing can be told. What is
// the same memory in both costs nothing.
func (t *table) turn(f family, want routes, h hop) step {
	s := step{hop: h, was: t.hops[f]}
	if h == "" {
		want = nil
	}
	told := t.told[f]
	t.told[f], t.hops[f] = want, h
	if len(told) == 0 || h != s.was {
		s.announce = want
		s.withdraw = missing(told, want)
		return s
	}
	var news []route
	a, b := told.walk(), want.walk()
	for a.at() && b.at() {
		if a.skip(&b) {
			continue
		}
		switch c := compare(a.piece[0].prefix, b.piece[0].prefix); {
		case c < 0:
			s.withdraw = append(s.withdraw, a.next().prefix)
		case c > 0:
			news = append(news, b.next())
		default:
			if was, is := a.next(), b.next(); was.attributes != is.attributes {
				news = append(news, is)
			}
		}
	}
	for b.at() {
		news = append(news, b.next())
	}
	for a.at() {
		s.withdraw = append(s.withdraw, a.next().prefix)
	}
	if news != nil {
		s.announce = [][]route{news}
	}
	return s
}

// again forgets what has been told of a family, so that all of it is told anew;
// what the peer shall not have any more is still withdrawn.
func (t *table) again(f family, want routes, h hop) step {
	s := t.turn(f, want, h)
	s.announce = t.told[f]
	return s
}

// missing are the prefixes that were told and are not wanted.
func missing(told, want routes) (gone []netip.Prefix) {
	a, b := told.walk(), want.walk()
	for a.at() {
		for b.at() && compare(b.piece[0].prefix, a.piece[0].prefix) < 0 {
			b.next()
		}
		if r := a.next(); !b.at() || b.piece[0].prefix != r.prefix {
			gone = append(gone, r.prefix)
		}
	}
	return gone
}
