package peering

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// routers are BGPPeers as an operator edits them, and the plan that is in effect.
type routers struct {
	facts Facts
}

// put makes or edits BGPPeers, and tells what is in use.
func (r *routers) put(peers ...Peer) *Plan {
	old := r.facts.Peers
	r.facts.Peers = nil
	for _, was := range old {
		if !hasName(peers, was.Name) {
			was.Accepted = r.facts.Before != nil && r.facts.Before.Peers[was.Name].Refused == nil
			r.facts.Peers = append(r.facts.Peers, was)
		}
	}
	r.facts.Peers = append(r.facts.Peers, peers...)
	r.facts.Before = Resolve(r.facts)
	return r.facts.Before
}

func (r *routers) drop(name string) *Plan {
	r.facts.Peers = without(r.facts.Peers, name)
	r.facts.Before = Resolve(r.facts)
	return r.facts.Before
}

func hasName(peers []Peer, name string) bool { return len(without(peers, name)) < len(peers) }

func without(peers []Peer, name string) (out []Peer) {
	for _, p := range peers {
		if p.Name != name {
			out = append(out, p)
		}
	}
	return out
}

func tor(name, address string, age int64, change ...func(*Peer)) Peer {
	return router(func(p *Peer) {
		p.Name, p.Address, p.Created = name, address, time.Unix(age, 0)
		for _, c := range change {
			c(p)
		}
	})
}

func broken(p *Peer) { p.HoldTime = "1s" }

// states tells of each session of n1 whether it is used, by name.
func states(p *Plan) string {
	var out []string
	for _, s := range p.Sessions("n1") {
		state := s.Address.String()
		if s.Frozen {
			state = "frozen"
		}
		out = append(out, s.Name+" "+state)
	}
	return strings.Join(out, ", ")
}

func expect(t *testing.T, what string, p *Plan, want string) {
	t.Helper()
	if got := states(p); got != want {
		t.Errorf("%s: %s; and should be %s", what, got, want)
		for n, v := range p.Peers {
			t.Logf("%s: %v", n, v.Refused)
		}
	}
}

// Who cannot correct a BGPPeer makes another one with the same address: the session
// in use stays the only one, and the new one's status says how to go on.
func TestNeverASecondSessionBesideOneThatIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Peer)
		want string
	}{
		"same address":    {func(*Peer) {}, "spec.peerAddress 10.0.0.1 is that of the session which BGPPeer tor1 keeps from before"},
		"another port":    {func(p *Peer) { p.Port = 1179 }, "spec.peerAddress 10.0.0.1 is that of the session which BGPPeer tor1 keeps"},
		"another AS":      {func(p *Peer) { p.Address, p.MyAS = "10.0.0.2", 64600 }, "spec.myASN is 64600, and that of the session which BGPPeer tor1 keeps from before, since it cannot be used as it stands is 64512"},
		"another address": {func(p *Peer) { p.Address = "10.0.0.2" }, ""},
		"another VRF":     {func(p *Peer) { p.VRF = "red" }, ""},
		"another node": {func(p *Peer) {
			p.NodeSelectors = []allocator.Selector{{{Key: "zone", Operator: allocator.In, Values: []string{"b"}}}}
		}, ""},
		"not new to the API": {func(p *Peer) { p.Accepted = true }, "spec.peerAddress 10.0.0.1 is that of the session which BGPPeer tor1 keeps"},
	} {
		r := routers{facts: Facts{Nodes: cluster()}}
		r.put(tor("tor1", "10.0.0.1", 2, func(p *Peer) { p.NodeSelectors = zoneA }))
		// It is edited badly, and once more: to another address.
		r.put(tor("tor1", "10.0.0.1", 2, func(p *Peer) { p.NodeSelectors = zoneA }, broken))
		r.put(tor("tor1", "10.0.0.9", 2, broken))
		plan := r.put(tor("tor1-new", "10.0.0.1", 1, c.edit))
		got := errorText(plan.Peers["tor1-new"].Refused)
		if (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) || got != "" && !strings.Contains(got, "; correct BGPPeer tor1, or delete it (node n1 has both); ") {
			t.Errorf("%s: %s", name, got)
		}
		if c.want != "" {
			expect(t, name, plan, "tor1 frozen, tor1-new frozen")
			expect(t, name+", and what was in its way is gone", r.drop("tor1"), "tor1-new "+r.facts.Peers[0].Address)
		}
	}
	r := routers{facts: Facts{Nodes: cluster()}}
	eth := func(p *Peer) { p.Address, p.Interface = "", "eth1" }
	r.put(tor("tor1", "", 2, eth))
	r.put(tor("tor1", "", 2, eth, broken))
	plan := r.put(tor("tor1-new", "", 1, eth))
	if got := errorText(plan.Peers["tor1-new"].Refused); !strings.HasPrefix(got, "spec.interface eth1 is that of the session which BGPPeer tor1 keeps") {
		t.Errorf("interface: %s", got)
	}
}

