package peering

import (
	"hash/fnv"
	"net/netip"
)

// routerIDOf is the BGP identifier of a node: its first internal IPv4 address, else
// one made of its name.
func routerIDOf(node string, addresses []netip.Addr) netip.Addr {
	for _, a := range addresses {
		if a.Is4() {
			return a
		}
	}
	return SomeRouterID(node)
}

// SomeRouterID is a BGP identifier made of a node's name. Any does that no other
// speaker of the AS has (RFC 6286 §2.1), but older routers take only what could be
// the address of a station (RFC 4271 §6.2): it is of 1.0.0.0 to 126.255.255.255.
func SomeRouterID(node string) netip.Addr {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node)) // never fails
	sum := h.Sum32()
	return netip.AddrFrom4([4]byte{1 + byte(sum>>24)%126, byte(sum >> 16), byte(sum >> 8), byte(sum)})
}
