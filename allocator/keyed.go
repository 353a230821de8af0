package allocator

import (
	"net/netip"
	"slices"
)

// Keyed are the addresses that are held, or will be as planned, under one sharing
// key, ascending. Somebody who is to join one looks for the lowest where none of its
// ports is claimed; so that thousands may look, it is noted for each port below which
// address all have it claimed.
type keyed struct {
	addrs  []netip.Addr
	count  map[netip.Addr]int  // how many hold it under the key
	cursor map[Port]netip.Addr // on every address below it, the port is claimed
}

// key counts one more, or one less, who holds the address under a sharing key.
func (s *Snapshot) key(share string, a netip.Addr, by int) {
	if share == "" {
		return
	}
	k := s.keyed[share]
	if k == nil {
		k = &keyed{count: map[netip.Addr]int{}, cursor: map[Port]netip.Addr{}}
		s.keyed[share] = k
	}
	if k.count[a] += by; k.count[a] == 0 {
		delete(k.count, a)
		if i, found := slices.BinarySearchFunc(k.addrs, a, netip.Addr.Compare); found {
			k.addrs = slices.Delete(k.addrs, i, i+1)
		}
	} else if k.count[a] == by {
		i, _ := slices.BinarySearchFunc(k.addrs, a, netip.Addr.Compare)
		k.addrs = slices.Insert(k.addrs, i, a)
		for p, c := range k.cursor {
			if a.Less(c) {
				k.cursor[p] = a
			}
		}
	}
	if len(k.addrs) == 0 {
		delete(s.keyed, share)
	}
}

// lower notes that v claims its ports on the address no more.
func (s *Snapshot) lower(g *group, a netip.Addr, v *service) {
	last := v.request.share
	lower := func(share string) {
		if k := s.keyed[share]; k != nil && len(k.cursor) > 0 {
			for _, p := range v.Ports {
				if c, ok := k.cursor[p]; ok && a.Less(c) {
					k.cursor[p] = a
				}
			}
		}
	}
	lower(last)
	g.all(func(r *service) bool {
		if share := r.request.share; share != last { // a few keys at most
			last = share
			lower(share)
		}
		return true
	})
}

// lowest shows the addresses, ascending, on which none of v's ports is claimed, until
// one suffices.
func (s *Snapshot) lowest(k *keyed, v *service, show func(netip.Addr) (more bool)) {
	from := netip.Addr{}
	for _, p := range v.Ports {
		if c, ok := k.cursor[p]; ok && from.Less(c) {
			from = c
		}
	}
	i, _ := slices.BinarySearchFunc(k.addrs, from, netip.Addr.Compare)
	advance := slices.Clone(v.Ports) // those that are claimed on every address so far
	advance = slices.DeleteFunc(advance, func(p Port) bool { return k.cursor[p] != from })
	for ; i < len(k.addrs); i++ {
		a := k.addrs[i]
		g, free := s.groups[a], true
		claimed := func(p Port) (is bool) {
			g.claiming(v, p, func(*service) { is = true })
			return is
		}
		advance = slices.DeleteFunc(advance, func(p Port) bool {
			if claimed(p) {
				free = false
				return false
			}
			k.cursor[p] = a
			return true
		})
		if free = free && !g.claimed(v); free && !show(a) {
			break
		}
	}
	for _, p := range advance {
		k.cursor[p] = after(k.addrs, i)
	}
}

// after returns the address at i of a list, or one after all of them.
func after(addrs []netip.Addr, i int) netip.Addr {
	if i < len(addrs) {
		return addrs[i]
	}
	return addrs[len(addrs)-1].Next()
}