// A session that is kept is in nobody's way where there is none.
func TestKeptSessionIsWhereItWas(t *testing.T) {
	r := routers{facts: Facts{Nodes: cluster()}}
	inB := func(p *Peer) {
		p.NodeSelectors = []allocator.Selector{{{Key: "zone", Operator: allocator.In, Values: []string{"b"}}}}
	}
	r.put(tor("tor1", "10.0.0.1", 1, inB))
	r.put(tor("tor1", "10.0.0.1", 1, broken)) // it selects n1 now, and has no session there
	expect(t, "on another node", r.put(tor("tor1-new", "10.0.0.1", 2, func(p *Peer) { p.NodeSelectors = zoneA })), "tor1 frozen, tor1-new 10.0.0.1")
	r = routers{facts: Facts{Nodes: cluster()}}
	r.put(tor("tor1", "10.0.0.1", 1, broken)) // never was in use
	expect(t, "never there", r.put(tor("tor1-new", "10.0.0.1", 2)), "tor1 frozen, tor1-new 10.0.0.1")
	r.facts.Before = nil
	expect(t, "after a restart", r.put(), "tor1 frozen, tor1-new 10.0.0.1")

	// The address has become n1's own: the session of n1 stays with the old one.
	r = routers{facts: Facts{Nodes: cluster()}}
	r.put(tor("tor1", "10.0.0.1", 1))
	plan := r.put(tor("tor1", "10.0.0.11", 1))
	if got := plan.Sessions("n2"); len(got) != 1 || got[0].Frozen {
		t.Fatalf("on n2: %+v", got)
	}
	expect(t, "own address", r.put(tor("tor1-new", "10.0.0.1", 2)), "tor1 frozen, tor1-new frozen")
	expect(t, "and on the other node", r.put(tor("tor1-new", "10.0.0.1", 2, inB)), "tor1 frozen")
	if got := r.facts.Before.Peers["tor1-new"].Refused; got != nil {
		t.Errorf("on n2 it is in nobody's way: %v", got)
	}
}

// Edits that are fine are in nobody's way for long.
func TestKeptSessionsDoNotLockEachOther(t *testing.T) {
	r := routers{facts: Facts{Nodes: cluster()}}
	r.put(tor("a", "10.0.0.1", 1), tor("b", "10.0.0.2", 2))
	expect(t, "half an exchange", r.put(tor("a", "10.0.0.2", 1)), "a frozen, b 10.0.0.2")
	expect(t, "an exchange", r.put(tor("b", "10.0.0.1", 2)), "a 10.0.0.2, b 10.0.0.1")

	// An older one waits for a router. The one that has it is edited, and so is not
	// in use as it stands for as long as nobody has said so.
	r = routers{facts: Facts{Nodes: cluster()}}
	r.put(tor("b", "10.0.0.1", 2))
	expect(t, "one waits", r.put(tor("a", "10.0.0.1", 1)), "a frozen, b 10.0.0.1")
	expect(t, "the other is edited", r.put(tor("b", "10.0.0.1", 2, func(p *Peer) { p.HoldTime = "9s" })), "a frozen, b 10.0.0.1")
	expect(t, "and badly", r.put(tor("b", "10.0.0.1", 2, broken)), "a frozen, b frozen")
	expect(t, "and well", r.put(tor("b", "10.0.0.1", 2)), "a frozen, b 10.0.0.1")

	// All peers of a node come to another AS one by one.
	r = routers{facts: Facts{Nodes: cluster()}}
	other := func(p *Peer) { p.MyAS = 64600 }
	r.put(tor("a", "10.0.0.1", 1), tor("b", "10.0.0.2", 2), tor("c", "10.0.0.3", 3))
	expect(t, "one", r.put(tor("a", "10.0.0.1", 1, other)), "a frozen, b 10.0.0.2, c 10.0.0.3")
	expect(t, "two", r.put(tor("b", "10.0.0.2", 2, other)), "a frozen, b frozen, c 10.0.0.3")
	expect(t, "three", r.put(tor("c", "10.0.0.3", 3, other)), "a 10.0.0.1, b 10.0.0.2, c 10.0.0.3")
}

// A node that comes later has none of the sessions that are kept.
func TestKeptSessionIsNotOnANewNode(t *testing.T) {
	r := routers{facts: Facts{Nodes: cluster()}}
	r.put(tor("tor1", "10.0.0.1", 1))
	r.put(tor("tor1", "10.0.0.1", 1, broken))
	var late []allocator.Node
	for i := range 70 { // more than a word of a set
		late = append(late, allocator.Node{Name: fmt.Sprintf("m%02d", i)})
	}
	r.facts.Nodes = append(late, cluster()...)
	if on := r.put().standing["tor1"]; len(on) != 1 || on[0].on.size() != 2 {
		t.Errorf("with more nodes: %+v", on)
	}
	r.facts.Nodes = late
	if on := r.put().standing["tor1"]; on != nil {
		t.Errorf("without its nodes: %+v", on)
	}
	if v := r.put(tor("tor1-new", "10.0.0.1", 2)).Peers["tor1-new"]; !reflect.DeepEqual(v, Verdict{}) {
		t.Errorf("nothing is kept: %+v", v)
	}
}

// The status of a peer that is refused is true on every node, restarted or not.
func TestRefusedPeerSaysHowLongItsSessionStays(t *testing.T) {
	r := routers{facts: Facts{Nodes: cluster()}}
	r.put(tor("tor1", "10.0.0.1", 1))
	before := errorText(r.put(tor("tor1", "10.0.0.1", 1, broken)).Peers["tor1"].Refused)
	r.facts.Before = nil
	after := errorText(r.put().Peers["tor1"].Refused)
	if before != after || !strings.HasSuffix(before, "; no session is made for it, and one that a node has stays as it was, until holdfast is restarted there") {
		t.Errorf("of a leader that knows the session: %s\nof one that has just started: %s", before, after)
	}
}
