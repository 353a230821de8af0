package speaker

import (
	"slices"
	"strings"
	"time"

	"holdfast.dev/holdfast/bgp"
)

// roster is the BGP peers of this node, sorted by name: those that it shall have,
// and those that it shall have no more and that are asked to prefer other nodes
// before their sessions end.
type roster struct {
	peers []bgp.Peer
	names []string
	until map[string]time.Time // of those that go: when their sessions end
	ends  bool                 // the daemon ends, and the sessions of these with it:
	lost  map[string]bool      // nil: all
}

// set takes over which peers there shall be. Others get that long to prefer
// other nodes.
func (r *roster) set(now time.Time, wanted []bgp.Peer, drain time.Duration) {
	next, until := slices.Clone(wanted), map[string]time.Time{}
	for i, w := range next {
		if at := slices.IndexFunc(r.peers, func(p bgp.Peer) bool { return p.Name == w.Name }); at >= 0 && w.Frozen {
			next[i] = r.peers[at] // as it was
			next[i].Frozen = true
		}
	}
	for _, p := range r.peers {
		if slices.ContainsFunc(wanted, func(w bgp.Peer) bool { return w.Name == p.Name }) || drain <= 0 {
			continue
		}
		end, goes := r.until[p.Name]
		if !goes {
			end = now.Add(drain)
		}
		next, until[p.Name] = append(next, p), end
	}
	r.until = until
	r.keep(next)
}

func (r *roster) keep(peers []bgp.Peer) {
	slices.SortFunc(peers, func(a, b bgp.Peer) int { return strings.Compare(a.Name, b.Name) })
	r.peers, r.names = peers, make([]string, len(peers))
	for i, p := range peers {
		r.names[i] = p.Name
	}
}

// expire removes the peers whose time is over, and returns when to do so again.
func (r *roster) expire(now time.Time) (changed bool, next time.Time) {
	for name, end := range r.until {
		if now.Before(end) {
			next = earlier(next, end)
			continue
		}
		delete(r.until, name)
		r.keep(slices.DeleteFunc(slices.Clone(r.peers), func(p bgp.Peer) bool { return p.Name == name }))
		changed = true
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
