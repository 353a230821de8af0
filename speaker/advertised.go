package speaker

import (
	"net/netip"
	"slices"
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

// news are, by Service, what this node advertises of it, where that may have changed
// since the last time, or with whole of all; no addresses: nothing any more. A peer
// without a session, or of the other family, gets nothing.
func (r *routes) news(peers []bgp.Peer, whole bool) map[allocator.ServiceName]allocator.Report {
	gets := make([]receiver, len(peers)) // in the order of their names
	for i, p := range peers {
		gets[i] = receiver{p.Name, p.IPv4, p.IPv6}
	}
	if !slices.Equal(gets, r.board.gets) {
		r.board.gets, whole = gets, true
	}
	if whole {
		for s := range r.board.of {
			r.board.stale[s] = true
		}
	}
	out := make(map[allocator.ServiceName]allocator.Report, len(r.board.stale))
	for s := range r.board.stale {
		out[s] = r.report(s)
	}
	r.board.stale = map[allocator.ServiceName]bool{} // clear would cost as much as the longest list yet
	return out
}

func (r *routes) report(s allocator.ServiceName) (out allocator.Report) {
	for _, a := range r.board.of[s] {
		if slices.ContainsFunc(r.board.gets, r.paths[a].tells) {
			out.Addrs = append(out.Addrs, a)
		}
	}
	slices.SortFunc(out.Addrs, netip.Addr.Compare)
	for _, to := range r.board.gets {
		if slices.ContainsFunc(out.Addrs, func(a netip.Addr) bool { return r.paths[a].tells(to) }) {
			out.On = append(out.On, to.name)
		}
	}
	return out
}

// tells tells whether a peer is told of an address.
func (p *path) tells(to receiver) bool {
	gets := func(r allocator.Route) bool {
		return to.takes(r.Prefix) && (len(r.Peers) == 0 || slices.Contains(r.Peers, to.name))
	}
	return slices.ContainsFunc(p.told, gets) || slices.ContainsFunc(p.drains, func(d drain) bool { return gets(d.Route) })
}

// Advertised returns by Service what this node advertises of it and the names of the
// BGP peers to which it does, sorted: those whose session is for its family, whether
// it is established or not. It returns what may have changed since it was last asked,
// or with whole everything.
func (s *Speaker) Advertised(whole bool) (news map[allocator.ServiceName]allocator.Report) {
	s.ask(func(time.Time) { news = s.routes.news(s.roster.peers, whole) })
	return news
}
