package layer2

import (
	"bytes"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
)

// Announcer answers for a set of addresses.
type Announcer struct {
	log       *slog.Logger
	exclude   []*regexp.Regexp
	heard     func(netip.Addr, string, net.HardwareAddr)
	announced func(netip.Addr, string)
	changed   func()
	system    system // nil: the kernel's, opened by Run
	count     counters

	set   sync.Mutex             // one Set or Announce at a time
	held  atomic.Pointer[table]  // what is answered; replaced whole
	asked []netip.Addr           // to be announced again; with set
	ours  atomic.Pointer[macSet] // hardware addresses of this node
	work  chan struct{}          // held or asked are newer than what Run applied

	mu     sync.Mutex // ports and what is in them: Run writes, Status and Stats read
	ports  map[int]*port
	usable map[string]Usability // see Usable; replaced whole

	changes, told uint64 // of what Config.Changed tells; with mu

	claims  chan claim // for Config.Heard
	started atomic.Bool
}

// New returns an Announcer with an empty set. It opens nothing: Run does.
func New(c Config) *Announcer { return newAnnouncer(c, nil) }

func newAnnouncer(c Config, s system) *Announcer {
	a := &Announcer{
		log: c.Log, exclude: c.Exclude, heard: c.Heard, announced: c.Announced, changed: c.Changed, system: s,
		work: make(chan struct{}, 1), ports: map[int]*port{}, claims: make(chan claim, 1024),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.exclude == nil {
		a.exclude = DefaultExclude
	}
	a.held.Store(&table{})
	a.ours.Store(&macSet{})
	return a
}

// Set makes entries the whole set of addresses to answer for. Answers follow
// at once; announcements of what is new and changes of multicast groups are
// left to Run. Two entries for one address act as one with the interfaces of
// both. An address that can not be answered for (invalid, unspecified,
// loopback, multicast) is logged and left out. Set is safe for concurrent use
// and may be called before Run. 5,000 entries take a few milliseconds.
func (a *Announcer) Set(entries []Entry) {
	a.set.Lock()
	defer a.set.Unlock()
	now := a.held.Load()
	next, refused := now.replace(entries)
	if next == now {
		return
	}
	for _, addr := range refused {
		a.log.Warn("address can not be announced", "address", addr)
	}
	a.held.Store(next)
	a.wake()
}

// Announce announces addresses of the set again, on all their interfaces, as
// if they were new: for an owner that has heard another station claim one, or
// that comes out of a partition. Addresses that are not in the set are ignored.
func (a *Announcer) Announce(addrs ...netip.Addr) {
	a.set.Lock()
	defer a.set.Unlock()
	for _, addr := range addrs {
		if addr = addr.Unmap().WithZone(""); !slices.Contains(a.asked, addr) {
			a.asked = append(a.asked, addr)
		}
	}
	a.wake()
}

func (a *Announcer) wake() {
	select {
	case a.work <- struct{}{}:
	default:
	}
}

// Status returns the state of every address in the set, ordered by address.
func (a *Announcer) Status() []Status {
	held := a.held.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	return held.status(a.ports)
}

// Usable returns the names of the interfaces on which an address can be announced
// now: fit for it, up, with a carrier. Nil before Run has looked. The caller must not
// change it.
func (a *Announcer) Usable() map[string]Usability {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.usable
}

// Stations returns the hardware addresses with which this node answers now,
// without repetition, in order.
func (a *Announcer) Stations() []net.HardwareAddr {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[mac]bool{}
	for _, p := range a.ports {
		all[p.link.mac] = true
	}
	var out []net.HardwareAddr
	for _, m := range slices.SortedFunc(maps.Keys(all), func(x, y mac) int { return bytes.Compare(x[:], y[:]) }) {
		out = append(out, net.HardwareAddr(slices.Clone(m[:])))
	}
	return out
}

// Stats returns the counters and gauges.
func (a *Announcer) Stats() Stats {
	s := a.count.read()
	s.Addresses = len(a.held.Load().byAddr)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.ports {
		p.gauge(&s)
	}
	return s
}
