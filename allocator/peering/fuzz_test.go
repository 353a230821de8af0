package peering

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"holdfast.dev/holdfast/allocator"
)

// What is read as a community is one that can be written, and means the same then.
func FuzzParseCommunity(f *testing.F) {
	for _, seed := range []string{
		"", "large", ":", "65535:65535", "65536:1", "0:0", "large:4294967295:0:1", "large:4294967296:0:1", "large:1:2", "large:1:2:3:4", "1:2:3",
		"blue", "NO_EXPORT", "+1:1", "-1:1", " 1:1", "1:1 ", "0x1:1", "1_0:1", "01:1", "Large:1:2:3", "large:large:1:2:3", "1:\u0661",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, is, err := parseCommunity(text)
		if is != (strings.Contains(text, ":") || text == "large") {
			t.Fatalf("%q has the form of a community: %v", text, is)
		}
		if err != nil {
			if !is || !strings.Contains(err.Error(), communityForm) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if !is {
			return
		}
		written := fmt.Sprintf("%d:%d", c.value[0]>>16, c.value[0]&0xffff)
		if c.large {
			written = fmt.Sprintf("large:%d:%d:%d", c.value[0], c.value[1], c.value[2])
		} else if c.value[1] != 0 || c.value[2] != 0 {
			t.Fatalf("%q: more than 32 bits: %v", text, c.value)
		}
		if again, _, err := parseCommunity(written); again != c || err != nil {
			t.Fatalf("%q is %+v, and %q is %+v, %v", text, c, written, again, err)
		}
	})
}

// The widest prefix of a range is that of the blocks that cover it exactly, and there
// is no wider one in it.
func FuzzWidest(f *testing.F) {
	for _, seed := range []string{
		"192.0.2.0/24", "192.0.2.7/24", "2001:db8::/32", "::ffff:192.0.2.0/120", "192.0.2.0", "x", "-", "192.0.2.1-", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::",
		"192.0.2.1-192.0.2.254", "192.0.2.0-192.0.3.255", " 192.0.2.1 - 192.0.2.1 ", "::ffff:192.0.2.1-192.0.2.9", "0.0.0.0-255.255.255.255", "0.0.0.1-255.255.255.254",
		"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "fe80::1%eth0-fe80::9%eth0", "fe80::1%eth0-fe80::9", "255.255.255.255-255.255.255.255",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		first, bits, ok := widest(entry)
		from, to, isRange := strings.Cut(strings.TrimSpace(entry), "-")
		switch {
		case !ok:
			return
		case first.Zone() != "" || first.Is4In6():
			t.Fatalf("%q: package allocator hands out no such addresses", entry)
		case !isRange:
			if p, err := netip.ParsePrefix(from); err != nil || p.Bits() != bits || p.Addr() != first {
				t.Fatalf("%q: %s/%d", entry, first, bits)
			}
			return
		}
		if start := netip.MustParseAddr(strings.TrimSpace(from)).Unmap(); start != first {
			t.Fatalf("%q begins with %s, and not with %s", entry, start, first)
		}
		last := netip.MustParseAddr(strings.TrimSpace(to)).Unmap()
		least, at := first.BitLen(), first
		for n := 0; ; n++ {
			p := block(at, last)
			end := allocator.LastOf(p)
			if p.Addr() != at || p != p.Masked() || last.Less(end) || n > 2*first.BitLen() {
				t.Fatalf("%q: %s begins at %s, and the range ends at %s", entry, p, at, last)
			}
			if least = min(least, p.Bits()); end == last {
				break
			}
			at = end.Next()
		}
		if least != bits {
			t.Fatalf("%q: the widest is of length %d, and not %d", entry, least, bits)
		}
		// One that is wider would hold the first address, or begin at the next chance.
		for shorter := range bits {
			p := netip.PrefixFrom(first, shorter).Masked()
			if p.Addr() != first {
				if next := allocator.LastOf(p).Next(); next.IsValid() {
					p = netip.PrefixFrom(next, shorter)
				}
			}
			if !p.Addr().Less(first) && !last.Less(allocator.LastOf(p)) {
				t.Fatalf("%q: %s is in it, and wider than /%d", entry, p, bits)
			}
		}
	})
}
