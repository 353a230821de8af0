package speaker

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// ---- memberlist.EventDelegate: called with a lock of memberlist held

// NotifyJoin notes a node that came into sight.
func (g *gossip) NotifyJoin(n *memberlist.Node) {
	if n.Name == g.speaker.node {
		return
	}
	g.mu.Lock()
	g.nodes[n.Name] = *n
	g.believe(n.Name)
	g.mu.Unlock()
	name := n.Name
	g.meet(n)
	g.speaker.log.Info("node in sight", "peer", name, "address", n.Addr.String())
	g.speaker.do(func(time.Time) { g.speaker.core.joined(name) })
}

// NotifyLeave notes a node that is out of sight: it said so, or is in doubt.
func (g *gossip) NotifyLeave(n *memberlist.Node) {
	if n.Name == g.speaker.node {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.nodes, n.Name)
	g.believe(n.Name)
	g.lookout.left(n.Name)
	name, left := n.Name, n.State == memberlist.StateLeft
	g.speaker.log.Info("node out of sight", "peer", name, "said so", left)
	if left {
		g.speaker.do(func(time.Time) { g.speaker.core.left(name) })
		return
	}
	gone := func(v verdict) { g.speaker.do(func(now time.Time) { g.speaker.core.lost(now, name, v) }) }
	at, ok := gossipsAt(n)
	if !ok {
		gone(mute)
		return
	}
	g.speaker.do(func(now time.Time) { g.speaker.core.suspect(now, name) })
	ctx, cancel := context.WithCancel(g.life)
	g.doubted[name] = cancel
	go doubt(ctx, at, g.config.Grace, func(v verdict) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if ctx.Err() == nil { // nobody has seen it meanwhile
			g.believe(name)
			gone(v)
		}
	})
}

// meet takes in what a node in sight says of itself.
func (g *gossip) meet(n *memberlist.Node) {
	if at, ok := gossipsAt(n); ok {
		g.lookout.joined(n.Name, at)
	}
	g.stations(n)
}

// gossipsAt is where the gossip of a node listens.
func gossipsAt(n *memberlist.Node) (netip.AddrPort, bool) {
	addr, ok := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(addr.Unmap(), n.Port), ok
}

// believe ends the doubt about a node. The lock must be held.
func (g *gossip) believe(name string) {
	if cancel := g.doubted[name]; cancel != nil {
		cancel()
		delete(g.doubted, name)
	}
}

// NotifyUpdate notes that a node has another address.
func (g *gossip) NotifyUpdate(n *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, seen := g.nodes[n.Name]; seen {
		g.nodes[n.Name] = *n
		g.meet(n)
	}
}

// ---- what the lookout sees

// dead notes that the kernel of a node in sight does not answer any more.
func (g *gossip) dead(name string, silent time.Duration) {
	g.speaker.tally.dead(silent)
	g.speaker.log.Info("node is dead", "peer", name, "silent", silent)
	g.speaker.do(func(now time.Time) { g.speaker.core.lost(now, name, dead) })
}

// risen notes that such a node answers again.
func (g *gossip) risen(name string) {
	g.speaker.log.Info("node answers again", "peer", name)
	g.speaker.do(func(time.Time) { g.speaker.core.joined(name) })
}

// suspect tells the others that a node in sight may be dead.
func (g *gossip) suspect(name string) {
	g.speaker.do(func(now time.Time) { g.speaker.warn(now, name) })
}

// ---- memberlist.Delegate and PingDelegate

// NodeMeta is the hardware addresses with which this node answers, as many as
// there is room for.
func (g *gossip) NodeMeta(room int) []byte {
	var b []byte
	for _, m := range g.speaker.wire.Stations() {
		if len(b)+len(m) <= room {
			b = append(b, m...)
		}
	}
	return b
}

// stations tells the core what a node's NodeMeta says.
func (g *gossip) stations(n *memberlist.Node) {
	var macs []string
	for m := range slices.Chunk(n.Meta, 6) {
		macs = append(macs, net.HardwareAddr(m).String())
	}
	name := n.Name
	g.speaker.do(func(time.Time) { g.speaker.core.stations(name, macs) })
}

// refresh tells the others when the hardware addresses of this node have changed.
func (g *gossip) refresh() {
	g.mu.Lock()
	list, before := g.list, g.meta
	g.meta = g.NodeMeta(memberlist.MetaMaxSize)
	changed := !bytes.Equal(before, g.meta)
	g.mu.Unlock()
	if list == nil || !changed {
		return
	}
	if err := list.UpdateNode(updateTimeout); err != nil {
		g.speaker.log.Debug("telling hardware addresses", "err", err)
	}
}

// GetBroadcasts is empty: messages go straight to every member.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// NotifyMsg takes in a message.
func (g *gossip) NotifyMsg(b []byte) { g.speaker.receive(b) }

// LocalState is the whole account of this node, for an exchange of state.
func (g *gossip) LocalState(bool) []byte { return g.speaker.account() }

// MergeRemoteState takes in the other side of an exchange.
func (g *gossip) MergeRemoteState(b []byte, _ bool) {
	if len(b) > 0 {
		g.speaker.receive(b)
	}
}

// AckPayload goes with every answer to a probe: whoever probes this node learns
// whether it has missed something.
func (g *gossip) AckPayload() []byte {
	if d := g.acked.Load(); d != nil {
		return *d
	}
	return nil
}

// NotifyPingComplete takes in what came with an answer.
func (g *gossip) NotifyPingComplete(_ *memberlist.Node, _ time.Duration, payload []byte) {
	if len(payload) > 0 {
		g.speaker.receive(payload)
	}
}
