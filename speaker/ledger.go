package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// ledger holds this node's claims and its copies of everybody else's. Every
// node is the only writer of its account, and numbers its changes: whoever
// missed one notices at the next message, or at the next digest, and asks for
// the whole account. So messages may be lost, doubled and reordered.
type ledger struct {
	own     account
	changed map[netip.Addr]bool // own claims that nobody has been told of yet; true: withdrawn because they can not be kept
	stood   bool                // the standing of this node changed, likewise
	peers   map[string]*account
	byAddr  map[netip.Addr][]claim   // of the peers
	top     map[netip.Addr]uint64    // highest epoch ever seen
	parted  map[netip.Addr]time.Time // when a peer last withdrew a claim
	ended   uint64                   // claims that are no more, of this node and of the peers
}

// An account holds the claims of one node.
type account struct {
	node string
	life uint64
	seq  uint64
	standing
	whole  bool // a full account has been received in this life
	gap    bool // something has been missed since
	asked  time.Time
	claims map[netip.Addr]claim
	unfit  map[netip.Addr]bool // addresses for which the node says that it has no interface
}

func newLedger(node string, life uint64) *ledger {
	return &ledger{
		own:     account{node: node, life: life, claims: map[netip.Addr]claim{}, unfit: map[netip.Addr]bool{}},
		changed: map[netip.Addr]bool{}, peers: map[string]*account{},
		byAddr: map[netip.Addr][]claim{}, top: map[netip.Addr]uint64{}, parted: map[netip.Addr]time.Time{},
	}
}

// put makes or changes a claim of this node.
func (l *ledger) put(addr netip.Addr, c claim) {
	c.node = l.own.node
	delete(l.own.unfit, addr)
	l.own.claims[addr] = c
	l.top[addr] = max(l.top[addr], c.epoch)
	l.changed[addr] = false
}

// withdraw takes back a claim of this node, if there is one. dark says that
// nobody answers now.
func (l *ledger) withdraw(addr netip.Addr, dark bool) {
	if _, ok := l.own.claims[addr]; ok {
		l.ended++
		delete(l.own.claims, addr)
		l.changed[addr] = dark
	}
}

// refuse says whether this node could answer for an address if it were to. What
// is not said is yes.
func (l *ledger) refuse(addr netip.Addr, unfit bool) {
	if l.own.unfit[addr] == unfit {
		return
	}
	if l.changed[addr] = true; unfit {
		l.own.unfit[addr] = true
		return
	}
	delete(l.own.unfit, addr)
}

// stand changes what this node says of itself.
func (l *ledger) stand(now standing) {
	if l.own.standing != now {
		l.own.standing, l.stood = now, true
	}
}

// forget drops what is remembered of an address that is gone for good.
func (l *ledger) forget(addr netip.Addr) {
	if len(l.byAddr[addr]) == 0 {
		delete(l.top, addr)
		delete(l.parted, addr)
	}
}

// flush returns the messages that tell the peers what changed, each small
// enough for a datagram.
func (l *ledger) flush() []message {
	if len(l.changed) == 0 && !l.stood {
		return nil
	}
	var all []message
	m, size := l.header(kindDelta), 0
	for _, addr := range slices.SortedFunc(maps.Keys(l.changed), netip.Addr.Compare) {
		c, held := l.own.claims[addr]
		if size > datagram-30 { // an entry has at most 1+16+10+10 octets, seldom above 25
			all = append(all, l.number(m))
			m, size = l.header(kindDelta), 0
		}
		m.entries = append(m.entries, entry{addr: addr, claim: c, gone: !held, dark: l.changed[addr], unfit: l.own.unfit[addr]})
		size += 10 + addr.BitLen()/8
	}
	clear(l.changed)
	l.stood = false
	return append(all, l.number(m))
}

func (l *ledger) number(m message) message {
	m.from = l.own.seq
	l.own.seq++
	m.to = l.own.seq
	return m
}

func (l *ledger) header(k kind) message {
	o := &l.own
	return message{kind: k, node: o.node, life: o.life, from: o.seq, to: o.seq, standing: o.standing}
}

// full returns the whole account of this node. Everything must be flushed.
func (l *ledger) full() message {
	m := l.header(kindFull)
	for addr, c := range l.own.claims {
		m.entries = append(m.entries, entry{addr: addr, claim: c})
	}
	for addr := range l.own.unfit {
		if _, claimed := l.own.claims[addr]; !claimed {
			m.entries = append(m.entries, entry{addr: addr, gone: true, unfit: true})
		}
	}
	return m
}

