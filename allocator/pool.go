package allocator

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// A span is an inclusive range of addresses of one family.
type span struct{ first, last netip.Addr }

func (s span) String() string { return s.first.String() + "-" + s.last.String() }

func (s span) contains(a netip.Addr) bool {
	return s.first.BitLen() == a.BitLen() && s.first.Compare(a) <= 0 && a.Compare(s.last) <= 0
}

func (s span) overlaps(t span) bool {
	return s.first.BitLen() == t.first.BitLen() && s.first.Compare(t.last) <= 0 && t.first.Compare(s.last) <= 0
}

// parseSpan reads one entry of spec.addresses: a CIDR, whose host bits are
// masked off, or a range FIRST-LAST.
func parseSpan(entry string) (span, error) {
	text := strings.TrimSpace(entry)
	if from, to, isRange := strings.Cut(text, "-"); isRange {
		first, err := netip.ParseAddr(strings.TrimSpace(from))
		if err != nil {
			return span{}, fmt.Errorf("range %q: %q is not an address", entry, strings.TrimSpace(from))
		}
		last, err := netip.ParseAddr(strings.TrimSpace(to))
		if err != nil {
			return span{}, fmt.Errorf("range %q: %q is not an address", entry, strings.TrimSpace(to))
		}
		first, last = first.Unmap(), last.Unmap()
		switch {
		case first.Zone() != "" || last.Zone() != "":
			return span{}, fmt.Errorf("range %q: addresses with a zone cannot be handed out", entry)
		case first.BitLen() != last.BitLen():
			return span{}, fmt.Errorf("range %q: one end is IPv4 and the other IPv6", entry)
		case last.Less(first):
			return span{}, fmt.Errorf("range %q: it ends before it starts", entry)
		}
		return span{first, last}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		hint := ""
		if _, err := netip.ParseAddr(text); err == nil {
			hint = "; write a single address with /32 (IPv4) or /128 (IPv6)"
		}
		return span{}, fmt.Errorf("%q is neither a CIDR nor a range of addresses%s", entry, hint)
	}
	if prefix.Addr().Is4In6() {
		return span{}, fmt.Errorf("%q: write an IPv4 prefix in IPv4 form", entry)
	}
	prefix = prefix.Masked()
	return span{prefix.Addr(), LastOf(prefix)}, nil
}

// LastOf returns the highest address of a prefix.
func LastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// size is the number of addresses in the span, at most math.MaxInt64.
func (s span) size() int64 {
	a, b := s.first.As16(), s.last.As16()
	var hi, lo [2]uint64 // hi[0]: of first, hi[1]: of last
	for i := range 8 {
		hi[0], hi[1] = hi[0]<<8|uint64(a[i]), hi[1]<<8|uint64(b[i])
		lo[0], lo[1] = lo[0]<<8|uint64(a[8+i]), lo[1]<<8|uint64(b[8+i])
	}
	low, borrow := bits.Sub64(lo[1], lo[0], 0)
	high, _ := bits.Sub64(hi[1], hi[0], borrow)
	if high != 0 || low >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low) + 1
}

// buggy tells whether some old clients refuse the address: an IPv4 address
// that ends in .0 or .255 (spec.avoidBuggyIPs).
func buggy(a netip.Addr) bool {
	return a.Is4() && (a.As4()[3] == 0 || a.As4()[3] == 255)
}

// buggyIn counts the buggy addresses of a span.
func buggyIn(s span) (n int64) {
	if !s.first.Is4() {
		return 0
	}
	number := func(a netip.Addr) int64 {
		b := a.As4()
		return int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])
	}
	// below counts those in [0, x).
	below := func(x int64) int64 {
		n := x / 256 * 2
		if x%256 > 0 {
			n++ // the one that ends in .0
		}
		return n
	}
	return below(number(s.last)+1) - below(number(s.first))
}

// A pool is a Pool, parsed.
type pool struct {
	Pool
	spans []span // ascending, IPv4 first; nil when refused
	gives []span // the same without what no host can use
	err   error  // why the object is refused

	cursor map[Family]netip.Addr // no address below it is free; absent: not searched yet

	sat  [2]int64 // addresses on which Services sit, by family
	gone [2]int64 // those of its capacity that are not left
}

