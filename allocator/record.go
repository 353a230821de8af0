package allocator

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// A Record is what must be remembered of a Service beside its addresses. It is
// published in the same write as they are, where the Service's users do not write,
// so that the next leader carries on where the last one stopped. A Service without a
// record has proved nothing: what the record of another one tells counts against it.
// Times are UTC, in whole milliseconds.
type Record struct {
	// Written is when this record was published. Plan gives the time at which it was
	// decided; it is another one only where the record must be written.
	Written time.Time
	// Ports and Share are the ports and the sharing key with which the Service was
	// admitted to its addresses. A port that is not there was added later. The key
	// follows the Service's own as soon as all residents agree.
	Ports []Port
	Share string
	// Pools tell for each address that is held, or where a seat is kept, when the
	// Service came to it and from which pool.
	Pools []PoolMark
	// Settling: addresses that will be left unless something changes.
	Settling []Timer
	// Overlap: addresses that have been replaced and are held a little longer.
	Overlap []Timer
	// Kept: addresses that were left because of a port clash, where a seat is
	// kept for the Service.
	Kept []Timer
}

// A PoolMark says from which pool an address was taken, and when. An address whose
// pool object is gone or broken keeps its advertisements by it.
type PoolMark struct {
	Addr   netip.Addr
	Pool   string            // "": no pool of ours gave it
	Labels map[string]string // of the pool object, for pool selectors
	Since  time.Time
}

// A Timer is a matter in flight: it began then, for that reason.
type Timer struct {
	Addr  netip.Addr
	Code  Code
	Since time.Time
}

// Equal tells whether two records say the same, whenever they were written.
func (r Record) Equal(o Record) bool {
	timers := func(a, b []Timer) bool {
		return slices.EqualFunc(a, b, func(a, b Timer) bool { return a.Addr == b.Addr && a.Code == b.Code && a.Since.Equal(b.Since) })
	}
	return r.Share == o.Share && slices.Equal(r.Ports, o.Ports) &&
		slices.EqualFunc(r.Pools, o.Pools, func(a, b PoolMark) bool {
			return a.Addr == b.Addr && a.Pool == b.Pool && a.Since.Equal(b.Since) && maps.Equal(a.Labels, b.Labels)
		}) &&
		timers(r.Settling, o.Settling) && timers(r.Overlap, o.Overlap) && timers(r.Kept, o.Kept)
}

// Published tells whether a record that was decided is the one that is published.
func (r Record) Published(as Record) bool {
	return r.Equal(as) && (r.IsZero() || r.Written.Equal(as.Written))
}

// IsZero tells whether there is no record.
func (r Record) IsZero() bool { return r.Equal(Record{}) }

// mark returns what the record says of an address; nil: nothing.
func (v *Service) mark(a netip.Addr) *PoolMark {
	for i := range v.Record.Pools {
		if v.Record.Pools[i].Addr == a {
			return &v.Record.Pools[i]
		}
	}
	return nil
}

// origin returns the mark of an address that a pool of ours gave; nil: none did.
func (v *Service) origin(a netip.Addr) *PoolMark {
	if m := v.mark(a); m != nil && m.Pool != "" {
		return m
	}
	return nil
}

// had tells whether the Service was admitted with the port.
func (v *Service) had(p Port) bool {
	_, found := slices.BinarySearchFunc(v.Record.Ports, p, Port.Compare)
	return found
}

// gives tells whether the Service no longer claims a port with which it was admitted.
func (v *Service) gives() bool {
	if slices.Equal(v.Record.Ports, v.Ports) {
		return false
	}
	now := slices.SortedFunc(slices.Values(v.Ports), Port.Compare)
	return slices.ContainsFunc(v.Record.Ports, func(p Port) bool {
		_, found := slices.BinarySearchFunc(now, p, Port.Compare)
		return !found
	})
}

// Compare orders ports by protocol, then number.
func (p Port) Compare(q Port) int {
	return cmp.Or(cmp.Compare(p.Protocol, q.Protocol), cmp.Compare(p.Number, q.Number))
}

// trusted tells whether the record tells more than the status: it does if somebody
// has led ever since it was written. While nobody led, another load balancer may have
// changed the status.
func (s *Snapshot) trusted(v *Service) bool {
	return !v.Record.IsZero() && !v.Record.Written.Before(s.settings.LedSince)
}

// overwritten tells whether somebody else wrote the address into the status.
func (s *Snapshot) overwritten(v *Service, a netip.Addr) bool {
	return v.mark(a) == nil && s.trusted(v)
}

// began returns when a matter began, as far as it can be believed: not in the future,
// not before the Service was there, and not while nobody led.
func (s *Snapshot) began(v *Service, since, now time.Time) time.Time {
	since = came(v, since, now)
	if since.Before(s.settings.LedSince) {
		since = s.settings.LedSince.UTC().Truncate(time.Millisecond)
	}
	return since
}

// came is the same for when the Service came to an address: it did so whoever led.
func came(v *Service, since, now time.Time) time.Time {
	if since.After(now) {
		since = now
	}
	if since.Before(v.Created) {
		since = v.Created
	}
	return since
}

// timed tells whether one of the timers is about the address.
func timed(timers []Timer, a netip.Addr) bool {
	return slices.ContainsFunc(timers, func(t Timer) bool { return t.Addr == a })
}
