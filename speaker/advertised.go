package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/bgp"
)

// billboard is by Service the addresses that this node advertises, also those that
// it is about to withdraw, and which Services that may have changed for. A change
// costs what it touches.
type billboard struct {
	of    map[allocator.ServiceName][]netip.Addr
	stale map[allocator.ServiceName]bool
	gets  []receiver // as of the last news
}

// receiver is a peer, and what can be told to it at all.
type receiver struct {
	name       string
	ipv4, ipv6 bool
}

func (r receiver) takes(p netip.Prefix) bool {
	return p.Addr().Is4() && r.ipv4 || p.Addr().Is6() && r.ipv6
}

func newBillboard() billboard {
	return billboard{of: map[allocator.ServiceName][]netip.Addr{}, stale: map[allocator.ServiceName]bool{}}
}

// put takes over what a path that has changed says now.
func (b *billboard) put(p *path) {
	on := len(p.told)+len(p.drains) > 0
	for _, s := range p.known {
		if !on || !slices.Contains(p.Services, s) {
			b.remove(s, p.Addr)
		}
	}
	for _, s := range p.Services {
		if b.stale[s] = true; on && !slices.Contains(b.of[s], p.Addr) {
			b.of[s] = append(b.of[s], p.Addr)
		}
	}
}

func (b *billboard) remove(s allocator.ServiceName, addr netip.Addr) {
	b.stale[s] = true
	if i := slices.Index(b.of[s], addr); i >= 0 {
		b.of[s] = slices.Delete(b.of[s], i, i+1)
	}
	if len(b.of[s]) == 0 {
		delete(b.of, s)
	}
}

// news are, by Service, the names of the peers to which this node advertises one of
// its addresses, sorted, where that may have changed since the last time; none: to
// nobody any more. A peer without a session, or of the other family, gets nothing.
func (r *routes) news(peers []bgp.Peer) map[allocator.ServiceName][]string {
	gets := make([]receiver, len(peers)) // in the order of their names
	for i, p := range peers {
		gets[i] = receiver{p.Name, p.IPv4, p.IPv6}
	}
	if !slices.Equal(gets, r.board.gets) {
		r.board.gets = gets
		for s := range r.board.of {
			r.board.stale[s] = true
		}
	}
	out := make(map[allocator.ServiceName][]string, len(r.board.stale))
	for s := range r.board.stale {
		out[s] = r.receivers(s)
	}
	clear(r.board.stale)
	return out
}

func (r *routes) receivers(s allocator.ServiceName) (names []string) {
	for _, to := range r.board.gets {
		if slices.ContainsFunc(r.board.of[s], func(a netip.Addr) bool { return r.paths[a].tells(to) }) {
			names = append(names, to.name)
		}
	}
	return names
}

// tells tells whether a peer is told of an address.
func (p *path) tells(to receiver) bool {
	gets := func(r allocator.Route) bool {
		return to.takes(r.Prefix) && (len(r.Peers) == 0 || slices.Contains(r.Peers, to.name))
	}
	return slices.ContainsFunc(p.told, gets) || slices.ContainsFunc(p.drains, func(d drain) bool { return gets(d.Route) })
}

// said is what [Speaker.Advertised] has returned.
type said struct {
	mu  sync.Mutex
	all map[allocator.ServiceName][]string
}

// Advertised returns by Service the names of the BGP peers to which this node
// advertises one of its addresses, sorted: those whose session is for its family,
// whether it is established or not.
func (s *Speaker) Advertised() map[allocator.ServiceName][]string {
	s.said.mu.Lock()
	defer s.said.mu.Unlock()
	var news map[allocator.ServiceName][]string
	s.ask(func(time.Time) { news = s.routes.news(s.roster.peers) })
	if s.said.all == nil {
		s.said.all = map[allocator.ServiceName][]string{}
	}
	for name, peers := range news {
		if len(peers) == 0 {
			delete(s.said.all, name)
			continue
		}
		s.said.all[name] = peers
	}
	return maps.Clone(s.said.all)
}
