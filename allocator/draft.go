package allocator

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A draft is a decision in the making.
type draft struct {
	*Snapshot
	v      *service
	now    time.Time
	wake   time.Time
	target [2]netip.Addr // what v is to hold in the end, by family
	seat   [2]bool       // a seat is kept for it instead
	gone   map[netip.Addr]Code
	record Record
	state  []Reason
	steps  []Reason
}

// decide answers for one Service. Its answer is entered as planned.
func (s *Snapshot) decide(v *service, now time.Time) (Decision, time.Time) {
	d := &draft{Snapshot: s, v: v, now: now, gone: map[netip.Addr]Code{}}
	for _, a := range v.Holds {
		if s.overwritten(&v.Service, a) {
			d.gone[a] = Overwritten
		}
	}
	wanted := [2]bool{}
	for _, f := range v.Families {
		wanted[slot(f)] = true
	}
	var current [2]netip.Addr
	for i, f := range []Family{IPv4, IPv6} {
		if !wanted[i] && len(v.Families) > 0 {
			d.loseFamily(f)
			continue
		}
		current[i] = d.current(f)
		if !current[i].IsValid() && wanted[i] && !d.seat[i] {
			d.comeBack(i)
		}
		if !current[i].IsValid() && wanted[i] && !d.seat[i] && !d.target[i].IsValid() {
			d.restore(i)
		}
	}
	refused := d.wish(&current)
	for i, a := range current {
		for a.IsValid() && !d.stay(i, a) {
			a = d.current(FamilyOf(a)) // what it was leaving is better than nothing
		}
	}
	if !refused {
		d.fill()
	}
	return d.finish(), d.wake
}

// loseFamily: the Service has no cluster IP that could serve such an address.
func (d *draft) loseFamily(f Family) {
	for _, a := range d.v.Holds {
		if FamilyOf(a) == f {
			d.gone[a] = FamilyGone
		}
	}
}

// current picks, among the published addresses of a family, the one that v means
// to hold. Those to which v brought a clash of ports (rule d) do not count: they
// are left at once, and if none else is held, a seat is kept.
func (d *draft) current(f Family) (best netip.Addr) {
	var lost netip.Addr
	var why cause
	for _, a := range d.v.Holds {
		if FamilyOf(a) != f || d.gone[a] != "" {
			continue
		}
		if c := d.brought(d.v, a); c.code != "" {
			d.gone[a] = PortClash
			if !lost.IsValid() && d.wants(a) {
				lost, why = a, c
			}
		} else if !d.expelled(d.v, a) && (!best.IsValid() || d.worth(a) > d.worth(best)) {
			best = a
		}
	}
	if lost.IsValid() && !best.IsValid() {
		d.keep(Timer{lost, PortClash, d.began(&d.v.Service, d.now, d.now)}, why)
	}
	return best
}

// worth ranks held addresses: the one that the user names, then what the request
// allows, then what a pool gives, then what is not being left already.
func (d *draft) worth(a netip.Addr) (n int) {
	for _, good := range []bool{d.v.request.named(a), d.wants(a), d.lostPool(d.v, a).code == "", !timed(d.v.Record.Overlap, a)} {
		n *= 2
		if good {
			n++
		}
	}
	return n
}

// wants tells whether v's own request allows the address.
func (d *draft) wants(a netip.Addr) bool {
	r := &d.v.request
	if r.err != nil {
		return true // a request that cannot be read changes nothing
	}
	if n := r.addrs[slot(FamilyOf(a))]; n.IsValid() {
		return n == a
	}
	if r.pool == "" {
		return true
	}
	if p := d.poolOf(a); p != nil {
		return p.Name == r.pool
	}
	m := d.v.origin(a)
	return m != nil && m.Pool == r.pool
}

// wish follows v's own request where it asks for other addresses than the
// current ones (rule b). It tells whether the request had to be refused; then
// the addresses held are kept.
func (d *draft) wish(current *[2]netip.Addr) (refused bool) {
	v, n := d.v, need{all: true}
	if v.request.err != nil && v.holds() {
		d.say(Reason{Code: BadRequest, Detail: v.request.err.Error()})
		return true
	}
	for _, f := range v.Families {
		i := slot(f)
		if current[i].IsValid() && !d.wants(current[i]) {
			n.families = append(n.families, f)
			n.named[i] = v.request.addrs[i]
		}
	}
	if len(n.families) == 0 {
		return false
	}
	found, why := d.choose(v, n)
	if why.Code != "" {
		d.say(why)
		return true
	}
	for _, f := range n.families {
		i := slot(f)
		d.gone[current[i]] = OtherWanted
		current[i] = netip.Addr{}
		d.take(found[i], "")
	}
	return false
}

// stay keeps the current address of family i, unless rule c or e says to leave
// it and the settle time is over; then it finds another. If there is none and the
// address must go all the same, it is false.
func (d *draft) stay(i int, a netip.Addr) bool {
	c := d.lostPool(d.v, a)
	if c.code == "" {
		c = d.disagrees(d.v, a)
	}
	if c.code == "" {
		d.target[i] = a
		d.hold(a)
		return true
	}
	d.waitFor(d.v, waited{addr: a})
	t := Timer{a, c.code, d.now}
	for _, u := range d.v.Record.Settling {
		if u.Addr == a && u.Code == c.code {
			t = u
		}
	}
	t.Since = d.began(&d.v.Service, t.Since, d.now)
	marked := d.v.origin(a) != nil
	why := Reason{Code: c.code, Addr: a, Others: c.names, More: c.more, Pool: c.pool, TakenOver: c.code == PoolLost && c.pool == "" && !marked}
	if d.v.request.named(a) && (c.code == Disagreement || why.TakenOver) {
		why.Detail = "it asks for this very address"
	}
	until, over := d.deadline(t.Since, d.settings.Settle)
	if !over {
		d.wakeAt(until)
		if why.Detail == "" {
			why.Until = until
		}
		d.settle(i, t, why)
		return true
	}
	found, nowhere := d.elsewhere(i, a)
	switch {
	case nowhere.Code == "":
		d.gone[a] = c.code
		d.take(found, "")
	case c.code == PoolLost && marked && nowhere.Code != NamespaceUnknown:
		d.gone[a] = c.code // the pool is the operator's word
		return false
	default: // the others must live with it; and what no pool of ours gave is not ours to take
		why.Detail = cmp.Or(why.Detail, nowhere.String())
		d.settle(i, t, why)
	}
	return true
}

