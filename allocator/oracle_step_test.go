package allocator_test

import (
	"fmt"
	"net/netip"
	"slices"

	. "holdfast.dev/holdfast/allocator"
)

// This file judges one step: a decision against what is published.

// step says what a decision would break; nil: nothing.
func (j *judge) step(d Decision) error {
	v, ok := j.services[d.Service]
	if !ok || v.Foreign {
		return fmt.Errorf("decides about %s, which is not ours", d.Service)
	}
	for i, a := range d.Holds {
		if slices.Contains(d.Holds[:i], a) {
			return fmt.Errorf("%s would hold %s twice", d.Service, a)
		}
		_, leaving := timer(d.Record.Overlap, a)
		_, left := timer(v.Record.Overlap, a)
		var err error
		switch {
		case !j.holds(v, a):
			err = j.gives(v, a, d)
		case leaving && !left:
			err = j.replaces(v, a, d)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.Service, err)
		}
	}
	for _, a := range v.Holds {
		if !slices.Contains(d.Holds, a) && !j.overwritten(v, a) {
			if err := j.drops(v, a, d); err != nil {
				return fmt.Errorf("%s: %w", d.Service, err)
			}
		}
	}
	for _, judged := range []func(Service, Decision) error{j.restores, j.times, j.recorded} {
		if err := judged(v, d); err != nil {
			return fmt.Errorf("%s: %w", d.Service, err)
		}
	}
	return nil
}

// gives judges an address that is newly given (invariants 1 and 8, and Choose).
func (j *judge) gives(v Service, a netip.Addr, d Decision) error {
	w, pool := wishOf(v), j.owners[a]
	named := w.addrs[FamilyOf(a)] == a
	seat, seated := timer(v.Record.Kept, a)
	back := seated || j.missing(v, a) // to what it held before
	switch {
	case w.bad && !back:
		return fmt.Errorf("%s is given on a request that cannot be read", a)
	case back && pool == "" && (!j.lost(v, a) || j.missing(v, a) && j.origin(v, a) == ""):
		// its pool is refused for a mistake, which costs nobody anything; or it had none
	case pool == "":
		return fmt.Errorf("%s is given and in no pool", a)
	case !j.lets(pool, v) && !(back && j.unknown(pool, v)):
		return fmt.Errorf("%s is given and pool %s does not accept the Service", a, pool)
	case !back && newcomer(v) && (j.unknown(pool, v) || !named && j.mustWait(v)):
		return fmt.Errorf("%s is given while nobody knows namespace %s", a, v.Name.Namespace)
	case !back && j.usedElsewhere(v, a):
		return fmt.Errorf("%s is given and somebody else uses it", a)
	case !back && !j.withinQuota(v, a):
		return fmt.Errorf("%s is given and namespace %s has as many addresses of %s as it may", a, v.Name.Namespace, pool)
	case !j.wants(v, a):
		return fmt.Errorf("%s is given and another is asked for", a)
	}
	for _, r := range j.there(v, a, true) {
		if theirs, waits := timer(r.Record.Kept, a); waits && seated && !holds(r, a) && !slices.Contains(j.latest[r.Name].Holds, a) &&
			(seat.Since.Before(theirs.Since) || seat.Since.Equal(theirs.Since) && age(v, r) < 0) {
			continue // of two that wait for their seats, the first returns
		}
		if !j.may(v, r, a) {
			return fmt.Errorf("%s is given where %s sits", a, r.Name)
		}
		second := wishOf(r).addrs[FamilyOf(a)] == a && !holds(r, a) // r is put there beside v, and names it
		if !named && !back && !second && apart(v, r) {
			return fmt.Errorf("%s is given where %s sits, whose pods need not meet", a, r.Name)
		}
	}
	if named || back {
		return nil
	}
	return j.lowest(v, a, d)
}

// lowest: nothing that comes first was to be had instead.
func (j *judge) lowest(v Service, a netip.Addr, d Decision) error {
	pool := j.owners[a]
	joined := len(j.there(v, a, false)) > 0
	for b, owner := range j.owners {
		if FamilyOf(b) != FamilyOf(a) || holds(v, b) || !j.available(v, b) {
			continue
		}
		free := len(j.there(v, b, true)) == 0
		if free && !joined && owner == pool && b.Less(a) {
			return fmt.Errorf("%s is given and %s of the same pool is free", a, b)
		}
		single := len(v.Families) == 1 && j.automatic(v, owner) && wishOf(v).pool == ""
		if free && !joined && single && j.before(owner, pool) {
			return fmt.Errorf("%s is given and %s of pool %s, which comes before %s, is free", a, b, owner, pool)
		}
		shared := slices.ContainsFunc(j.residents(b), func(r Service) bool { return compatible(v, r) && j.consent(v, r, b) })
		if shared && !joined && single {
			return fmt.Errorf("%s is given and %s is held under the sharing key", a, b)
		}
	}
	if !j.automatic(v, pool) && len(wishOf(v).addrs) == 0 &&
		!slices.ContainsFunc(d.Holds, func(b netip.Addr) bool { return b != a && j.owners[b] == pool && (j.holds(v, b) || j.missing(v, b)) }) {
		return fmt.Errorf("%s is given from pool %s, which is not to be taken from unasked", a, pool)
	}
	return nil
}

