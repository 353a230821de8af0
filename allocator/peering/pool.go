package peering

import (
	"fmt"
	"net/netip"
	"strings"

	"holdfast.dev/holdfast/allocator"
)

// families tells of which families a pool has addresses.
type families struct{ ipv4, ipv6 bool }

// owned tells what families the addresses of a pool are of, and refuses lengths of
// prefixes that would reach beyond an entry. As MetalLB has it, a range may be as
// wide as the widest CIDR that it contains. An entry that cannot be read is the
// pool's fault, which is refused for it, and counts for nothing here.
func owned(entries []string, length4, length6 int) (has families, err error) {
	for _, entry := range entries {
		first, bits, ok := widest(entry)
		switch {
		case !ok:
		case first.Is4():
			has.ipv4 = true
			if length4 < bits {
				return has, fmt.Errorf("spec.aggregationLength %d is shorter than what %s allows: at least %d, or others' addresses would be advertised", length4, entry, bits)
			}
		default:
			has.ipv6 = true
			if length6 < bits {
				return has, fmt.Errorf("spec.aggregationLengthV6 %d is shorter than what %s allows: at least %d, or others' addresses would be advertised", length6, entry, bits)
			}
		}
	}
	return has, nil
}

// widest returns the length of the widest prefix inside an entry of a pool.
func widest(entry string) (first netip.Addr, bits int, ok bool) {
	from, to, isRange := strings.Cut(strings.TrimSpace(entry), "-")
	if !isRange {
		p, err := netip.ParsePrefix(from)
		return p.Addr(), p.Bits(), err == nil && !p.Addr().Is4In6()
	}
	first, err := netip.ParseAddr(strings.TrimSpace(from))
	if err != nil {
		return first, 0, false
	}
	last, err := netip.ParseAddr(strings.TrimSpace(to))
	if err != nil {
		return first, 0, false
	}
	first, last = first.Unmap(), last.Unmap()
	if first.Zone()+last.Zone() != "" || first.BitLen() != last.BitLen() || last.Less(first) {
		return first, 0, false
	}
	bits = first.BitLen()
	for at := first; at.IsValid() && at.Compare(last) <= 0; {
		p := block(at, last)
		bits = min(bits, p.Bits())
		at = allocator.LastOf(p).Next()
	}
	return first, bits, true
}

// block is the widest prefix that starts at an address and does not reach beyond last.
func block(at, last netip.Addr) netip.Prefix {
	bits := at.BitLen()
	for bits > 0 {
		p := netip.PrefixFrom(at, bits-1)
		if p.Masked().Addr() != at || last.Less(allocator.LastOf(p)) {
			break
		}
		bits--
	}
	return netip.PrefixFrom(at, bits)
}
