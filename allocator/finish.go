package allocator

import (
	"cmp"
	"net/netip"
	"slices"
)

// finish turns a draft into a decision: what is left behind goes through its
// overlap (make before break), and everything is put in order.
func (d *draft) finish() Decision {
	v := d.v
	out := Decision{Service: v.Name}
	for _, f := range v.Families {
		if a := d.target[slot(f)]; a.IsValid() {
			out.Holds = append(out.Holds, a)
		}
	}
	for i := range d.target { // of a family that the Service does not name
		if a := d.target[i]; a.IsValid() && !slices.Contains(out.Holds, a) {
			out.Holds = append(out.Holds, a)
		}
	}
	for _, a := range v.Holds {
		if !slices.Contains(out.Holds, a) && d.lingers(a) {
			out.Holds = append(out.Holds, a)
		}
	}
	if len(d.record.Overlap) == 0 && sameSet(out.Holds, v.Holds) {
		out.Holds = v.Holds // what is only in another order is not worth a write
	}
	d.mark(&out)
	d.admitted(&out)
	out.Record = d.record
	slices.SortStableFunc(d.state, func(a, b Reason) int {
		return cmp.Compare(rank(a.Code), rank(b.Code))
	})
	out.Reasons, out.Steps = d.state, d.steps
	return out
}

func rank(c Code) int {
	switch {
	case c.Warning():
		return 0
	case c == FamilyMissing:
		return 1
	case c == Held:
		return 2
	}
	return 3
}

// lingers tells whether a published address that is no target is still held, in
// its overlap. What clashes, or belongs to a family that the Service has lost, is
// not; nor is an address that goes without a successor.
func (d *draft) lingers(a netip.Addr) bool {
	code := d.gone[a]
	t, begun := Timer{a, code, d.began(&d.v.Service, d.now, d.now)}, false
	for _, u := range d.v.Record.Overlap {
		if u.Addr == a && code == "" { // else it served again meanwhile
			t, begun = u, true
			t.Since = d.began(&d.v.Service, u.Since, d.now)
		}
	}
	if t.Code == "" {
		t.Code = Surplus
	}
	i := slot(FamilyOf(a))
	successor := d.target[i].IsValid() || d.seat[i]
	until, over := d.deadline(t.Since, d.settings.Overlap)
	if code == PortClash || code == FamilyGone || code == Overwritten || !successor && !begun || over && begun || d.brought(d.v, a).code != "" {
		d.steps = append(d.steps, Reason{Code: Released, Addr: a, Why: cmp.Or(code, t.Code)})
		return false
	}
	d.wakeAt(until)
	d.record.Overlap = append(d.record.Overlap, t)
	moved := Reason{Code: Moved, Addr: a, Until: until, Why: t.Code}
	d.say(moved)
	if !begun {
		d.steps = append(d.steps, moved)
	}
	return true
}

// mark notes for every address that is held, or where a seat is kept, since when,
// and the pool that it is of, while there is one.
func (d *draft) mark(out *Decision) {
	note := func(a netip.Addr) {
		m := PoolMark{Addr: a, Since: came(&d.v.Service, d.now, d.now)}
		if old := d.v.mark(a); old != nil {
			m = *old
			m.Since = came(&d.v.Service, old.Since, d.now)
		}
		if p := d.poolOf(a); p != nil {
			m.Pool, m.Labels = p.Name, p.Labels
		}
		d.record.Pools = append(d.record.Pools, m)
	}
	for _, a := range out.Holds {
		note(a)
	}
	if len(d.record.Pools) > 0 {
		out.Pool = d.record.Pools[0].Pool
	}
	for _, t := range d.record.Kept {
		note(t.Addr)
	}
}

// admitted notes the ports that v has, and the key that it has in common with all
// others. While the record has not been written, it tells who brought a clash; once it
// has, v has left.
func (d *draft) admitted(out *Decision) {
	v := d.v
	if len(d.record.Pools) == 0 {
		return
	}
	d.record.Ports, d.record.Share = v.Record.Ports, v.Record.Share
	if len(d.record.Kept) == 0 || v.Record.IsZero() { // a seat is kept with the ports that it had
		d.record.Ports = slices.SortedFunc(slices.Values(v.Ports), Port.Compare)
		if d.agrees(out.Holds) {
			d.record.Share = v.request.share
		}
	}
	// A record of a time before somebody led is written anew as it is: from then on it
	// counts.
	if d.record.Written = d.now; d.record.Equal(v.Record) && d.trusted(&v.Service) {
		d.record.Written = v.Record.Written
	}
}

func sameSet(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}
