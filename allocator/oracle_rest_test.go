package allocator_test

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// This file judges what is published: at every write, and at rest.

// written says what a decision that has just been written broke: who newly sits
// beside whom (invariants 1 and 8).
func (j *judge) written(before Service) error {
	v := j.services[before.Name]
	for _, a := range v.Holds {
		if holds(before, a) {
			continue
		}
		for _, r := range j.services {
			if r.Name != v.Name && holds(r, a) && !j.may(before, r, a) {
				return fmt.Errorf("%s: %s was put beside %s", a, v.Name, r.Name)
			}
		}
	}
	return nil
}

// clashes: after the writes of one plan nobody of ours has a port twice.
func (j *judge) clashes() error {
	for _, v := range j.services {
		for _, a := range v.Holds {
			for _, r := range j.residents(a) {
				if !v.Foreign && r.Name != v.Name && len(common(v, r)) > 0 {
					return fmt.Errorf("%s: %s and %s both have %v", a, v.Name, r.Name, common(v, r))
				}
			}
		}
	}
	return nil
}

// atRest judges the fixpoint (invariants 1, 7 and 12).
func (j *judge) atRest() error {
	if err := j.clashes(); err != nil {
		return err
	}
	for _, v := range values(j.services) {
		if v.Foreign {
			continue
		}
		if len(v.Record.Overlap) > 0 {
			return fmt.Errorf("%s: an overlap at rest", v.Name)
		}
		for _, a := range v.Holds {
			if err := j.mayRest(v, a); err != nil {
				return fmt.Errorf("%s: %w", v.Name, err)
			}
		}
		if err := j.unmet(v); err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
		if fits := j.fits(v); fits != nil {
			return fmt.Errorf("%s holds %v and could have %v", v.Name, v.Holds, fits)
		}
	}
	return nil
}

// mayRest: an address that ought to be left is held only by who has nowhere to go.
func (j *judge) mayRest(v Service, a netip.Addr) error {
	if !j.lost(v, a) && !j.outvoted(v, a) {
		return nil
	}
	if t, ok := timer(v.Record.Settling, a); !ok || j.settings.Settle != Never && !j.over(j.bounded(v, t.Since), j.settings.Settle) {
		return fmt.Errorf("%s ought to be left, and nothing says so", a)
	}
	if j.settings.Settle == Never || j.mayWait(v) {
		return nil
	}
	for b, pool := range j.owners {
		if b != a && FamilyOf(b) == FamilyOf(a) && (j.automatic(v, pool) || wishOf(v).addrs[FamilyOf(a)] == b) && j.available(v, b) {
			return fmt.Errorf("%s ought to be left and could be, for %s", a, b)
		}
	}
	return nil
}

// unmet: a holder's request for other addresses is met if it can be.
func (j *judge) unmet(v Service) error {
	w := wishOf(v)
	if w.bad {
		return nil
	}
	var other []Family
	for _, a := range v.Holds {
		if !j.wants(v, a) && slices.Contains(v.Families, FamilyOf(a)) {
			other = append(other, FamilyOf(a))
		}
	}
	if len(other) == 0 || len(other) > 1 && j.limited() || j.mayWait(v) {
		return nil
	}
	pool := w.pool
	for _, f := range other {
		if n := w.addrs[f]; n.IsValid() {
			if !j.available(v, n) {
				return nil
			}
			pool = j.owners[n]
		}
	}
	for _, f := range other {
		if !w.addrs[f].IsValid() && len(j.choices(v, f, pool)) == 0 {
			return nil
		}
	}
	return fmt.Errorf("holds %v though its request could be met", v.Holds)
}

// choices are the addresses of a family that v could have from a pool.
func (j *judge) choices(v Service, f Family, pool string) (out []netip.Addr) {
	for a, owner := range j.owners {
		if owner == pool && FamilyOf(a) == f && !holds(v, a) && j.available(v, a) {
			out = append(out, a)
		}
	}
	return out
}

