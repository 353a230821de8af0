package layer2

import (
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
)

// table is the whole set, immutable: Set replaces it, readers load it.
type table struct {
	byAddr  map[netip.Addr]*holding
	order   []netip.Addr        // of announcements: as the entries came
	names   map[string]bool     // interfaces that some entry names
	refused map[netip.Addr]bool // told of already

	probed map[netip.Addr]*probe // asked for, and not held
}

// holding is what is known of an address in the set.
type holding struct {
	names []string // sorted; empty: all that are not excluded
	life  *life
}

// life is the time that an address spends in the set without leaving it.
type life struct {
	since atomic.Int64 // first gratuitous frame, Unix ns; 0: none yet
}

// on says whether the address, which is addr, is held on an interface.
func (h *holding) on(f *face, addr netip.Addr) bool { return f.among(h.names, addr) }

// lookup returns the holding of an address if it is held on that interface.
func (t *table) lookup(addr netip.Addr, f *face) *holding {
	if h := t.byAddr[addr]; h != nil && h.on(f, addr) {
		return h
	}
	return nil
}

// replace returns the table for a new set, in which an address that stays goes
// on with its life, and the addresses that are refused for the first time. It
// returns t itself if nothing changed.
func (t *table) replace(entries []Entry) (next *table, refused []netip.Addr) {
	next = &table{
		byAddr: make(map[netip.Addr]*holding, len(entries)), order: make([]netip.Addr, 0, len(entries)),
		names: map[string]bool{}, refused: map[netip.Addr]bool{},
	}
	for _, e := range entries {
		addr := e.Addr.Unmap().WithZone("")
		if !answerable(addr) {
			if !t.refused[addr] && !next.refused[addr] {
				refused = append(refused, addr)
			}
			next.refused[addr] = true
			continue
		}
		next.add(addr, e.Interfaces, t.byAddr[addr])
	}
	changed := len(next.byAddr) != len(t.byAddr) || len(next.refused) != len(t.refused) || len(refused) > 0
	for addr, h := range next.byAddr {
		for _, name := range h.names {
			next.names[name] = true
		}
		if old := t.byAddr[addr]; old == h {
			continue
		} else if old == nil {
			h.life = &life{}
		} else {
			h.life = old.life
		}
		changed = true
	}
	if !changed {
		return t, nil
	}
	next.probed = next.unheld(t.probed)
	return next, refused
}

// add puts an address into a table that is being made. What was held in the
// same way before is taken over as it is.
func (t *table) add(addr netip.Addr, names []string, old *holding) {
	if h := t.byAddr[addr]; h == nil {
		t.order = append(t.order, addr)
	} else if len(h.names) == 0 || len(names) == 0 {
		names = nil
	} else {
		names = slices.Concat(h.names, names)
	}
	if len(names) > 0 {
		names = slices.Compact(slices.Sorted(slices.Values(names)))
	}
	if old != nil && slices.Equal(old.names, names) {
		t.byAddr[addr] = old
	} else {
		t.byAddr[addr] = &holding{names: names}
	}
}

// answerable says whether a station can own the address on a segment.
func answerable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// status describes the addresses of t on the ports.
func (t *table) status(ports map[int]*port) []Status {
	all := make([]Status, 0, len(t.byAddr))
	for _, addr := range slices.SortedFunc(maps.Keys(t.byAddr), netip.Addr.Compare) {
		h := t.byAddr[addr]
		s := Status{Addr: addr, Since: h.life.time()}
		for _, p := range ports {
			if seat := p.seats[addr]; seat != nil && seat.life == h.life && seat.sent {
				s.Interfaces = append(s.Interfaces, p.face.Load().name)
			}
		}
		slices.Sort(s.Interfaces)
		all = append(all, s)
	}
	return all
}
