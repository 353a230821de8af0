package allocator_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

// Nobody is harmed by a stranger: of three tenants with a namespace each, one is
// hostile, and writes what he likes into his own Services and EndpointSlices. The
// world is forked where he begins. In one fork he does what he has planned, in one he
// does nothing, and in one he is not there any more; all else, time and leaders
// included, is the same. Then each comes to rest. Whatever another tenant's Service
// held before, it must hold in the first at every moment at which it holds it in the
// others, and be served on it from the same nodes.
//
// This is not claimed:
//   - a Service that waits for an address, or must move to another one, may find that
//     the stranger was there before; what it leaves then, it would have had to leave
//     without him, too;
//   - the third fork is an excuse, for by being on an address a stranger may have
//     outvoted nobody, and kept those outvoted by their own namespace from leaving;
//   - on an address where the stranger was first, he decides about the nodes, and the
//     ports that nobody was recorded to have are his;
//   - a Service without a record is as one that nobody has seen yet.

const hostile = "n2"

func ofStranger(n ServiceName) bool { return n.Namespace == hostile }

// A burst is what a stranger does, one thing after the other, and how the leader and
// time go on between.
type burst []act

// An act is of the stranger, or of the leader and time.
type act struct {
	step
	his bool
	// pause: nobody leads for so long, while he does what he does.
	pause time.Duration
}

// paused: nobody led for a time.
func (b burst) paused() bool { return slices.ContainsFunc(b, func(a act) bool { return a.pause > 0 }) }

// perform plays a burst: with the stranger's part, or without it.
func (b burst) perform(w *world, with bool) {
	for _, a := range b {
		switch {
		case a.pause > 0 && with:
			w.unled(a.pause, a.step)
		case a.pause > 0:
			w.unled(a.pause)
		case a.his && !with:
			continue
		default:
			w.note("%s", a.text)
			a.do(w)
		}
		w.plan()
	}
}

// A plot is a history in which a stranger takes part.
type plot struct {
	settings Settings
	scenes   []scene
	then     func(before *world, b burst) []step // what the others do after each burst; may be nil
	lost     bool                                // they may have lost it from their status

	afterwards func(emptied bool) func(*world, burst) []step // that makes one
}

// A scene is a step of anybody, or a burst of the stranger.
type scene struct {
	step
	burst burst
}

func (p plot) GoString() string { return fmt.Sprint(len(p.scenes), " scenes") }

// play plays a plot, and compares the forks after each burst.
func (p plot) play(plan planner, place placer) (*world, error) {
	w := newWorld(plan, p.settings)
	w.placer = place
	for _, s := range p.scenes {
		if s.burst == nil {
			w.note("%s", s.text)
			s.do(w)
			w.plan()
			continue
		}
		w.note("the stranger begins")
		before, idle, gone := w.fork(), w.fork(), w.fork()
		for by, u := range gone.inUse {
			if ofStranger(u.Service) {
				gone.change(DropInUse{by})
			}
		}
		for n := range before.services {
			if ofStranger(n) {
				gone.change(DropService{n})
			}
		}
		reels := []*reel{w.film(), idle.film(), gone.film()}
		s.burst.perform(w, true)
		s.burst.perform(idle, false)
		s.burst.perform(gone, false)
		next := w
		w = next.fork()
		next.reel, next.written = nil, nil
		w.reel, w.written = reels[0], func(Service) { reels[0].frames = append(reels[0].frames, frame{w.still(), false}) }
		for _, f := range []*world{w, idle, gone} {
			if p.then != nil {
				for _, s := range p.then(before, s.burst) {
					f.note("then %s", s.text)
					s.do(f)
				}
			}
			if err := f.rest(func() error { return nil }); err != nil {
				return f, err
			}
		}
		if err := (&comparison{before: before, with: reels[0], idle: reels[1], gone: reels[2]}).harm(p.then != nil, p.lost); err != nil {
			return w, err
		}
		w = next
	}
	return w, nil
}

// A comparison is of three ways in which a world went on.
type comparison struct {
	before           *world
	with, idle, gone *reel
}