// fits finds addresses that v lacks and could have; nil: none (invariant 12).
func (j *judge) fits(v Service) []netip.Addr {
	w := wishOf(v)
	var missing []Family
	var held []netip.Addr
	for _, f := range v.Families {
		at := slices.IndexFunc(v.Holds, func(a netip.Addr) bool { return FamilyOf(a) == f })
		seated := slices.ContainsFunc(v.Record.Kept, func(t Timer) bool { return FamilyOf(t.Addr) == f })
		switch {
		case at >= 0:
			held = append(held, v.Holds[at])
			if !j.wants(v, v.Holds[at]) {
				return nil // an unmet request comes first
			}
		case !seated:
			missing = append(missing, f)
		}
	}
	if w.bad || len(missing) == 0 || v.FamilyPolicy == RequireDualStack && len(v.Families) < 2 {
		return nil
	}
	if len(missing) > 1 && j.limited() || j.mayWait(v) {
		return nil
	}
	pools := map[string]bool{}
	for _, p := range j.owners {
		pools[p] = j.automatic(v, p)
	}
	if len(held) > 0 && j.owners[held[0]] != "" {
		pools = map[string]bool{j.owners[held[0]]: true} // both from one pool
	}
	for _, f := range missing { // the others go with the one that is named
		if n := w.addrs[f]; n.IsValid() {
			if !j.available(v, n) {
				return nil
			}
			pools = map[string]bool{j.owners[n]: true}
		}
	}
	for pool, may := range pools {
		var got []netip.Addr
		for _, f := range missing {
			if n := w.addrs[f]; n.IsValid() {
				got = append(got, n)
			} else if c := j.choices(v, f, pool); may && len(c) > 0 {
				got = append(got, c[0])
			}
		}
		if len(got) == len(missing) || len(got) > 0 && v.FamilyPolicy == PreferDualStack {
			return got
		}
	}
	return nil
}

// limited: a pool has a quota, so that of two addresses only one may be to be had.
func (j *judge) limited() bool {
	for _, p := range j.pools {
		if p.MaxPerNamespace > 0 {
			return true
		}
	}
	return false
}

// mayWait: what a pool asks of the Service's namespace is not known.
func (j *judge) mayWait(v Service) bool {
	_, seen := j.namespaces[v.Name.Namespace]
	return !seen && slices.ContainsFunc(values(j.pools), func(p Pool) bool {
		return p.Allocation != nil && len(p.Allocation.NamespaceSelectors) > 0
	})
}

// A patience measures how long there has been a reason to leave an address, as a
// bystander sees it (invariant 4).
type patience map[string]time.Time

// watch notes the reasons of this moment, and judges a decision by them.
func (p patience) watch(j *judge) error {
	seen := func(v Service, a netip.Addr) string { return v.UID + a.String() }
	for _, v := range j.services {
		for _, a := range v.Holds {
			if v.Foreign || j.overwritten(v, a) {
				continue
			}
			_, said := timer(v.Record.Settling, a)
			switch key := seen(v, a); {
			case !j.lost(v, a) && !j.outvoted(v, a) && !said:
				delete(p, key)
			case p[key].IsZero() || j.now.Before(p[key]):
				p[key] = j.now
			}
		}
	}
	for _, d := range j.pending() {
		v := j.services[d.Service]
		for _, a := range v.Holds {
			t, leaving := timer(d.Record.Overlap, a)
			_, left := timer(v.Record.Overlap, a)
			released := !slices.Contains(d.Holds, a) && !left && !j.overwritten(v, a) && j.lost(v, a) && !j.brought(v, a) && slices.Contains(v.Families, FamilyOf(a))
			if leaving && !left && (t.Code == PoolLost || t.Code == Disagreement) || released {
				since, ok := p[seen(v, a)]
				if wait := j.now.Sub(later(since, j.settings.LedSince)); !ok || j.settings.Settle == Never || wait < j.settings.Settle {
					return fmt.Errorf("%s leaves %s after %s", v.Name, a, wait)
				}
			}
		}
	}
	return nil
}
