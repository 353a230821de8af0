package allocator

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// This file knows what is to be decided anew, and when: Plan's work follows from what
// has changed, and not from how many Services wait for something else.

// An agenda is what Plan has to do.
type agenda struct {
	touched  map[*service]bool      // to be decided anew
	deciding bool                   // Plan is under way
	real     bool                   // something has changed beside decisions that were published
	flight   map[*service]time.Time // decided then, and not yet published: decided anew when anything real changes, and after restamp
	open     map[*service]bool      // not at rest: they wait, or something about them is in flight
	due      map[*service]time.Time // when time alone changes a decision

	waits  map[waited]map[*service]bool
	queues map[string]*queue
	freed  map[string][2]bool // pools of which addresses have become free, by family
}

// restamp is how old a decision may be that is not published yet: the times in it must
// not lie before it is.
const restamp = time.Second

// What a Service may wait for, beside a free address: that something changes on an
// address, or on one of those that are held under its key, or that another Service of
// its namespace leaves an address of a pool.
type waited struct {
	addr            netip.Addr
	share           string
	pool, namespace string
}

// A queue is the Services that wait for a free address of the same pools, those that
// are decided first first.
type queue struct {
	key      string
	pools    []string
	families [2]bool
	all      bool // of both families at once
	services []*service
}

func newAgenda(n int) agenda {
	return agenda{
		touched: make(map[*service]bool, n), flight: map[*service]time.Time{}, open: map[*service]bool{}, due: map[*service]time.Time{},
		waits: map[waited]map[*service]bool{}, queues: map[string]*queue{}, freed: map[string][2]bool{},
	}
}

// touch has v decided anew.
func (s *Snapshot) touch(v *service) { s.agenda.touched[v], s.agenda.real = true, true }

// forget takes v out, which is there no more.
func (g *agenda) forget(v *service) {
	delete(g.touched, v)
	delete(g.flight, v)
	delete(g.open, v)
	delete(g.due, v)
}

// note takes a decision into account, and what it leaves to be done.
func (g *agenda) note(v *service, d Decision, now, wake time.Time) {
	if wake.IsZero() {
		delete(g.due, v)
	} else {
		g.due[v] = wake
	}
	v.flight = nil
	delete(g.flight, v)
	if !slices.Equal(d.Holds, v.Holds) || !d.Record.Published(v.Record) {
		v.flight, g.flight[v] = &d, now
	}
	delete(g.open, v)
	if v.flight != nil || !d.atRest() {
		g.open[v] = true
	}
}

// atRest tells whether there is nothing to wait for.
func (d *Decision) atRest() bool {
	for _, r := range d.Reasons {
		if r.Code != Held && r.Code != InUseElsewhere {
			return false
		}
	}
	return len(d.Reasons) > 0
}

