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
}

// Add appends an announcement.
func (h *Heard) Add(a Announcement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, a)
}

// Of returns the announcements of the address from then on.
func (h *Heard) Of(addr netip.Addr, from time.Time) (of []Announcement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.records {
		if a.Addr == addr && !a.At.Before(from) {
			of = append(of, a)
		}
	}
	return of
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
