package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// bounds are what a checker allows.
type bounds struct {
	dark   time.Duration // nobody answers though somebody could; after it was answered once
	first  time.Duration // the same, before
	double time.Duration // two answer
	serves bool          // the client is never sent to a node that does not serve
	cause  bool          // no change of owner without a cause
	ahead  bool          // who could answer counts although it may not know yet
}

// checker watches a cluster, and keeps the first thing that is wrong.
type checker struct {
	bounds
	addrs map[netip.Addr]*watched
	found string
}

type watched struct {
	answered bool // since the last time that nobody was able
	dark     time.Time
	double   time.Time
	target   target
	served   bool
	since    time.Time            // when target changed
	joint    bool                 // the last change of owner was of two heirs that came at once
	unfit    map[string]time.Time // when a node was last no fit owner
}

func watch(cl *cluster, b bounds) *checker {
	ch := &checker{bounds: b, addrs: map[netip.Addr]*watched{}}
	cl.check = ch.look
	return ch
}

func (ch *checker) fail(cl *cluster, format string, args ...any) {
	if ch.found == "" {
		ch.found = fmt.Sprintf(format, args...)
		cl.say("WRONG: %s", ch.found)
	}
}

func (ch *checker) look(cl *cluster) {
	for addr, s := range cl.truth {
		if len(s.Layer2) == 0 {
			delete(ch.addrs, addr)
			continue
		}
		w := ch.addrs[addr]
		if w == nil {
			w = &watched{unfit: map[string]time.Time{}}
			ch.addrs[addr] = w
		}
		ch.presence(cl, addr, w)
		ch.target(cl, addr, w)
	}
}

func (ch *checker) presence(cl *cluster, addr netip.Addr, w *watched) {
	answering, able := cl.answering(addr), cl.able(addr)
	if ch.ahead {
		able = cl.fit(addr)
	}
	if len(able) == 0 {
		w.answered = false
	}
	w.dark = since(w.dark, cl.now, len(answering) == 0 && len(able) > 0)
	limit := ch.first
	if w.answered {
		limit = ch.dark
	}
	if !w.dark.IsZero() && cl.now.Sub(w.dark) >= limit {
		ch.fail(cl, "nobody answers for %s since %s, though %v could", addr, cl.now.Sub(w.dark), able)
	}
	w.answered = w.answered || len(answering) > 0 && len(able) > 0
	w.double = since(w.double, cl.now, len(answering) > 1)
	if !w.double.IsZero() && cl.now.Sub(w.double) > ch.double {
		ch.fail(cl, "%v answer for %s since %s", answering, addr, cl.now.Sub(w.double))
	}
}

func since(t, now time.Time, is bool) time.Time {
	switch {
	case !is:
		return time.Time{}
	case t.IsZero():
		return now
	}
	return t
}

func (ch *checker) target(cl *cluster, addr netip.Addr, w *watched) {
	able := cl.able(addr)
	for _, name := range cl.names {
		if !slices.Contains(able, name) {
			w.unfit[name] = cl.now
		}
	}
	at := cl.client[addr]
	if at.node == "" {
		return
	}
	_, serves := cl.nodes[at.node].serves[addr]
	if ch.serves && w.served && !serves {
		ch.fail(cl, "%s is at %s, which does not serve it", addr, at.node)
	}
	w.served = serves && w.answered
	if at.node != w.target.node && w.target.node != "" && ch.cause && cl.took(at.node, addr) {
		old := w.target.node
		// Two heirs may take an address for the same cause before they hear of each
		// other. Then one gives way at once; that happens once, not again and again.
		joint := !w.joint && cl.now.Sub(w.since) < together
		w.joint = joint
		if !joint && slices.Contains(able, old) && cl.now.Sub(w.unfit[old]) > time.Second && weight(cl.truth[addr], old) >= weight(cl.truth[addr], at.node) {
			ch.fail(cl, "%s went from %s to %s without a cause", addr, old, at.node)
		}
	}
	if at.node != w.target.node {
		w.since = cl.now
	} else if cl.now.Sub(w.since) >= together {
		w.joint = false
	}
	w.target = at
}

// together is how long a message takes at most (carry).
const together = 60 * ms

// took tells whether a node has just begun to answer. (One that has answered
// for a while and is told late that it should stop may still have announcements
// to make.)
func (cl *cluster) took(name string, addr netip.Addr) bool {
	c := cl.nodes[name].core
	return c != nil && c.held[addr] != nil && cl.now.Sub(c.held[addr].held.since) < time.Second
}

func weight(s allocator.Seat, node string) int {
	for _, c := range s.Layer2 {
		if c.Node == node {
			return c.Weight
		}
	}
	return -1
}

// one tells whether every address has an owner, and only one.
func (ch *checker) one(cl *cluster) {
	for addr := range cl.truth {
		answering, able := cl.answering(addr), cl.able(addr)
		two := len(answering) > 1 && cl.now.Sub(ch.addrs[addr].double) > 1500*ms // a node may just be trying again
		if len(able) > 0 && (len(answering) == 0 || two) {
			ch.fail(cl, "%v answer for %s when all is quiet, %v could", answering, addr, able)
		}
	}
}
