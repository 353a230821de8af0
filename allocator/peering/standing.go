package peering

import (
	"fmt"
	"slices"
)

// This file keeps sessions apart from those that are there though their objects
// cannot be used as they stand (invariant 4).

// A standing is a session that a peer has on some nodes.
type standing struct {
	session *Session
	on      *set
}

// stands returns what the peer had, where it still selects the node, counted by the
// nodes as they are now; was tells which each of them was.
func (p *Plan) stands(q *peer, was []int) (out []standing) {
	if p == nil {
		return nil
	}
	for _, s := range p.standing[q.Name] {
		on := &set{rule: q.selected.rule, bits: make([]uint64, len(q.selected.bits))}
		for i, old := range was {
			if q.selected.has(i) && (len(p.cluster.all) == 0 || old >= 0 && s.on.has(old)) {
				on.add(i)
			}
		}
		if on.size() > 0 || len(was) == 0 {
			out = append(out, standing{s.session, on})
		}
	}
	return out
}

// were tells for each node of a cluster which of the nodes before it was; -1: it is
// new. As long as no node was known, a session counts as on all of them.
func (p *Plan) were(now *nodes) []int {
	out, old := make([]int, len(now.all)), 0
	for i := range now.all {
		out[i] = -1
		if p == nil {
			continue
		}
		for old < len(p.cluster.all) && p.cluster.all[old].Name < now.all[i].Name {
			old++
		}
		if old < len(p.cluster.all) && p.cluster.all[old].Name == now.all[i].Name {
			out[i] = old
		}
	}
	return out
}

// kept are the sessions of a peer that stay as they were: all when it is refused,
// else the one on the node that the router's address has come to be of.
func (p *peer) kept(nodes *nodes) (out []standing) {
	if p.refused != nil {
		return p.had
	}
	if i, owned := p.owner(nodes); owned {
		for _, s := range p.had {
			if s.on.has(i) {
				out = append(out, standing{s.session, s.on.only(i)})
			}
		}
	}
	return out
}

// has are all sessions of a peer.
func (p *peer) has(nodes *nodes) []standing {
	out := p.kept(nodes)
	if p.refused != nil {
		return out
	}
	on := p.selected
	if i, owned := p.owner(nodes); owned {
		on = on.without(i)
	}
	return append(slices.Clip(out), standing{&p.session, on})
}

// continues tells whether the peer wants a session with a router that it has one with.
func (p *peer) continues() bool {
	return slices.ContainsFunc(p.had, func(s standing) bool {
		return s.session.Address == p.session.Address && s.session.Interface == p.session.Interface && s.session.VRF == p.session.VRF
	})
}

// first tells which of two peers stays when they cannot both be used. Who has the
// session comes first, for it would go on having it.
func (p *peer) first(q *peer) int {
	if a, b := p.continues(), q.continues(); a != b {
		if a {
			return -1
		}
		return 1
	}
	return p.Object.before(&q.Object)
}

// agree refuses the peers that cannot be used beside one that comes first, or beside
// a session that another one keeps. Whoever is refused keeps what it has, which may
// be in the way of the next one: it ends when nobody more is refused.
func agree(peers []*peer, nodes *nodes) {
	for differs := true; differs; {
		differs = false
		var used []*peer
		for _, q := range peers {
			if q.refused != nil {
				continue
			}
			if q.refused = q.apart(peers, nodes); q.refused == nil {
				q.refused = q.beside(used, nodes)
			}
			if q.refused == nil {
				used = append(used, q)
			}
			differs = differs || q.refused != nil
		}
	}
}

// beside says why a node cannot have this peer's session beside that of one that is used.
func (p *peer) beside(used []*peer, nodes *nodes) error {
	for _, other := range used {
		what, advice := p.session.conflict(&other.session, "that of BGPPeer "+other.Name)
		if err := where(what, advice, p.selected, other.selected, nodes); err != nil {
			return err
		}
	}
	return nil
}

// apart says why a node cannot have this peer's session beside one that another peer keeps.
func (p *peer) apart(peers []*peer, nodes *nodes) error {
	for _, other := range peers {
		if other == p {
			continue
		}
		for _, s := range other.kept(nodes) {
			what, _ := p.session.conflict(s.session, fmt.Sprintf("that of the session which BGPPeer %s keeps from before, since it cannot be used as it stands", other.Name))
			if err := where(what, fmt.Sprintf("correct BGPPeer %s, or delete it", other.Name), p.selected, s.on, nodes); err != nil {
				return err
			}
		}
	}
	return nil
}

// where completes what is wrong with two sessions, if a node would have both.
func where(what, advice string, a, b *set, nodes *nodes) error {
	if what == "" {
		return nil
	}
	node, is := nodes.common(a, b)
	switch {
	case !is:
		return nil
	case node != "":
		return fmt.Errorf("%s; %s (node %s has both)", what, advice, node)
	}
	return fmt.Errorf("%s; %s", what, advice)
}