// elsewhere finds another address of family i than a, if it can from the pool
// that serves the other family. What v must leave is never to be had: no pool
// gives it to v, or others there do not admit v.
func (d *draft) elsewhere(i int, a netip.Addr) (netip.Addr, Reason) {
	n := need{families: []Family{FamilyOf(a)}, all: true, named: d.v.request.addrs}
	if other := d.target[1-i]; other.IsValid() {
		n.beside = d.poolOf(other)
		if found, why := d.choose(d.v, n); n.beside != nil && why.Code == "" {
			return found[i], why
		}
		n.beside = nil
	}
	found, why := d.choose(d.v, n)
	return found[i], why
}

func (d *draft) settle(i int, t Timer, why Reason) {
	d.target[i] = t.Addr
	d.record.Settling = append(d.record.Settling, t)
	d.say(why)
}

// fill finds addresses for the families that have none.
func (d *draft) fill() {
	v := d.v
	n := need{named: v.request.addrs, all: v.FamilyPolicy == RequireDualStack}
	for _, f := range v.Families {
		i := slot(f)
		switch {
		case d.target[i].IsValid():
			n.beside = d.poolOf(d.target[i])
		case !d.seat[i]:
			n.families = append(n.families, f)
		}
	}
	if len(v.Families) == 0 || n.all && len(v.Families) < 2 {
		if !d.holdsAny() {
			d.say(Reason{Code: NoClusterIP, Detail: "waits for an address: the Service has no cluster IP for every family that it requires (spec.clusterIPs)"})
		}
		return
	}
	if len(n.families) == 0 {
		return
	}
	found, why := d.choose(v, n)
	if why.Code != "" {
		if d.holdsAny() && v.FamilyPolicy == PreferDualStack && !n.named[slot(n.families[0])].IsValid() {
			why = Reason{Code: FamilyMissing, Detail: why.String()}
		} else if !d.holdsAny() && (why.Code == PoolFull || why.Code == NoPool) {
			why.Detail = "waits for an address: " + why.Detail
		}
		d.say(why)
		return
	}
	for _, f := range n.families {
		if a := found[slot(f)]; a.IsValid() {
			d.take(a, "")
		} else {
			d.say(Reason{Code: FamilyMissing, Detail: "no pool that gave the other one has an address of family " + f.String()})
		}
	}
}

func (d *draft) holdsAny() bool {
	return d.target[0].IsValid() || d.target[1].IsValid() || d.seat[0] || d.seat[1]
}

// take makes the address one that v holds, beginning with this decision.
func (d *draft) take(a netip.Addr, code Code) {
	d.target[slot(FamilyOf(a))] = a
	if slices.Contains(d.v.Holds, a) { // back to an address that it was leaving
		d.hold(a)
		return
	}
	with := d.beside(a)
	if code == "" {
		code = Given
		if len(with.names) > 0 {
			code = Joined
		}
	}
	d.plan(d.v, a)
	d.steps = append(d.steps, Reason{Code: code, Addr: a, Others: with.names, More: with.more, Pool: d.poolName(a)})
	d.hold(a)
}

// beside names those who hold the address, or will.
func (d *draft) beside(a netip.Addr) (o others) {
	g := d.groups[a]
	if g == nil {
		return o
	}
	var some []*service // of each list who is first; nobody is a comer where it resides
	for _, list := range [][]*service{g.residents, g.comers} {
		some = append(some, list[:min(len(list), mostNamed)]...)
		o.more += max(0, len(list)-mostNamed)
	}
	first := othersOf(some)
	return others{first.names, o.more + first.more}
}

// hold says that v holds the address, and what is wrong with it if something else uses
// it too.
func (d *draft) hold(a netip.Addr) {
	d.say(Reason{Code: Held, Addr: a, Pool: d.poolName(a)})
	if by := d.inUse(d.v, a); by != "" {
		d.say(Reason{Code: InUseElsewhere, Addr: a, Pool: d.poolName(a), Detail: fmt.Sprintf("holds %s, although %s; requests may go astray: take the address out of its pool", a, by)})
	}
}

func (d *draft) poolName(a netip.Addr) string {
	if p := d.poolOf(a); p != nil {
		return p.Name
	}
	if m := d.v.origin(a); m != nil {
		return m.Pool
	}
	return ""
}

func (d *draft) say(r Reason) { d.state = append(d.state, r) }

func (d *draft) wakeAt(t time.Time) {
	if !t.IsZero() && (d.wake.IsZero() || t.Before(d.wake)) {
		d.wake = t
	}
}

// deadline tells when a matter that began at since is over, and whether it is.
func (d *draft) deadline(since time.Time, wait time.Duration) (until time.Time, over bool) {
	if wait == Never {
		return time.Time{}, false
	}
	until = since.Add(wait)
	return until, !d.now.Before(until)
}