// mustWait: a pool that gives addresses by itself may turn out to be for v, or not.
func (j *judge) mustWait(v Service) bool {
	for _, p := range j.pools {
		if p.AutoAssign && j.unknown(p.Name, v) && wishOf(v).pool == "" {
			return true
		}
	}
	return false
}

// before: pools that select Services come first, by priority (0 last), then all by name.
func (j *judge) before(a, b string) bool {
	rank := func(name string) int {
		switch p := j.pools[name]; {
		case p.Allocation == nil:
			return 1 << 20
		case p.Allocation.Priority <= 0:
			return 1 << 10
		default:
			return p.Allocation.Priority
		}
	}
	return rank(a) < rank(b) || rank(a) == rank(b) && a < b
}

// replaces judges an address that goes into its overlap (invariants 2 and 3).
func (j *judge) replaces(v Service, a netip.Addr, d Decision) error {
	at := slices.Index(d.Holds, a)
	var next []netip.Addr
	for i, b := range d.Holds {
		_, leaving := timer(d.Record.Overlap, b)
		if FamilyOf(b) == FamilyOf(a) && !leaving && (i < at || j.holds(v, b)) {
			next = append(next, b)
		}
	}
	switch {
	case len(next) != 1:
		return fmt.Errorf("%s is being left, followed by %v", a, next)
	case j.holds(v, next[0]), j.settled(v, a):
		return nil
	}
	granted := func(b netip.Addr) bool { // its own request, which is met
		return !wishOf(v).bad && !j.wants(v, b) && j.wants(v, next[0])
	}
	for _, b := range v.Holds { // or the one that it was surplus to goes, and rightly
		if FamilyOf(b) == FamilyOf(a) && (granted(b) || j.settled(v, b)) {
			return nil
		}
	}
	return fmt.Errorf("%s is being left without a reason", a)
}

// settled: rule c or e says to leave, and the settle time is over, of that reason; it
// begins now if none is published for it.
func (j *judge) settled(v Service, a netip.Addr) bool {
	for _, reason := range []struct {
		code  Code
		holds bool
	}{{PoolLost, j.lost(v, a)}, {Disagreement, j.outvoted(v, a)}} {
		since := j.now
		for _, t := range v.Record.Settling {
			if t.Addr == a && t.Code == reason.code {
				since = j.bounded(v, t.Since)
			}
		}
		if reason.holds && j.over(since, j.settings.Settle) {
			return true
		}
	}
	return false
}

// drops judges an address that is held no more (invariants 2, 3 and 9).
func (j *judge) drops(v Service, a netip.Addr, d Decision) error {
	f := FamilyOf(a)
	followed := slices.ContainsFunc(d.Holds, func(b netip.Addr) bool {
		return FamilyOf(b) == f && j.holds(v, b)
	})
	stays := slices.ContainsFunc(d.Holds, func(b netip.Addr) bool {
		_, leaving := timer(d.Record.Overlap, b)
		return FamilyOf(b) == f && !leaving
	})
	t, leaving := timer(v.Record.Overlap, a)
	mark, _ := markOf(v, a) // of a pool of ours, or of none
	switch {
	case len(v.Families) > 0 && !slices.Contains(v.Families, f):
		return nil
	case j.brought(v, a):
		return nil
	case leaving && j.over(j.bounded(v, t.Since), j.settings.Overlap) && (followed || t.Code == PoolLost && j.lost(v, a)):
		return nil
	case j.lost(v, a) && j.settled(v, a) && mark.Pool != "" && !stays:
		before := *j
		before.without = true // what a newcomer is given now, a holder could have had
		for b := range j.owners {
			if FamilyOf(b) == f && b != a && (j.automatic(v, j.owners[b]) || wishOf(v).addrs[f] == b) && before.available(v, b) {
				return fmt.Errorf("%s is released, and %s could replace it", a, b)
			}
		}
		return nil
	}
	return fmt.Errorf("%s is dropped and no rule says so", a)
}
