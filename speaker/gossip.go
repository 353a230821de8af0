package speaker

import (
	"context"
	"log"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Gossip is how nodes find each other and notice that one is gone. Zero values
// mean the defaults.
type Gossip struct {
	// Port is the TCP and UDP port that every node listens on (default 7946).
	Port int
	// ProbeInterval is the time between two probes of a node (default 200 ms),
	// ProbeTimeout how long an answer may take (default 100 ms).
	ProbeInterval, ProbeTimeout time.Duration
	// SuspicionMult times ProbeInterval, and times the decimal logarithm of the
	// number of nodes above 10, is how long a node may be suspected before it is
	// taken for dead (default 2).
	SuspicionMult int
	// AwarenessMax is the factor by which a node that finds itself slow lengthens
	// its probes at most (default 8).
	AwarenessMax int
	// Echo is how a node that lost its power or its network is noticed sooner.
	Echo Echo
	// Grace is how long a node whose daemon is out of sight keeps its addresses
	// while its kernel answers (default 1 s).
	Grace time.Duration
}

func (g Gossip) orDefault() Gossip {
	if g.Port == 0 {
		g.Port = 7946
	}
	if g.ProbeInterval == 0 {
		g.ProbeInterval = 200 * time.Millisecond
	}
	if g.ProbeTimeout == 0 {
		g.ProbeTimeout = 100 * time.Millisecond
	}
	if g.SuspicionMult == 0 {
		g.SuspicionMult = 2
	}
	if g.AwarenessMax == 0 {
		g.AwarenessMax = 8
	}
	if g.Grace == 0 {
		g.Grace = time.Second
	}
	return g
}

const (
	joinEvery     = 400 * time.Millisecond // nodes that are not in sight are tried again
	joinAtOnce    = 5                      // attempts: one that began before a way was there takes long to find it
	streamTimeout = 2 * time.Second        // for a connection, and for what goes over it
	leaveTimeout  = 250 * time.Millisecond // for the farewell to reach somebody
	updateTimeout = 500 * time.Millisecond // for a change of what a node says of itself
)

// gossip runs memberlist: it starts when the key and this node's address are
// known, joins whoever is missing, and carries messages.
type gossip struct {
	speaker *Speaker
	config  Gossip
	keys    *keys
	log     *log.Logger
	change  chan struct{}
	life    context.Context        // that of run
	acked   atomic.Pointer[[]byte] // digest that goes with every acknowledgement
	out     outbox
	lookout *lookout

	mu      sync.Mutex
	peers   map[string][]netip.Addr
	nodes   map[string]memberlist.Node // in sight, without this one
	list    *memberlist.Memberlist
	bound   netip.Addr
	joining map[string]int                // attempts under way
	doubted map[string]context.CancelFunc // out of sight, and perhaps alive
	meta    []byte                        // last NodeMeta told
	told    bool                          // that it can not start
	left    bool
}

func newGossip(s *Speaker, c Gossip) *gossip {
	w := &logWriter{log: s.log}
	g := &gossip{
		speaker: s, config: c, keys: &keys{log: s.log}, log: log.New(w, "", 0),
		change: make(chan struct{}, 1), out: newOutbox(),
		nodes: map[string]memberlist.Node{}, joining: map[string]int{}, doubted: map[string]context.CancelFunc{},
	}
	g.lookout = newLookout(g, c.Echo.orDefault())
	return g
}

func (g *gossip) setPeers(peers map[string][]netip.Addr) {
	g.mu.Lock()
	g.peers = maps.Clone(peers)
	g.mu.Unlock()
	g.wake()
}

func (g *gossip) setKey(key []byte) {
	g.mu.Lock()
	company := len(g.nodes) > 0
	g.mu.Unlock()
	g.keys.set(key, company)
	g.wake()
}

func (g *gossip) wake() {
	select {
	case g.change <- struct{}{}:
	default:
	}
}

// run starts gossip and keeps it together until ctx ends.
func (g *gossip) run(ctx context.Context) {
	g.life = ctx
	go g.out.run(ctx, g.deliver)
	go g.lookout.run(ctx)
	tick := time.NewTicker(joinEvery)
	defer tick.Stop()
	for {
		g.keys.advance(time.Now())
		g.begin()
		g.refresh()
		g.join()
		select {
		case <-ctx.Done():
			g.end()
			return
		case <-g.change:
		case <-tick.C:
		}
	}
}

// begin starts memberlist if it can, and again if this node's address changed.
func (g *gossip) begin() {
	g.mu.Lock()
	addrs := g.peers[g.speaker.node]
	running, bound, left := g.list, g.bound, g.left
	g.mu.Unlock()
	if left || len(addrs) == 0 || g.keys.none() || running != nil && bound == addrs[0] {
		return
	}
	if running != nil {
		g.speaker.log.Info("address of this node changed", "from", bound, "to", addrs[0])
		g.end()
	}
	list, err := memberlist.Create(g.memberlist(addrs[0]))
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		if !g.told {
			g.told = true
			g.speaker.log.Error("gossip can not start; this node works alone and tries again", "address", addrs[0], "port", g.config.Port, "err", err)
		}
		return
	}
	g.told, g.list, g.bound = false, list, addrs[0]
	g.speaker.log.Info("gossip started", "address", addrs[0], "port", g.config.Port)
}

func (g *gossip) memberlist(bind netip.Addr) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.speaker.node
	c.BindAddr, c.AdvertiseAddr = bind.String(), bind.String()
	c.BindPort, c.AdvertisePort = g.config.Port, g.config.Port
	c.ProbeInterval, c.ProbeTimeout = g.config.ProbeInterval, g.config.ProbeTimeout
	c.SuspicionMult, c.AwarenessMaxMultiplier = g.config.SuspicionMult, g.config.AwarenessMax
	c.SuspicionMaxTimeoutMult = 2
	c.GossipInterval = 100 * time.Millisecond
	c.TCPTimeout = streamTimeout
	c.DeadNodeReclaimTime = 5 * time.Second
	c.Keyring = g.keys.ring()
	c.Delegate, c.Events, c.Ping = g, g, g
	c.Logger = g.log
	return c
}

func (g *gossip) end() {
	g.mu.Lock()
	list := g.list
	g.list = nil
	g.mu.Unlock()
	if list != nil {
		if err := list.Shutdown(); err != nil {
			g.speaker.log.Debug("ending gossip", "err", err)
		}
	}
}

// leave tells everybody that this node goes, and does not come back.
func (g *gossip) leave() {
	g.mu.Lock()
	list := g.list
	g.left = true
	g.mu.Unlock()
	if list == nil {
		return
	}
	if err := list.Leave(leaveTimeout); err != nil {
		g.speaker.log.Debug("leaving gossip", "err", err)
	}
}

// join tries every peer that is not in sight, each by itself.
func (g *gossip) join() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.list == nil || g.left {
		return
	}
	for name, addrs := range g.peers {
		if _, seen := g.nodes[name]; seen || name == g.speaker.node || g.joining[name] >= joinAtOnce || len(addrs) == 0 {
			continue
		}
		g.joining[name]++
		go g.visit(g.list, name, addrs)
	}
}

func (g *gossip) visit(list *memberlist.Memberlist, name string, addrs []netip.Addr) {
	for _, addr := range addrs {
		_, err := list.Join([]string{name + "/" + netip.AddrPortFrom(addr, uint16(g.config.Port)).String()})
		if err == nil {
			break
		}
		g.speaker.log.Debug("joining", "peer", name, "address", addr, "err", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.joining[name]--; g.joining[name] == 0 {
		delete(g.joining, name)
	}
}