func parsePool(p Pool) *pool {
	q := &pool{Pool: p, cursor: map[Family]netip.Addr{}}
	if len(p.Addresses) == 0 {
		q.err = fmt.Errorf("spec.addresses is empty: name at least one CIDR or range")
		return q
	}
	for _, entry := range p.Addresses {
		s, err := parseSpan(entry)
		if err != nil {
			q.refuse(fmt.Errorf("spec.addresses: %w", err))
			return q
		}
		for _, t := range q.spans {
			if s.overlaps(t) {
				q.refuse(fmt.Errorf("spec.addresses: %s overlaps %s of the same pool", s, t))
				return q
			}
		}
		q.spans = append(q.spans, s)
	}
	if p.Allocation != nil {
		seen := map[string]bool{}
		for _, n := range p.Allocation.Namespaces {
			if seen[n] {
				q.refuse(fmt.Errorf("spec.serviceAllocation.namespaces names %q twice", n))
				return q
			}
			seen[n] = true
		}
	}
	slices.SortFunc(q.spans, func(a, b span) int { return a.first.Compare(b.first) })
	for _, s := range q.spans {
		q.gives = append(q.gives, hostsOf(s)...)
	}
	return q
}

func (p *pool) refuse(err error) { p.err, p.spans, p.gives = err, nil, nil }

// An answer is no, unknown or yes.
type answer uint8

const (
	no answer = iota
	unknown
	yes
)

// accepts tells whether the pool may serve the Service (spec.serviceAllocation).
// Namespace selectors that match nothing accept nothing; whether they do is not known
// before the namespace is.
func (s *Snapshot) accepts(p *pool, v *service) answer {
	a := p.Allocation
	if a == nil {
		return yes
	}
	if len(a.ServiceSelectors) > 0 && !anyMatches(a.ServiceSelectors, v.Labels) {
		return no
	}
	n, known := s.namespaces[v.Name.Namespace]
	switch {
	case slices.Contains(a.Namespaces, v.Name.Namespace):
		return yes
	case !known && len(a.NamespaceSelectors) > 0:
		return unknown
	case a.selects(v.Name.Namespace, n.Labels):
		return yes
	}
	return no
}

// selects tells whether Services of the namespace may be served.
func (a *Allocation) selects(namespace string, labels map[string]string) bool {
	return len(a.Namespaces)+len(a.NamespaceSelectors) == 0 ||
		slices.Contains(a.Namespaces, namespace) || anyMatches(a.NamespaceSelectors, labels)
}

// capacity counts the addresses of one family that the pool could hand out, at
// most math.MaxInt64.
func (p *pool) capacity(f Family) (n int64) {
	for _, s := range p.gives {
		if FamilyOf(s.first) != f {
			continue
		}
		size := s.size()
		if p.AvoidBuggyIPs {
			size -= buggyIn(s)
		}
		if n > math.MaxInt64-size {
			return math.MaxInt64
		}
		n += size
	}
	return n
}

// lowestFree returns the lowest address of the family for which taken is false.
// It starts at the cursor, which it moves: whoever frees an address must call freed.
func (p *pool) lowestFree(f Family, taken func(netip.Addr) bool) (netip.Addr, bool) {
	start, searched := p.cursor[f]
	for _, s := range p.gives {
		if FamilyOf(s.first) != f || searched && s.last.Less(start) {
			continue
		}
		a := s.first
		if searched && a.Less(start) {
			a = start
		}
		for ; a.IsValid() && a.Compare(s.last) <= 0; a = a.Next() {
			if p.spare(a) && !taken(a) {
				p.cursor[f] = a
				return a, true
			}
		}
		p.cursor[f] = s.last
		start, searched = s.last, true
	}
	return netip.Addr{}, false
}

// freed notes that an address may be free again.
func (p *pool) freed(a netip.Addr) {
	if c, ok := p.cursor[FamilyOf(a)]; ok && a.Less(c) {
		p.cursor[FamilyOf(a)] = a
	}
}

// settleOverlaps refuses pools until no two overlap: those that were accepted as
// they are stay before those that were not, then older before younger, then by name.
func settleOverlaps(pools []*pool) {
	order := slices.Clone(pools)
	slices.SortFunc(order, func(a, b *pool) int {
		if a.Accepted != b.Accepted {
			if a.Accepted {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	type owned struct {
		span
		by *pool
	}
	var taken []owned // ascending, disjoint
	for _, p := range order {
		for _, s := range p.spans {
			i, _ := slices.BinarySearchFunc(taken, s, func(t owned, s span) int { return t.first.Compare(s.first) })
			for _, j := range []int{i - 1, i} {
				if j >= 0 && j < len(taken) && taken[j].overlaps(s) {
					p.refuse(fmt.Errorf("%s overlaps %s of pool %s: addresses may be in one pool only", s, taken[j].span, taken[j].by.Name))
					break
				}
			}
			if p.err != nil {
				break
			}
		}
		for _, s := range p.spans {
			i, _ := slices.BinarySearchFunc(taken, s, func(t owned, s span) int { return t.first.Compare(s.first) })
			taken = slices.Insert(taken, i, owned{s, p})
		}
	}
}
