package speaker

import (
	"maps"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// This file is about nodes that leave: how this one withdraws, and how long others
// may be counted on that are about to.

// witness is one other node that may advertise an address, and since when without a
// break, as far as is known.
type witness struct {
	node  string
	since time.Time
}

// drain is a route that routers are asked to leave (RFC 8326) before it goes, also
// if it goes for some of them only. A path has one of each advertisement.
type drain struct {
	allocator.Route
	until time.Time
	fresh bool // nothing has been decided since it began
}

// resumedBy tells whether a route is again for one of the peers what it was.
func (d drain) resumedBy(r allocator.Route) bool {
	return sameRoute(d.Route, r) && (len(r.Peers) == 0 || len(d.Peers) == 0 ||
		slices.ContainsFunc(d.Peers, func(n string) bool { return slices.Contains(r.Peers, n) }))
}

func sameRoute(a, b allocator.Route) bool {
	return a.Advertisement == b.Advertisement && a.Prefix == b.Prefix
}

// covers tells whether one of the routes is for all peers that r is for.
func covers(routes []allocator.Route, r allocator.Route) bool {
	return slices.ContainsFunc(routes, func(c allocator.Route) bool {
		return sameRoute(c, r) && (len(c.Peers) == 0 || len(r.Peers) > 0 && len(without(r.Peers, nil, c.Peers)) == 0)
	})
}

// leaversOf notes which other nodes are about to withdraw, as this one would: until
// then there is no hurry to take their place.
func (r *routes) leaversOf(now time.Time, p *path, before allocator.Seat) {
	leaves := func(n string) bool { return p.WorksOn(n) && !advertises(p.Routes, n) }
	maps.DeleteFunc(p.leavers, func(n string, _ time.Time) bool { return !leaves(n) })
	for i, route := range before.Routes {
		if i < len(p.Routes) && slices.Equal(route.Nodes, p.Routes[i].Nodes) {
			continue // as nearly always
		}
		for _, n := range route.Nodes {
			if _, noted := p.leavers[n]; n != r.node && !noted && leaves(n) {
				if p.leavers == nil {
					p.leavers = map[string]time.Time{}
				}
				p.leavers[n] = now.Add(r.times.Drain)
			}
		}
	}
	if len(p.leavers) == 0 {
		p.leavers = nil
	}
}

// advertises tells whether a node may advertise one of the routes.
func advertises(routes []allocator.Route, node string) bool {
	return slices.ContainsFunc(routes, func(r allocator.Route) bool {
		_, is := slices.BinarySearch(r.Nodes, node)
		return is
	})
}

// served returns until when other nodes serve the address; the zero time if none does.
func (p *path) served(now time.Time) (until time.Time) {
	for _, end := range p.leavers {
		if now.Before(end) && end.After(until) {
			until = end
		}
	}
	return until
}

// leaveBehind begins to withdraw what this node advertises and may not any more.
// Where it still serves, or those that are to serve have only just become eligible,
// routers are told to prefer others first; where it does not serve, it is
// withdrawn at once.
func (r *routes) leaveBehind(now time.Time, p *path, before allocator.Seat) {
	works := p.WorksOn(r.node)
	gently := works || len(p.Routes) > 0 && !advertises(before.Routes, p.steady.node)
	until := now.Add(r.times.Drain)
	if _, ready := slices.BinarySearch(p.Full, r.node); works && p.Local && !ready && p.steady.node != "" {
		// Its pods are ending. It is needed until another node has had its time.
		until = p.steady.since.Add(r.times.Drain)
	}
	if !gently || !now.Before(until) {
		p.drains = nil
		return
	}
	for _, old := range p.told {
		if !covers(p.mine, old) {
			p.drain(old, until)
		}
	}
}

// drain asks routers to leave a route from now on.
func (p *path) drain(old allocator.Route, until time.Time) {
	i := slices.IndexFunc(p.drains, func(d drain) bool { return sameRoute(d.Route, old) })
	if i < 0 {
		p.drains = append(p.drains, drain{old, until, true})
		return
	}
	if p.drains[i].fresh { // by the placement before, from which nothing followed yet
		return
	}
	if before := p.drains[i].Peers; len(before) > 0 && len(old.Peers) > 0 {
		old.Peers = slices.Concat(before, without(old.Peers, nil, before))
	} else {
		old.Peers = nil
	}
	p.drains[i] = drain{old, until, true}
}

// look keeps an eye on one other node that may advertise the address, the one that
// is known for longest.
func (r *routes) look(now time.Time, p *path, before allocator.Seat, first bool) {
	if w := p.steady.node; w == "" || !advertises(p.Routes, w) {
		p.steady = witness{}
		for _, route := range p.Routes {
			for _, n := range route.Nodes {
				switch {
				case n == r.node:
				case first:
					p.steady = witness{n, time.Time{}}
				case advertises(before.Routes, n):
					p.steady = witness{n, p.placed}
				case p.steady.node == "":
					p.steady = witness{n, now}
				}
			}
		}
	}
	p.placed = now
}