// A receipt says what a message has brought.
type receipt struct {
	addrs []netip.Addr // whose claims changed
	stood bool         // the sender's standing changed: who is alive has to be judged anew
	ask   bool         // the sender must be asked for its whole account
}

// askEvery is the least time between two questions to one node.
const askEvery = 100 * time.Millisecond

// receive takes in a message of a peer.
func (l *ledger) receive(now time.Time, m message) receipt {
	var got receipt
	a := l.peers[m.node]
	if a == nil || a.life != m.life {
		if a != nil && m.kind != kindFull && m.life < a.life {
			return receipt{} // from before it was restarted
		}
		got.addrs = l.void(m.node)
		got.stood = a != nil
		a = &account{node: m.node, life: m.life, claims: map[netip.Addr]claim{}, unfit: map[netip.Addr]bool{}}
		l.peers[m.node] = a
	}
	switch m.kind {
	case kindFull:
		if a.whole && m.to < a.seq {
			return got // overtaken
		}
		got.addrs = append(got.addrs, l.replace(now, a, m)...)
		got.stood = a.settle(m) || got.stood
		a.whole, a.gap = true, false
	case kindDelta:
		if m.to <= a.seq {
			return got
		}
		a.gap = a.gap || m.from != a.seq
		for _, e := range m.entries {
			l.enter(now, a, e)
			got.addrs = append(got.addrs, e.addr)
		}
		got.stood = a.settle(m) || got.stood
	case kindDigest:
		a.gap = a.gap || m.to > a.seq
	}
	if (a.gap || !a.whole) && now.Sub(a.asked) >= askEvery {
		a.asked, got.ask = now, true
	}
	return got
}

// settle takes over the standing and the number of a message, and tells
// whether the standing changed.
func (a *account) settle(m message) bool {
	changed := a.standing != m.standing || !a.whole
	a.standing, a.seq = m.standing, m.to
	return changed
}

// replace makes a full message the account of its sender.
func (l *ledger) replace(now time.Time, a *account, m message) (changed []netip.Addr) {
	kept := make(map[netip.Addr]bool, len(m.entries))
	for _, e := range m.entries {
		kept[e.addr] = true
		l.enter(now, a, e)
		changed = append(changed, e.addr)
	}
	for addr := range a.claims {
		if !kept[addr] {
			l.enter(now, a, entry{addr: addr, gone: true})
			changed = append(changed, addr)
		}
	}
	for addr := range a.unfit {
		if !kept[addr] {
			delete(a.unfit, addr)
			changed = append(changed, addr)
		}
	}
	return changed
}

// enter writes one change into the account of a peer.
func (l *ledger) enter(now time.Time, a *account, e entry) {
	e.claim.node = a.node
	if delete(a.unfit, e.addr); e.unfit {
		a.unfit[e.addr] = true
	}
	old, had := a.claims[e.addr]
	if had {
		l.remove(e.addr, a.node)
	}
	if e.gone {
		if had {
			l.ended++
		}
		if delete(a.claims, e.addr); had && !e.dark && !e.unfit {
			l.parted[e.addr] = now
		}
		return
	}
	if had && old.epoch == e.claim.epoch && old.yielding == e.claim.yielding && old.deferring == e.claim.deferring {
		e.claim.basis = old.basis // the first copy was the least delayed
	}
	if e.claim.heard = now; had {
		e.claim.heard = old.heard
	}
	a.claims[e.addr] = e.claim
	l.byAddr[e.addr] = append(l.byAddr[e.addr], e.claim)
	l.top[e.addr] = max(l.top[e.addr], e.claim.epoch)
}

func (l *ledger) remove(addr netip.Addr, node string) {
	rest := slices.DeleteFunc(l.byAddr[addr], func(c claim) bool { return c.node == node })
	if len(rest) == 0 {
		delete(l.byAddr, addr)
		return
	}
	l.byAddr[addr] = rest
}

// void drops the account of a node that is gone, and returns the addresses
// that it claimed.
func (l *ledger) void(node string) []netip.Addr {
	a := l.peers[node]
	if a == nil {
		return nil
	}
	addrs := make([]netip.Addr, 0, len(a.claims))
	for addr := range a.claims {
		l.remove(addr, node)
		l.ended++
		addrs = append(addrs, addr)
	}
	for addr := range a.unfit {
		addrs = append(addrs, addr)
	}
	delete(l.peers, node)
	return addrs
}