// wake returns when time alone will next change a decision.
func (g *agenda) wake() (next time.Time) {
	for _, t := range g.due {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	return next
}

// waitFor notes that v is to be decided anew when that changes.
func (s *Snapshot) waitFor(v *service, w waited) {
	set := s.agenda.waits[w]
	if set == nil {
		set = map[*service]bool{}
		s.agenda.waits[w] = set
	}
	if !set[v] {
		set[v] = true
		v.waits = append(v.waits, w)
	}
}

// queueFor notes that v is to be decided anew when one of the pools has a free address.
func (s *Snapshot) queueFor(v *service, pools []*pool, families []Family, all bool) {
	q := &queue{all: all && len(families) > 1}
	for _, f := range families {
		q.families[slot(f)] = true
	}
	var key strings.Builder
	for _, p := range pools {
		q.pools = append(q.pools, p.Name)
		key.WriteString(p.Name + "\x00")
	}
	for _, x := range []bool{q.families[0], q.families[1], q.all} {
		key.WriteByte(map[bool]byte{true: 'y', false: 'n'}[x])
	}
	q.key = key.String()
	if have := s.agenda.queues[q.key]; have != nil {
		q = have
	} else {
		s.agenda.queues[q.key] = q
	}
	if !slices.Contains(v.queues, q) {
		i, _ := slices.BinarySearchFunc(q.services, v, holdersFirst)
		q.services, v.queues = slices.Insert(q.services, i, v), append(v.queues, q)
	}
}

// forgetWaits: v is decided anew, or its facts are about to change.
func (s *Snapshot) forgetWaits(v *service) {
	for _, w := range v.waits {
		delete(s.agenda.waits[w], v)
		if len(s.agenda.waits[w]) == 0 {
			delete(s.agenda.waits, w)
		}
	}
	v.waits = nil
	for _, q := range v.queues {
		if i, found := slices.BinarySearchFunc(q.services, v, holdersFirst); found {
			q.services = slices.Delete(q.services, i, i+1)
		}
		if len(q.services) == 0 {
			delete(s.agenda.queues, q.key)
		}
	}
	v.queues = nil
}

// freed notes that an address of a pool has become free.
func (s *Snapshot) freed(p *pool, a netip.Addr) {
	p.freed(a)
	f := s.agenda.freed[p.Name]
	f[slot(FamilyOf(a))] = true
	s.agenda.freed[p.Name], s.agenda.real = f, true
}

// stir has those decided anew who wait for something on the address.
func (s *Snapshot) stir(a netip.Addr) {
	for v := range s.agenda.waits[waited{addr: a}] {
		s.touch(v)
	}
	g := s.groups[a]
	if g == nil {
		return
	}
	asked := "" // seldom more than one key on an address
	g.all(func(r *service) bool {
		if share := r.request.share; share != "" && share != asked {
			asked = share
			for v := range s.agenda.waits[waited{share: share}] {
				if !g.claimed(v) {
					s.touch(v)
				}
			}
		}
		return true
	})
}

// watch notes how things stand on the addresses where v sits, before its facts
// change. The function that it returns touches those for whom they have changed.
func (s *Snapshot) watch(v *service, before []netip.Addr, next *Service) (changed func(after []netip.Addr)) {
	said := map[netip.Addr]agreement{}
	for _, a := range before {
		said[a] = s.agreement(a)
	}
	samePorts := slices.Equal(v.Ports, next.Ports) && slices.Equal(v.Record.Ports, next.Record.Ports)
	s.touchRivals(v, before, samePorts)
	return func(after []netip.Addr) {
		s.touchRivals(v, after, samePorts && slices.Equal(before, after))
		for _, a := range slices.Concat(before, after) {
			g := s.groups[a]
			if g == nil {
				s.stir(a)
				continue
			}
			for _, r := range g.comers {
				s.touch(r)
			}
			if s.agreement(a) != said[a] || !slices.Contains(before, a) || !slices.Contains(after, a) {
				for _, r := range g.residents {
					if r != v && (s.agreement(a) != said[a] || s.agenda.open[r]) {
						s.touch(r)
					}
				}
			}
			s.stir(a)
		}
	}
}

// touchRivals touches those who claim a port of v's on one of the addresses.
func (s *Snapshot) touchRivals(v *service, at []netip.Addr, samePorts bool) {
	if samePorts {
		return
	}
	for _, a := range at {
		if g := s.groups[a]; g != nil && len(g.residents)+len(g.comers)+len(g.kept) > 1 {
			for _, p := range v.Ports {
				g.claiming(v, p, s.touch)
			}
		}
	}
}

// A line is what one Plan decides, in order: what is touched, and those who wait for a
// free address of a pool that has one, as long as it has.
type line struct {
	*Snapshot
	work   []*service
	queues []*queue // copies
	done   map[*service]bool
}

// line takes what is on the agenda.
func (s *Snapshot) line(now time.Time) *line {
	g := &s.agenda
	for v, t := range g.due {
		if !now.Before(t) {
			s.touch(v)
		}
	}
	for v, at := range g.flight {
		if g.real || now.Sub(at).Abs() >= restamp {
			g.touched[v] = true
		}
	}
	l := &line{Snapshot: s, work: make([]*service, 0, len(g.touched)), done: map[*service]bool{}}
	for len(g.touched) > 0 { // what is taken back may be what another one waits for
		for v := range g.touched {
			delete(g.touched, v)
			if !l.done[v] {
				l.done[v] = true
				l.work = append(l.work, v)
				s.unplan(v)
			}
		}
	}
	clear(l.done)
	slices.SortFunc(l.work, holdersFirst)
	for _, q := range g.queues {
		if slices.ContainsFunc(q.pools, func(p string) bool {
			f := g.freed[p]
			return f[0] && q.families[0] || f[1] && q.families[1]
		}) {
			copied := *q
			copied.services = slices.Clone(q.services)
			l.queues = append(l.queues, &copied)
		}
	}
	clear(g.freed)
	g.real, g.deciding = false, true
	return l
}

// follow has those decided, in their turn, who come after v and for whom it matters
// that v will hold an address.
func (l *line) follow(v *service, a netip.Addr) {
	more := func(waits waited) {
		for r := range l.agenda.waits[waits] {
			if l.done[r] || holdersFirst(r, v) < 0 || waits.share != "" && l.groups[a].claimed(r) {
				continue
			}
			if i, found := slices.BinarySearchFunc(l.work, r, holdersFirst); !found {
				l.work = slices.Insert(l.work, i, r)
				l.unplan(r)
			}
		}
	}
	more(waited{addr: a})
	if v.request.share != "" {
		more(waited{share: v.request.share})
	}
	if p := l.poolOf(a); p != nil && p.MaxPerNamespace > 0 {
		more(waited{pool: p.Name, namespace: v.Name.Namespace})
	}
}

// next returns who is to be decided next; nil: all is done.
func (l *line) next() *service {
	for {
		var from *[]*service
		if len(l.work) > 0 {
			from = &l.work
		}
		l.queues = slices.DeleteFunc(l.queues, func(q *queue) bool { return len(q.services) == 0 || !l.room(q) })
		for _, q := range l.queues {
			if from == nil || holdersFirst(q.services[0], (*from)[0]) < 0 {
				from = &q.services
			}
		}
		if from == nil {
			l.agenda.deciding = false
			return nil
		}
		v := (*from)[0]
		*from = (*from)[1:]
		if !l.done[v] {
			l.done[v] = true
			return v
		}
	}
}

// room tells whether one of a queue's pools has what its Services wait for.
func (l *line) room(q *queue) bool {
	for _, name := range q.pools {
		p := l.poolNamed(name)
		if p == nil {
			continue
		}
		have := 0
		for i, f := range []Family{IPv4, IPv6} {
			if q.families[i] {
				if _, ok := p.lowestFree(f, l.taken); ok {
					have++
				}
			}
		}
		if have == 2 || have == 1 && !q.all {
			return true
		}
	}
	return false
}
