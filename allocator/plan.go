package allocator

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Planned is Plan's answer.
type Planned struct {
	// Decisions for the Services that changes since the last Plan touch, and for
	// those that had waited for what these changes made possible; on a new snapshot
	// for all. For every other one the last decision stands.
	Decisions []Decision
	// Wake is when time alone will change a decision; zero: never.
	Wake time.Time
	// InFlight is how many decisions are not what is published. While there are any,
	// Plan must be asked once a second: times in a decision must not be old when it is
	// published.
	InFlight int
}

// A Decision is what is to be published for one Service, whole: what differs
// from what is published must be written, in one write.
type Decision struct {
	Service ServiceName
	Holds   []netip.Addr // status.loadBalancer.ingress, in this order
	Record  Record       // a zero Record: none
	Pool    string       // annotation AnnotationFromPool; "": none
	Reasons []Reason     // how things stand once this is published, the most important first: the condition
	Steps   []Reason     // what this decision changes about the addresses: events and counters
}

// Plan decides which addresses each Service holds. Holders come before those
// that hold nothing, and older before younger, so no newcomer robs a holder.
func Plan(s *Snapshot, now time.Time) Planned {
	s.check()
	now = now.UTC().Truncate(time.Millisecond)
	var planned Planned
	line := s.line(now)
	for v := line.next(); v != nil; v = line.next() {
		s.forgetWaits(v)
		if v.Foreign {
			s.agenda.forget(v)
			continue
		}
		d, wake := s.decide(v, now)
		s.agenda.note(v, d, now, wake)
		for _, a := range v.comes {
			line.follow(v, a)
		}
		planned.Decisions = append(planned.Decisions, d)
	}
	planned.Wake, planned.InFlight = s.agenda.wake(), len(s.agenda.flight)
	return planned
}

func holdersFirst(a, b *service) int {
	return cmp.Or(cmp.Compare(a.turn, b.turn), older(a, b))
}

// When a Service is decided about: who lost an address from its status before others
// who hold one, or a seat, and these before newcomers.
const (
	robbed uint8 = iota
	holder
	newcomer
)

func (v *service) turnOf() uint8 {
	if slices.ContainsFunc(v.Record.Pools, v.lost) {
		return robbed
	}
	if v.holds() {
		return holder
	}
	return newcomer
}

// lost tells whether a mark is of an address that v held and its status does not name.
func (v *service) lost(m PoolMark) bool {
	return m.Pool != "" && !slices.Contains(v.Holds, m.Addr) && !timed(v.Record.Kept, m.Addr) && !timed(v.Record.Overlap, m.Addr)
}

// holds tells whether v holds an address, or has a right to one.
func (v *service) holds() bool { return len(v.Holds)+len(v.Record.Pools) > 0 }
