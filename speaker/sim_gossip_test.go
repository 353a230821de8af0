package speaker

import "time"

func (cl *cluster) connected(a, b string) bool {
	m, n := cl.nodes[a], cl.nodes[b]
	return m.core != nil && n.core != nil && cl.wired(a, b) && cl.gossipParts[a] == cl.gossipParts[b]
}

func (cl *cluster) wired(a, b string) bool {
	m, n := cl.nodes[a], cl.nodes[b]
	return m.power && n.power && m.cable && n.cable && cl.parts[a] == cl.parts[b]
}

// relink lets the failure detectors see what changed.
func (cl *cluster) relink() {
	for _, a := range cl.names {
		for _, b := range cl.names {
			if a == b || cl.nodes[a].core == nil {
				continue
			}
			key := [2]string{a, b}
			l := cl.links[key]
			up := cl.connected(a, b)
			if up == l.up && (!up || l.life == cl.nodes[b].life) {
				continue
			}
			l.gen++
			cl.links[key] = l
			gen := l.gen
			if up {
				cl.after(cl.between(5*ms, 150*ms), func() { cl.link(a, b, gen) })
				continue
			}
			wait := cl.between(600*ms, time.Second) // gossip
			if !cl.wired(a, b) {
				wait = cl.between(150*ms, 260*ms) // echoes
			}
			cl.after(wait, func() { cl.unlink(a, b, gen, false) })
		}
	}
}

func (cl *cluster) link(a, b string, gen int) {
	key := [2]string{a, b}
	if l := cl.links[key]; l.gen != gen || !cl.connected(a, b) {
		return
	}
	cl.links[key] = link{up: true, life: cl.nodes[b].life, gen: gen}
	m := cl.nodes[a]
	m.core.stations(b, []string{b})
	m.core.joined(b)
	cl.full(b, a)
	cl.step(m)
}

func (cl *cluster) unlink(a, b string, gen int, saidSo bool) {
	key := [2]string{a, b}
	l := cl.links[key]
	if l.gen != gen || cl.nodes[a].core == nil {
		return
	}
	l.up = false
	cl.links[key] = l
	cl.give(a, b, saidSo)
}

// give lets a node give another one up: that one said so, or does not answer.
func (cl *cluster) give(a, b string, saidSo bool) {
	if saidSo || cl.wrong.unconfirmed {
		cl.nodes[a].core.left(b)
	} else {
		v := mute
		if !cl.wired(a, b) {
			v = dead
		}
		cl.nodes[a].core.lost(cl.now, b, v)
	}
	cl.step(cl.nodes[a])
}

// alarm lets a node believe for a while that another one does not answer it.
func (cl *cluster) alarm(a, b string) {
	l := cl.links[[2]string{a, b}]
	if cl.nodes[a].core == nil || !l.up {
		return
	}
	cl.say("%s: false alarm about %s", a, b)
	cl.give(a, b, false)
	cl.after(cl.between(100*ms, 3*time.Second), func() { cl.link(a, b, l.gen) })
}

// full brings the whole account of one node to another, reliably.
func (cl *cluster) full(from, to string) {
	if cl.connected(from, to) {
		f := cl.nodes[from].core
		cl.carry(from, to, appendMessage(nil, f.ledger.full(), cl.now), 0)
	}
}

func (cl *cluster) carry(from, to string, b []byte, loss float64) {
	if !cl.connected(from, to) || cl.rand.Float64() < loss {
		return
	}
	d := cl.between(ms/10, 3*ms)
	if cl.rand.Float64() < 0.05 {
		d = cl.between(3*ms, 60*ms)
	}
	n, life := cl.nodes[to], cl.nodes[to].life
	cl.after(d, func() {
		if n.core == nil || n.life != life {
			return
		}
		m, err := parseMessage(b, cl.now)
		if err != nil {
			panic(err)
		}
		n.core.receive(cl.now, m)
		cl.step(n)
	})
}

// digests are what acknowledgements of probes carry.
func (cl *cluster) digests(n *machine) {
	life := n.life
	cl.after(cl.between(150*ms, 250*ms), func() {
		if n.core == nil || n.life != life {
			return
		}
		for _, other := range cl.names {
			if other != n.name && n.core.members[other] {
				cl.carry(n.name, other, appendMessage(nil, n.core.ledger.header(kindDigest), cl.now), cl.loss)
			}
		}
		cl.digests(n)
	})
}
