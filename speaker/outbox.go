package speaker

import (
	"context"
	"sync"

	"github.com/hashicorp/memberlist"
)

// outbox sends messages in their order without making anybody wait: datagrams
// one after the other, streams beside each other, one to a node at a time. A
// newer whole account takes the place of one that has not been sent.
type outbox struct {
	mu      *sync.Mutex
	queue   []parcel
	streams map[string]*parcel // nodes that are being sent a stream; the next one for them, or nil
	ready   chan struct{}
}

// parcel is a message on its way. to "" means every member.
type parcel struct {
	to     string
	b      []byte
	stream bool
}

func newOutbox() outbox {
	return outbox{mu: new(sync.Mutex), streams: map[string]*parcel{}, ready: make(chan struct{}, 1)}
}

func (o *outbox) put(p parcel) {
	o.mu.Lock()
	o.queue = append(o.queue, p)
	o.mu.Unlock()
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) run(ctx context.Context, deliver func(parcel)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.ready:
		}
		o.mu.Lock()
		queue := o.queue
		o.queue = nil
		o.mu.Unlock()
		for _, p := range queue {
			deliver(p)
		}
	}
}

// digest is what goes with acknowledgements from now on.
func (g *gossip) digest(b []byte) { g.acked.Store(&b) }

// tell sends a small message to every member.
func (g *gossip) tell(b []byte) { g.out.put(parcel{b: b}) }

// tellAll sends a message of any size to every member.
func (g *gossip) tellAll(b []byte) { g.out.put(parcel{b: b, stream: true}) }

// ask sends a small message to one node, in sight or not.
func (g *gossip) ask(node string, b []byte) { g.out.put(parcel{to: node, b: b}) }

// answer sends the whole account to one node, in sight or not.
func (g *gossip) answer(node string, b []byte) {
	g.out.put(parcel{to: node, b: b, stream: len(b) > datagram})
}

func (g *gossip) deliver(p parcel) {
	g.mu.Lock()
	list := g.list
	to := make([]memberlist.Node, 0, len(g.nodes))
	for name, n := range g.nodes {
		if p.to == "" || p.to == name {
			to = append(to, n)
		}
	}
	if addrs := g.peers[p.to]; len(to) == 0 && len(addrs) > 0 { // it spoke, though it is out of sight
		to = append(to, memberlist.Node{Name: p.to, Addr: addrs[0].AsSlice(), Port: uint16(g.config.Port)})
	}
	g.mu.Unlock()
	if list == nil {
		return
	}
	for i := range to {
		if p.stream {
			g.stream(list, &to[i], p)
			continue
		}
		if err := list.SendBestEffort(&to[i], p.b); err != nil {
			g.lost(to[i].Name, err)
		}
	}
}

func (g *gossip) lost(node string, err error) {
	g.speaker.tally.unsent.Add(1)
	g.speaker.log.Debug("sending gossip", "peer", node, "err", err)
}

// stream sends over TCP, in its own goroutine.
func (g *gossip) stream(list *memberlist.Memberlist, to *memberlist.Node, p parcel) {
	o := &g.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, busy := o.streams[to.Name]; busy {
		o.streams[to.Name] = &p
		return
	}
	o.streams[to.Name] = nil
	go func() {
		for next := &p; next != nil; {
			if err := list.SendReliable(to, next.b); err != nil {
				g.lost(to.Name, err)
			}
			o.mu.Lock()
			if next = o.streams[to.Name]; next == nil {
				delete(o.streams, to.Name)
			} else {
				o.streams[to.Name] = nil
			}
			o.mu.Unlock()
		}
	}()
}