// harm says what the stranger did to others: to what they held, and to the seats that
// were kept for them, and to what their status had lost.
func (c *comparison) harm(seats, lost bool) error {
	for n, v := range c.before.services {
		if ofStranger(n) || v.Foreign || v.Record.IsZero() {
			continue
		}
		for _, m := range v.Record.Pools {
			mine := holds(v, m.Addr) || seats && kept(v, m.Addr) || lost && c.before.judge().current(v)
			if !mine || c.raced(v, m.Addr) {
				continue
			}
			if err := c.loses(v, m.Addr); err != nil {
				return err
			}
			if err := c.darkens(v, m.Addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// raced: v has ports that nobody has recorded yet, on an address where the stranger
// was first: of those that are new to both, they are his.
func (c *comparison) raced(v Service, a netip.Addr) bool {
	j := c.before.judge()
	return slices.ContainsFunc(v.Ports, func(p Port) bool { return !slices.Contains(v.Record.Ports, p) }) &&
		slices.ContainsFunc(j.residents(a), func(r Service) bool { return ofStranger(r.Name) && j.came(a)(r, v) < 0 })
}

// loses judges whether v lost an address that it would have, at any moment. Who did not
// hold it when the stranger began comes back in the end: of two who claim one port the
// stranger must first have been written to leave.
func (c *comparison) loses(v Service, a netip.Addr) error {
	frames := c.with.frames
	if !holds(v, a) {
		frames = frames[max(0, len(frames)-1):]
		for _, f := range c.idle.frames { // its seat may be over before it comes: then it only waits
			if _, still := markOf(f.services[v.Name], a); !still {
				return nil
			}
		}
	}
	for _, f := range frames {
		now, ok := f.services[v.Name]
		if ok && now.UID == v.UID && holds(now, a) {
			continue
		}
		without := func(r *reel) bool {
			return slices.ContainsFunc(r.at(f.now), func(g frame) bool { return !holds(g.services[v.Name], a) })
		}
		if !without(c.idle) && !without(c.gone) && !c.owed(v, a, f) {
			return fmt.Errorf("%s: %s lost %s to a stranger", f.now.Sub(noon), v.Name, a)
		}
	}
	return nil
}

// owed: v had to leave the address without the stranger, too, or left it for one
// that it asks for.
func (c *comparison) owed(v Service, a netip.Addr, f frame) bool {
	if t, leaving := timer(v.Record.Overlap, a); leaving && !f.now.Before(t.Since.Add(f.settings.Overlap)) {
		return true
	}
	j := f.judge()
	if now := f.services[v.Name]; !j.wants(now, a) && slices.ContainsFunc(now.Holds, func(b netip.Addr) bool {
		return FamilyOf(b) == FamilyOf(a) && j.wants(now, b)
	}) {
		return true
	}
	for _, r := range []*reel{c.idle, c.gone} {
		for _, g := range r.until(f.now) {
			j := g.judge()
			u := g.services[v.Name]
			if j.brought(u, a) {
				return true
			}
			if !j.lost(u, a) && !j.outvoted(u, a) {
				break
			}
			since := g.now // of those before, that are of the same trouble
			if t, ok := timer(u.Record.Settling, a); ok {
				since = earlier(since, j.bounded(u, t.Since))
			}
			if since = later(since, f.settings.LedSince); f.settings.Settle != Never && !f.now.Before(since.Add(f.settings.Settle)) {
				return true
			}
		}
	}
	return false
}

// darkens judges whether v is served on an address as it would be, at any moment.
func (c *comparison) darkens(v Service, a netip.Addr) error {
	for _, f := range c.with.frames {
		if !f.planned || !holds(f.services[v.Name], a) {
			continue
		}
		var like []frame // with the same others
		for _, r := range []*reel{c.idle, c.gone} {
			for _, g := range r.planned(f.now) {
				if g.group(a) == f.group(a) {
					like = append(like, g)
				}
			}
		}
		p := part{true, true, true, true}
		same := func(g frame) bool { return g.view(v.Name, a, p) == f.view(v.Name, a, p) }
		if len(like) == 0 || slices.ContainsFunc(like, same) {
			continue
		}
		mine := f.mine(v.Name, a)
		if !slices.ContainsFunc(like, func(g frame) bool {
			p = mine.and(g.mine(v.Name, a)) // where he was first, he decided
			return same(g)
		}) {
			got, want := f.view(v.Name, a, mine), []string{}
			for _, g := range like {
				want = append(want, g.view(v.Name, a, mine))
			}
			return fmt.Errorf("%s: on %s %s is served\n%s\nand without a stranger\n%s", f.now.Sub(noon), a, v.Name, got, strings.Join(want, "\nor "))
		}
	}
	return nil
}

// planned are the frames of a moment with seats, and the last one before.
func (r *reel) planned(t time.Time) (out []frame) {
	for _, f := range r.until(t) {
		if f.planned {
			out = append(out, f)
			if f.now.Before(t) {
				break
			}
		}
	}
	return out
}

// group names the others that hold an address, by arrival: where these differ, so may
// the nodes.
func (f frame) group(a netip.Addr) string {
	var names []string
	for _, v := range f.timeless().residents(a) {
		if !ofStranger(v.Name) {
			names = append(names, v.Name.String())
		}
	}
	return strings.Join(names, " ")
}

// A part is what of a seat is nobody's business but that of the Service's namespace,
// and of those that came before it.
type part struct{ served, layer2, bgp, health bool }

func (p part) and(q part) part {
	return part{p.served && q.served, p.layer2 && q.layer2, p.bgp && q.bgp, p.health && q.health}
}

// mine tells what of the seat of an address a stranger has no part in.
func (f frame) mine(n ServiceName, a netip.Addr) (p part) {
	j := f.timeless()
	p = part{true, true, true, true}
	for _, protocol := range []struct {
		ads []Advertisement
		is  *bool
	}{{values(f.ads), &p.layer2}, {j.likened(a), &p.bgp}} {
		first, his, says := true, false, false // who came first of those that count
		own := false
		for _, r := range j.residents(a) {
			_, any := j.endpointsOf(r.Name)
			counts := any && len(j.adsFor(protocol.ads, r, a)) > 0
			switch {
			case !counts:
			case ofStranger(r.Name):
				his = true
				first = first && own
			case r.Name.Namespace == n.Namespace:
				own = true
			}
			says = says || r.Name == n && counts
		}
		*protocol.is = says && first
		p.served = p.served && (!says || first)
		p.health = p.health && (says && first || !his)
	}
	return p
}

// view is how a Service is served on an address.
func (f frame) view(n ServiceName, a netip.Addr, p part) string {
	seat := f.seats[a]
	var b strings.Builder
	for _, u := range seat.Unserved {
		if u.Service == n {
			if p.served {
				return "not at all"
			} // else by one protocol perhaps, of which the stranger has no part
		}
	}
	if p.layer2 {
		fmt.Fprintf(&b, "by %v", seat.Layer2)
	}
	if p.bgp {
		fmt.Fprintf(&b, ", routes %v", seat.Routes)
	}
	if p.health {
		fmt.Fprintf(&b, ", health %v %v, local %v %v", seat.HealthPorts, seat.Dwell, seat.Local, seat.LocalNodes)
	}
	return b.String()
}

// Neither does a stranger keep another tenant's Service from coming back to its seat,
// when it has taken back what brought the clash, nor from a port on an address where he
// has no business.
func TestNeverKeptOffASeatByAStranger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := plots().Draw(t, "plot")
		p.then = p.afterwards(false)
		if w, err := p.play(rightPlanner, rightPlacer); err != nil {
			fail(t, w, err)
		}
	})
}

// Nor does he from taking back its address, when its status was emptied.
func TestNeverKeptFromTakingBackByAStranger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := plots().Draw(t, "plot")
		p.then, p.lost = p.afterwards(true), true
		if w, err := p.play(rightPlanner, rightPlacer); err != nil {
			fail(t, w, err)
		}
	})
}

// A Service is outvoted, crowded out or made dark by its own namespace only.
func TestNeverHarmedByAStranger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := plots().Draw(t, "plot").play(rightPlanner, rightPlacer); err != nil {
			fail(t, w, err)
		}
	})
}
