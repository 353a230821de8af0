package allocator_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// Planners that are wrong on purpose: they prove that the checkers see.

// oneAtATime treats one Service at a time, as MetalLB does: a key made of sharing
// key, policy and selector decides who may hold an address with whom; the Service
// that was edited and no longer matches the others is cleared, and then looks for
// another address.
func oneAtATime(w *world) (p Planned) {
	j := w.judge()
	key := func(v Service) string {
		if v.Local {
			return wishOf(v).key + " " + v.Selector
		}
		return wishOf(v).key
	}
	held := map[ServiceName][]netip.Addr{}
	for n, v := range w.services {
		held[n] = v.Holds
	}
	fits := func(v Service, a netip.Addr) bool {
		if !j.accepts(j.owners[a], v) || !j.wants(v, a) {
			return false
		}
		for n, r := range w.services {
			if n != v.Name && slices.Contains(held[n], a) && (wishOf(v).key == "" || key(v) != key(r) || len(common(v, r)) > 0) {
				return false
			}
		}
		return true
	}
	order := values(w.services)
	slices.SortStableFunc(order, func(a, b Service) int { return rankOf(b.Name == w.edited) - rankOf(a.Name == w.edited) })
	for _, v := range order {
		if v.Foreign {
			continue
		}
		if slices.ContainsFunc(v.Holds, func(a netip.Addr) bool { return !fits(v, a) }) {
			held[v.Name] = nil
		}
		if len(held[v.Name]) == 0 {
			for _, a := range slices.SortedFunc(mapKeys(j.owners), netip.Addr.Compare) {
				if slices.Contains(v.Families, FamilyOf(a)) && fits(v, a) {
					held[v.Name] = []netip.Addr{a}
					break
				}
			}
		}
		p.Decisions = append(p.Decisions, Decision{Service: v.Name, Holds: held[v.Name], Record: v.Record})
	}
	return p
}

func rankOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

