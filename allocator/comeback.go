package allocator

// This file lets a Service come back to an address that it held before: where a seat is
// kept for it, or that its record names and its status lost.

// keep keeps a seat for v on the address until the settle time is over.
func (d *draft) keep(t Timer, c cause) {
	until, _ := d.deadline(t.Since, d.settings.Settle)
	d.waitFor(d.v, waited{addr: t.Addr})
	d.seat[slot(FamilyOf(t.Addr))] = true
	d.record.Kept = append(d.record.Kept, t)
	d.say(Reason{Code: SeatKept, Addr: t.Addr, Others: c.names, More: c.more, Ports: c.ports, Until: until})
}

// comeBack lets v return to the address of family i where a seat is kept for it,
// as soon as that address admits it and a pool gives it.
func (d *draft) comeBack(i int) {
	for _, t := range d.v.Record.Kept {
		if slot(FamilyOf(t.Addr)) != i || !d.wants(t.Addr) {
			continue
		}
		t.Since = d.began(&d.v.Service, t.Since, d.now)
		c := d.admits(d.v, t.Addr, true)
		if c.code == "" && d.barsReturn(t.Addr) == "" && d.lostPool(d.v, t.Addr).code == "" {
			d.take(t.Addr, Returned)
		} else if until, over := d.deadline(t.Since, d.settings.Settle); !over {
			d.wakeAt(until)
			d.keep(t, c)
		}
		return
	}
}

// restore gives v the address of family i that its record names and its status lost,
// if it is still to be had.
func (d *draft) restore(i int) {
	for _, m := range d.v.Record.Pools {
		a := m.Addr
		if slot(FamilyOf(a)) != i || !d.v.lost(m) {
			continue
		}
		if p := d.poolOf(a); p != nil && p.Name != m.Pool || d.lostPool(d.v, a).code != "" || !d.wants(a) || d.barsReturn(a) != "" {
			continue
		}
		c := d.admits(d.v, a, true)
		switch {
		case c.code == "":
			d.take(a, Restored)
			return
		case !c.own: // strangers must leave; until then its seat is kept
			d.keep(Timer{a, PortClash, d.began(&d.v.Service, d.now, d.now)}, c)
			return
		}
	}
}
