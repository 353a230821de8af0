package speaker

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast.dev/holdfast/bgp"
)

// roster is the BGP peers of this node, sorted by name: those that it shall have,
// and those that it shall have no more and that are asked to prefer other nodes
// before their sessions end. A peer with the router of one that goes, as after a
// BGPPeer was renamed, waits for its end: a router has one session with this node, and
// refuses a second one.
type roster struct {
	peers  []bgp.Peer // never changed once made
	names  []string
	wanted []bgp.Peer           // those that there shall be
	until  map[string]time.Time // of those that go: when their sessions end
	closed map[place]time.Time  // where a session ended a moment ago: until when it may say goodbye
	ends   bool                 // the daemon ends, and the sessions of these with it:
	lost   map[string]bool      // nil: all
}

// goodbye is how long the farewell of a session may take, until its router can be
// expected to take another one. One that takes longer refuses it, and is tried again.
const goodbye = 200 * time.Millisecond

// place is where a router is.
type place struct {
	addr          netip.Addr
	iface, device string
}

func placeOf(p bgp.Peer) place {
	if p.Address.IsValid() {
		return place{p.Address, "", p.Device}
	}
	return place{netip.Addr{}, p.Interface, p.Device}
}

// set takes over which peers there shall be. Others get that long (0: none) to prefer
// other nodes.
func (r *roster) set(now time.Time, wanted []bgp.Peer, drain time.Duration) {
	r.wanted = slices.Clone(wanted)
	until := map[string]time.Time{}
	for _, p := range r.peers {
		if named(wanted, p.Name) {
			continue
		}
		end, goes := r.until[p.Name]
		if !goes || drain == 0 {
			end = now.Add(drain)
		}
		until[p.Name] = end
	}
	r.until = until
	r.expire(now)
	r.arrange()
}

func named(peers []bgp.Peer, name string) bool {
	return slices.ContainsFunc(peers, func(p bgp.Peer) bool { return p.Name == name })
}

// arrange makes the list from what is wanted, what goes, and what must wait.
func (r *roster) arrange() {
	var next []bgp.Peer
	for _, p := range r.peers {
		if _, goes := r.until[p.Name]; goes {
			next = append(next, p)
		}
	}
	going := slices.Clone(next)
	for _, w := range r.wanted {
		at := slices.IndexFunc(r.peers, func(p bgp.Peer) bool { return p.Name == w.Name })
		switch {
		case at < 0 && r.taken(going, w):
			continue
		case at >= 0 && w.Frozen:
			w = r.peers[at] // as it was
			w.Frozen = true
		}
		next = append(next, w)
	}
	slices.SortFunc(next, func(a, b bgp.Peer) int { return strings.Compare(a.Name, b.Name) })
	r.peers, r.names = next, make([]string, len(next))
	for i, p := range next {
		r.names[i] = p.Name
	}
}

// taken tells whether the router of a new peer still has a session by another name.
func (r *roster) taken(going []bgp.Peer, p bgp.Peer) bool {
	at := placeOf(p)
	if at == (place{device: p.Device}) {
		return false
	}
	_, closing := r.closed[at]
	return closing || slices.ContainsFunc(going, func(g bgp.Peer) bool { return placeOf(g) == at })
}

// expire removes the peers whose time is over, takes in those that waited for their
// end, and returns when to do so again.
func (r *roster) expire(now time.Time) (changed bool, next time.Time) {
	for at, end := range r.closed {
		if now.Before(end) {
			next = earlier(next, end)
			continue
		}
		delete(r.closed, at)
		changed = true
	}
	for name, end := range r.until {
		if now.Before(end) {
			next = earlier(next, end)
			continue
		}
		delete(r.until, name)
		i := slices.IndexFunc(r.peers, func(p bgp.Peer) bool { return p.Name == name })
		if r.closed == nil {
			r.closed = map[place]time.Time{}
		}
		r.closed[placeOf(r.peers[i])] = now.Add(goodbye)
		next = earlier(next, now.Add(goodbye))
		r.peers = slices.Delete(slices.Clone(r.peers), i, i+1)
		changed = true
	}
	if changed {
		r.arrange()
	}
	return changed, next
}

// end notes that the daemon ends, and with it the sessions with the named peers, or
// all if lost is nil.
func (r *roster) end(lost map[string]bool) { r.ends, r.lost = true, lost }

// parting are the names of the peers that are to prefer other nodes, sorted.
func (r *roster) parting() (names []string) {
	for _, n := range r.names {
		if _, goes := r.until[n]; goes || r.ends && (r.lost == nil || r.lost[n]) {
			names = append(names, n)
		}
	}
	return names
}