func mapKeys(m map[netip.Addr]string) func(func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// altered is the right planner with a change in each decision.
func altered(alter func(w *world, d *Decision)) planner {
	return func(w *world) Planned {
		p := Plan(w.snapshot, w.now)
		for i := range p.Decisions {
			d := &p.Decisions[i]
			d.Holds = slices.Clone(d.Holds)
			alter(w, d)
		}
		return p
	}
}

// robber gives to a newcomer what another holds.
func robber(w *world) Planned {
	p := Plan(w.snapshot, w.now)
	for i := range p.Decisions {
		if v := w.services[p.Decisions[i].Service]; len(p.Decisions[i].Holds)+len(v.Holds) > 0 {
			continue
		}
		for _, r := range values(w.services) {
			if len(r.Holds) > 0 && !r.Foreign {
				p.Decisions[i].Holds = r.Holds[:1]
				p.Decisions = append(p.Decisions, Decision{Service: r.Name})
				return p
			}
		}
	}
	return p
}

// dropFirst leaves the old address before the new one is published.
var dropFirst = altered(func(w *world, d *Decision) {
	was := w.services[d.Service].Record.Overlap
	d.Holds = slices.DeleteFunc(d.Holds, func(a netip.Addr) bool {
		_, leaving := timer(d.Record.Overlap, a)
		_, left := timer(was, a)
		return leaving && !left
	})
})

// releaseOnRefusal lets a request that cannot be met cost what is held.
var releaseOnRefusal = altered(func(w *world, d *Decision) {
	for _, r := range d.Reasons {
		switch r.Code {
		case AddressTaken, UnknownPool, NotInPool, NotAccepted, PoolRefused, BadRequest:
			d.Holds = nil
		}
	}
})

// hasty does not wait for the other half of a change.
func hasty(w *world) Planned {
	f := w.facts(nil)
	f.Settings.Settle = 0
	return Plan(NewSnapshot(f), w.now)
}

// crammer puts everybody on one address.
var crammer = altered(func(w *world, d *Decision) {
	for _, r := range values(w.services) {
		if len(w.services[d.Service].Holds) == 0 && len(r.Holds) > 0 {
			d.Holds = r.Holds[:1]
			return
		}
	}
})

// highest takes the highest address that is free.
var highest = altered(func(w *world, d *Decision) {
	j, v := w.judge(), w.services[d.Service]
	for i, a := range d.Holds {
		for b, pool := range j.owners {
			if !holds(v, a) && pool == j.owners[a] && FamilyOf(a) == FamilyOf(b) && d.Holds[i].Less(b) && len(j.there(v, b, true)) == 0 {
				d.Holds[i] = b
			}
		}
	}
})

// forgetful writes nothing down for its successors.
var forgetful = altered(func(_ *world, d *Decision) { d.Record.Settling, d.Record.Overlap, d.Record.Kept = nil, nil, nil })

// restless writes the time into everything.
var restless = altered(func(w *world, d *Decision) {
	for i := range d.Record.Settling {
		d.Record.Settling[i].Since = w.now
	}
	for i := range d.Record.Overlap {
		d.Record.Overlap[i].Since = w.now
	}
})

// hurrier shortens what is under way.
var hurrier = altered(func(w *world, d *Decision) {
	for _, timers := range [][]Timer{d.Record.Settling, d.Record.Overlap, d.Record.Kept} {
		for i := range timers {
			if !timers[i].Since.Equal(w.now) {
				timers[i].Since = timers[i].Since.Add(-time.Second)
			}
		}
	}
})

// impatient ends an overlap as soon as the new address is published.
var impatient = altered(func(w *world, d *Decision) {
	v := w.services[d.Service]
	d.Holds = slices.DeleteFunc(d.Holds, func(a netip.Addr) bool {
		_, leaving := timer(v.Record.Overlap, a)
		return leaving
	})
})

// breakFirst takes a lost pool for a reason to skip the overlap.
var breakFirst = altered(func(w *world, d *Decision) {
	for _, r := range d.Steps {
		if r.Code == Moved && r.Why == PoolLost {
			d.Holds = slices.DeleteFunc(d.Holds, func(a netip.Addr) bool { return a == r.Addr })
		}
	}
})

// elsewhere answers a request that cannot be met with another address.
var elsewhere = altered(func(w *world, d *Decision) {
	v, j := w.services[d.Service], w.judge()
	if len(v.Holds) != 1 || len(d.Holds) != 1 || j.wants(v, v.Holds[0]) || len(v.Families) != 1 {
		return
	}
	for b, pool := range j.owners {
		if FamilyOf(b) == v.Families[0] && j.accepts(pool, v) && len(j.there(v, b, true)) == 0 && !j.wants(v, b) && !holds(v, b) {
			d.Record.Overlap = []Timer{{Addr: v.Holds[0], Code: OtherWanted, Since: w.now}}
			d.Holds = []netip.Addr{b, v.Holds[0]}
			return
		}
	}
})

// deaf decides about the Service that was edited and wakes nobody else.
func deaf(w *world) Planned {
	p := Plan(w.snapshot, w.now)
	p.Decisions = slices.DeleteFunc(p.Decisions, func(d Decision) bool { return d.Service != w.edited })
	return p
}

// miser gives nobody anything.
var miser = altered(func(w *world, d *Decision) {
	if len(w.services[d.Service].Holds) == 0 {
		d.Holds = nil
	}
})

// forger backdates what it begins, so that it is over sooner.
var forger = altered(func(w *world, d *Decision) {
	for i := range d.Record.Settling {
		d.Record.Settling[i].Since = w.now.Add(-time.Hour)
	}
})

// A sight is one way of looking at a planner.
type sight func(history, planner) error

var sights = map[string]sight{
	"Check":   func(h history, p planner) error { _, err := h.run(p, agreed); return err },
	"oracle":  func(h history, p planner) error { _, err := h.run(p, justified); return err },
	"clashes": func(h history, p planner) error { _, err := apartAlways(h, p); return err },
	"settle": func(h history, p planner) error {
		seen := patience{}
		_, err := h.run(p, func(w *world) error { return seen.watch(w.judge()) })
		return err
	},
	"rest": func(h history, p planner) error { _, err := comesToRest(h, p); return err },
	"scratch": func(h history, p planner) error {
		_, err := h.run(p, func(w *world) error { return w.sameAsFromNothing(1) })
		return err
	},
}

func TestAlwaysSeesAWrongPlanner(t *testing.T) {
	for _, c := range []struct {
		name string
		planner
		by []string
	}{
		{"one Service at a time", oneAtATime, []string{"Check", "oracle"}},
		{"a newcomer robs a holder", robber, []string{"Check", "oracle", "clashes"}},
		{"drop before join", dropFirst, []string{"Check", "oracle"}},
		{"release on a request that cannot be met", releaseOnRefusal, []string{"Check", "oracle"}},
		{"no settle time", hasty, []string{"Check", "oracle", "settle"}},
		{"everybody on one address", crammer, []string{"Check", "oracle", "clashes"}},
		{"the highest free address", highest, []string{"oracle"}},
		{"nothing written down", forgetful, []string{"rest"}},
		{"times written anew", restless, []string{"rest"}},
		{"times written back", forger, []string{"Check", "oracle"}},
		{"what is under way is shortened", hurrier, []string{"Check", "oracle"}},
		{"the overlap is cut short", impatient, []string{"Check", "oracle"}},
		{"no overlap for a lost pool", breakFirst, []string{"Check", "oracle"}},
		{"another address than the one asked for", elsewhere, []string{"Check", "oracle"}},
		{"nobody is given anything", miser, []string{"rest"}},
		{"only who was edited is decided", deaf, []string{"rest", "scratch"}},
	} {
		for _, by := range c.by {
			t.Run(fmt.Sprint(c.name, "/", by), func(t *testing.T) {
				histories := allocation()
				for seed := range 2000 {
					if err := sights[by](histories.Example(seed), c.planner); err != nil {
						t.Logf("seen in history %d: %v", seed, err)
						return
					}
				}
				t.Error("not seen")
			})
		}
	}
}

// Placers that are wrong on purpose.
var wrongPlaces = map[string]func(w *world, seat Seat) Seat{
	"goes dark when no node serves all": func(_ *world, seat Seat) Seat {
		if slices.ContainsFunc(seat.Unserved, func(u Remark) bool { return u.Reason.Code == NotServed }) {
			seat.Layer2 = nil
		}
		return seat
	},
	"every node that serves one of them": func(w *world, seat Seat) Seat {
		for _, n := range values(w.nodes) {
			for _, s := range seat.Services {
				if nodes, _ := w.judge().endpointsOf(s); nodes[n.Name] && !n.Excluded && !n.Unreachable &&
					!slices.ContainsFunc(seat.Layer2, func(c Candidate) bool { return c.Node == n.Name }) {
					seat.Layer2 = append(slices.Clone(seat.Layer2), Candidate{Node: n.Name})
				}
			}
		}
		return seat
	},
	"routes from nodes that do not serve": func(w *world, seat Seat) Seat {
		seat.Routes = slices.Clone(seat.Routes)
		for i := range seat.Routes {
			seat.Routes[i].Nodes = slices.Sorted(maps.Keys(w.nodes))
		}
		return seat
	},
	"two preferences for one prefix": func(w *world, seat Seat) Seat {
		for _, r := range seat.Remarks {
			if r.Reason.Code == Conflicting {
				seat.Routes = append(slices.Clone(seat.Routes), Route{Advertisement: "a9", Prefix: seat.Routes[0].Prefix, Nodes: seat.Routes[0].Nodes})
			}
		}
		return seat
	},
	"works on every node": func(_ *world, seat Seat) Seat { seat.Local = false; return seat },
	"works where some of it does": func(w *world, seat Seat) Seat {
		seat.LocalNodes = slices.Sorted(maps.Keys(w.nodes))
		return seat
	},
	"says nothing of who is not served": func(_ *world, seat Seat) Seat { seat.Unserved = nil; return seat },
	"no preference is heeded": func(_ *world, seat Seat) Seat {
		seat.Layer2 = slices.Clone(seat.Layer2)
		for i := range seat.Layer2 {
			seat.Layer2[i].Weight = 0
		}
		return seat
	},
}

func TestAlwaysSeesAWrongPlace(t *testing.T) {
	histories := placing()
	for name, wrong := range wrongPlaces {
		t.Run(name, func(t *testing.T) {
			for seed := range 2000 {
				if _, err := histories.Example(seed).run(rightPlanner, func(w *world) error {
					kept := w.seats
					defer func() { w.seats = kept }()
					w.seats = map[netip.Addr]Seat{}
					for a, seat := range kept {
						w.seats[a] = wrong(w, seat)
					}
					return seated(w)
				}); err != nil {
					t.Logf("seen in history %d: %v", seed, err)
					return
				}
			}
			t.Error("not seen")
		})
	}
}
