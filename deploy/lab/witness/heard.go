package witness

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Heard is every announcement that reached the client, in the order of arrival. It may
// be added to and read at the same time.
type Heard struct {
	mu      sync.Mutex
	records []Announcement
	byAddr  map[netip.Addr][]int // of records
}

// Add appends an announcement.
func (h *Heard) Add(a Announcement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byAddr == nil {
		h.byAddr = map[netip.Addr][]int{}
	}
	h.byAddr[a.Addr] = append(h.byAddr[a.Addr], len(h.records))
	h.records = append(h.records, a)
}

// Of returns the announcements of the address from then on.
func (h *Heard) Of(addr netip.Addr, from time.Time) (of []Announcement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range h.byAddr[addr] {
		if a := h.records[i]; !a.At.Before(from) {
			of = append(of, a)
		}
	}
	return of
}

// Heirs returns, for every address that a station was the last to announce before a
// moment, how long after it another station did; below zero: none has.
func (h *Heard) Heirs(mac string, since time.Time) map[netip.Addr]time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	heirs := map[netip.Addr]time.Duration{}
	for addr, all := range h.byAddr {
		last := ""
		for _, i := range all {
			a := h.records[i]
			if a.At.Before(since) {
				last = a.MAC
			} else if last == mac && a.MAC != mac {
				heirs[addr] = a.At.Sub(since)
				break
			}
		}
		if _, inherited := heirs[addr]; last == mac && !inherited {
			heirs[addr] = -1
		}
	}
	return heirs
}

// Moves returns when another station than the one before first announced the address,
// or answered for it.
func (h *Heard) Moves(addr netip.Addr) (at []time.Time) {
	before := ""
	for _, a := range h.Of(addr, time.Time{}) {
		if before != "" && a.MAC != before {
			at = append(at, a.At)
		}
		before = a.MAC
	}
	return at
}

// NoGratuitous fails if anybody announced the address without being asked.
func (h *Heard) NoGratuitous(addr netip.Addr, from time.Time) error {
	for _, a := range h.Of(addr, from) {
		if a.Kind.Gratuitous() {
			return fmt.Errorf("%s announced %s at %s (%s)", a.MAC, addr, clock(a.At), a.Kind)
		}
	}
	return nil
}

// Stations returns who answered for the address from then on, each once.
func (h *Heard) Stations(addr netip.Addr, from time.Time) (macs []string) {
	for _, a := range h.Of(addr, from) {
		if a.Kind == Answer && !slices.Contains(macs, a.MAC) {
			macs = append(macs, a.MAC)
		}
	}
	return macs
}
