package allocator

import (
	"net/netip"
	"slices"
	"time"
)

// Planned is Plan's answer.
type Planned struct {
	// Decisions for the Services that changes since the last Plan touch, and
	// for all that wait or are in flight; on a new snapshot for all.
	Decisions []Decision
	// Wake is when time alone will change a decision; zero: never.
	Wake time.Time
}

// A Decision is what is to be published for one Service, whole: what differs
// from what is published must be written, in one write.
type Decision struct {
	Service ServiceName
	Holds   []netip.Addr // status.loadBalancer.ingress, in this order
	Record  Record       // annotation RecordAnnotation; a zero Record: none
	Pool    string       // annotation AnnotationFromPool; "": none
	Reasons []Reason     // how things stand once this is published, the most important first: the condition
	Steps   []Reason     // what this decision changes about the addresses: events and counters
}

// Plan decides which addresses each Service holds. Holders come before those
// that hold nothing, and older before younger, so no newcomer robs a holder.
// Two Plans on one snapshot at one time give the same answer.
func Plan(s *Snapshot, now time.Time) Planned {
	s.check()
	now = now.UTC().Truncate(time.Millisecond)
	work := make([]*service, 0, len(s.touched)+len(s.open))
	for v := range s.touched {
		work = append(work, v)
	}
	for v := range s.open {
		if !s.touched[v] {
			work = append(work, v)
		}
	}
	clear(s.touched)
	slices.SortFunc(work, holdersFirst)
	for _, v := range work {
		s.unplan(v, v.request.share)
	}
	var planned Planned
	for _, v := range work {
		if v.Foreign {
			continue
		}
		d, wake := s.decide(v, now)
		if !wake.IsZero() && (planned.Wake.IsZero() || wake.Before(planned.Wake)) {
			planned.Wake = wake
		}
		if d.quiet(v) {
			delete(s.open, v)
		} else {
			s.open[v] = true
		}
		planned.Decisions = append(planned.Decisions, d)
	}
	return planned
}

func holdersFirst(a, b *service) int {
	x, y := a.holder(), b.holder()
	if x != y {
		if x {
			return -1
		}
		return 1
	}
	return older(a, b)
}

func (v *service) holder() bool { return len(v.Holds)+len(v.Record.Kept) > 0 }

// quiet tells whether the decision leaves everything as it is, with nothing to
// wait for: only a change near v can then change it.
func (d *Decision) quiet(v *service) bool {
	for _, r := range d.Reasons {
		if r.Code != Held {
			return false
		}
	}
	return len(d.Reasons) > 0 && slices.Equal(d.Holds, v.Holds) && d.Record.Equal(v.Record)
}
