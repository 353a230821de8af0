package allocator_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// This file judges what a decision does with the record: what it takes back by it,
// what it writes into it, and what it says.

// justNow: a decision that is not published yet may be a second old.
func (j *judge) justNow(t time.Time) bool {
	age := j.now.Sub(t)
	return age >= 0 && age < time.Second
}

// times: what is in flight began when it is published to have begun, as far as that
// is to be believed, or now.
func (j *judge) times(v Service, d Decision) error {
	for _, kind := range [][2][]Timer{{d.Record.Settling, v.Record.Settling}, {d.Record.Overlap, v.Record.Overlap}, {d.Record.Kept, v.Record.Kept}} {
		for _, t := range kind[0] {
			old, was := timer(kind[1], t.Addr)
			if j.justNow(t.Since) || v.Created.After(j.now) || was && t.Since.Equal(j.bounded(v, old.Since)) {
				continue
			}
			return fmt.Errorf("%s of %s is said to have begun at %s", t.Code, t.Addr, t.Since)
		}
	}
	return nil
}

// recorded judges marks, ports and key of a record.
func (j *judge) recorded(v Service, d Decision) error {
	there := slices.Clone(d.Holds)
	for _, t := range d.Record.Kept {
		there = append(there, t.Addr)
	}
	if len(there) == 0 {
		return nil
	}
	for _, a := range there {
		m, ok := markOf(Service{Record: d.Record}, a)
		old, was := markOf(v, a)
		back := kept(v, a) || j.missing(v, a)
		since := earlier(later(old.Since, v.Created), j.now)
		switch {
		case !ok:
			return fmt.Errorf("%s has no mark", a)
		case j.owners[a] != "" && m.Pool != j.owners[a]:
			return fmt.Errorf("%s is marked as of pool %q, and is of %s", a, m.Pool, j.owners[a])
		case v.Created.After(j.now): // of two bounds that contradict each other, either
		case was && (m.Since.Equal(since) || since.Equal(j.now) && j.justNow(m.Since)), !was && j.justNow(m.Since), (back || !j.holds(v, a)) && j.justNow(m.Since):
		default:
			return fmt.Errorf("%s came to %s at %s, said to be %s", d.Service, a, since, m.Since)
		}
	}
	ports := slices.SortedFunc(slices.Values(v.Ports), func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Number, b.Number))
	})
	if waits := len(d.Record.Kept) > 0 && slices.Equal(d.Record.Ports, v.Record.Ports); !waits && !slices.Equal(d.Record.Ports, ports) {
		return fmt.Errorf("has ports %v and records %v", ports, d.Record.Ports)
	}
	return j.agreement(v, d)
}

// agreement: the recorded key follows the key when all those beside have it, and is
// else as it was; a newcomer's is its own.
func (j *judge) agreement(v Service, d Decision) error {
	all := len(v.Holds) > 0 || newcomer(v)         // in the widest reading
	some := len(v.Holds) == 0 || len(d.Holds) == 0 // in the narrowest
	for _, a := range slices.Concat(v.Holds, d.Holds) {
		_, leaving := timer(v.Record.Overlap, a)
		here := true
		for _, r := range j.residents(a) {
			if r.Name == v.Name || agree(v, r) {
				continue
			}
			all = false
			_, left := timer(r.Record.Overlap, a)
			here = here && (left || j.overwritten(r, a))
		}
		some = some || !leaving && here
	}
	for _, r := range j.services { // who waits to come back has a say, too
		for _, a := range d.Holds {
			if r.Name != v.Name && kept(r, a) && !agree(v, r) {
				all, some = false, false
			}
		}
	}
	own := shareOf(wishOf(v).key)
	switch {
	case d.Record.Share == own && (some || v.Record.Share == own), d.Record.Share == v.Record.Share && (!all || len(d.Record.Kept) > 0):
		return nil
	}
	return fmt.Errorf("records key %q, has %q and recorded %q; all agree: %v", d.Record.Share, own, v.Record.Share, all)
}

// restores: an address that the record has and the status has lost is taken back,
// unless another Service or the operator is in the way.
func (j *judge) restores(v Service, d Decision) error {
	before := *j
	before.without = j.current(v) // else v is as a newcomer that comes first to one address
	for _, f := range v.Families {
		of := func(a netip.Addr) bool { return FamilyOf(a) == f }
		has := slices.ContainsFunc(v.Holds, func(a netip.Addr) bool {
			_, leaving := timer(v.Record.Overlap, a)
			return of(a) && !leaving && !before.overwritten(v, a)
		})
		seat := slices.ContainsFunc(v.Record.Kept, func(t Timer) bool { return of(t.Addr) })
		if has || seat || v.FamilyPolicy == RequireDualStack && len(v.Families) < 2 || !j.current(v) && len(v.Holds)+len(v.Families) > 1 {
			continue
		}
		for _, m := range v.Record.Pools {
			if !of(m.Addr) || !j.missing(v, m.Addr) || m.Pool == "" || m.Pool != j.owners[m.Addr] || !before.restorable(v, m.Addr) {
				continue
			}
			if !slices.ContainsFunc(v.Record.Pools, func(n PoolMark) bool { return of(n.Addr) && j.missing(v, n.Addr) && slices.Contains(d.Holds, n.Addr) }) {
				return fmt.Errorf("%s was lost from the status, and is not taken back", m.Addr)
			}
		}
	}
	return nil
}

// restorable: v could have the address if it named it.
func (j *judge) restorable(v Service, a netip.Addr) bool {
	if wishOf(v).bad || !j.wants(v, a) || !j.accepts(j.owners[a], v) || j.usedElsewhere(v, a) || !j.withinQuota(v, a) {
		return false
	}
	return !slices.ContainsFunc(j.there(v, a, true), func(r Service) bool { return !j.may(v, r, a) })
}

// told judges what is said of every Service, and of every step.
func told(w *world) error {
	j := w.judge()
	for _, d := range w.latest {
		v := w.services[d.Service]
		for _, r := range slices.Concat(d.Reasons, d.Steps) {
			if len(r.Others) > 3 || r.More > 0 && len(r.Others) < 3 {
				return fmt.Errorf("%s: %s names %d others and %d more", d.Service, r.Code, len(r.Others), r.More)
			}
		}
		says := func(in []Reason, c Code, a netip.Addr) bool {
			return slices.ContainsFunc(in, func(r Reason) bool { return r.Code == c && r.Addr == a })
		}
		for _, a := range d.Holds {
			_, leaving := timer(d.Record.Overlap, a)
			if used := j.usedElsewhere(v, a); !leaving && (!used || says(d.Reasons, Held, a)) && used != says(d.Reasons, InUseElsewhere, a) {
				return fmt.Errorf("%s: %s is in use elsewhere: %v, and said is %v", d.Service, a, used, d.Reasons)
			}
			if m, _ := markOf(v, a); j.current(v) && j.missing(v, a) && m.Pool == j.owners[a] && !says(d.Steps, Restored, a) {
				return fmt.Errorf("%s: takes back %s and says %v", d.Service, a, d.Steps)
			}
		}
		for _, a := range v.Holds {
			if j.overwritten(v, a) && !slices.Contains(d.Holds, a) && slices.Contains(v.Families, FamilyOf(a)) &&
				!slices.ContainsFunc(d.Steps, func(r Reason) bool { return r.Code == Released && r.Addr == a && r.Why == Overwritten }) {
				return fmt.Errorf("%s: %s, which somebody else wrote, goes, and said is %v", d.Service, a, d.Steps)
			}
		}
	}
	return nil
}
