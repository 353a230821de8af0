package peering

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast.dev/holdfast/allocator"
)

// A Plan is what follows from Facts.
type Plan struct {
	// Advertisements that are in use, by name: as they are written, or, where that is
	// refused, as they were in use before (invariant 7).
	Advertisements []allocator.BGPAdvertisement
	// Verdicts on every object, by name.
	Peers, Profiles, Communities, AdvertisementVerdicts map[string]Verdict

	peers    []*peer               // by name
	standing map[string][]standing // the sessions that there are, by peer
	cluster  *nodes                // that standing counts
	nodes    map[string]allocator.Node
	inUse    map[string]*advertisement
}

// A Verdict says whether an object is in use. Its errors are written for whoever
// wrote the object.
type Verdict struct {
	Refused error // why the object is not used; nil: it is
	Warning error // what of it is not used
}

// Resolve plans.
func Resolve(f Facts) *Plan {
	p := &Plan{
		Peers: map[string]Verdict{}, Profiles: map[string]Verdict{},
		Communities: map[string]Verdict{}, AdvertisementVerdicts: map[string]Verdict{},
		nodes: make(map[string]allocator.Node, len(f.Nodes)), inUse: map[string]*advertisement{},
		standing: map[string][]standing{}, cluster: newNodes(f.Nodes),
	}
	f.Pools = inOrder(f.Pools, func(a, b *allocator.Pool) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range f.Nodes {
		p.nodes[n.Name] = n
	}
	p.resolvePeers(f, p.cluster, p.resolveProfiles(f.Profiles))
	p.resolveAdvertisements(f, p.cluster, p.resolveCommunities(f.Communities))
	return p
}

func inOrder[T any](in []T, compare func(a, b *T) int) []T {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b T) int { return compare(&a, &b) })
	return out
}

// Sessions returns the sessions of a node, by name of the peer.
func (p *Plan) Sessions(node string) (sessions []Session) {
	n := p.nodes[node]
	for _, q := range p.peers {
		switch {
		case !selects(q.NodeSelectors, n.Labels):
		case p.Peers[q.Name].Refused != nil || slices.Contains(n.Addresses, q.session.Address):
			sessions = append(sessions, Session{Name: q.Name, Frozen: true})
		default:
			s := q.session
			if !s.RouterID.IsValid() {
				s.RouterID = routerIDOf(node, n.Addresses)
			}
			sessions = append(sessions, s)
		}
	}
	return sessions
}

// resolveProfiles returns the profiles that can be used.
func (p *Plan) resolveProfiles(profiles []Profile) map[string]*BFD {
	out := map[string]*BFD{}
	for i := range profiles {
		b, err := profiles[i].bfd()
		if err == nil {
			out[profiles[i].Name] = b
		}
		p.Profiles[profiles[i].Name] = Verdict{Refused: err}
	}
	return out
}

func (p *Plan) resolvePeers(f Facts, nodes *nodes, profiles map[string]*BFD) {
	secrets := make(map[string]Secret, len(f.Secrets))
	for _, s := range f.Secrets {
		secrets[s.Name] = s
	}
	warnings, were := map[string]error{}, f.Before.were(nodes)
	for _, in := range f.Peers {
		q, warning, err := newPeer(in, secrets, profiles)
		q.selected = nodes.selected(q.NodeSelectors)
		q.keepBFD(f.Before)
		if err == nil {
			var also error
			also, err = q.placed(nodes)
			warning = errors.Join(warning, also)
		}
		q.refused, q.had, warnings[q.Name] = err, f.Before.stands(q, were), warning
		p.peers = append(p.peers, q)
	}
	slices.SortFunc(p.peers, (*peer).first)
	agree(p.peers, nodes)
	for _, q := range p.peers {
		p.standing[q.Name] = q.has(nodes)
		if q.refused != nil {
			p.Peers[q.Name] = Verdict{Refused: fmt.Errorf("%w; %s", q.refused, frozen)}
		} else {
			p.Peers[q.Name] = Verdict{Warning: warnings[q.Name]}
		}
	}
	slices.SortFunc(p.peers, func(a, b *peer) int { return strings.Compare(a.Name, b.Name) })
}

// frozen is what becomes of the sessions of a peer that is refused. It is true on
// every node: one on which holdfast was restarted since has none.
const frozen = "no session is made for it, and one that a node has stays as it was, until holdfast is restarted there"

func (p *Plan) resolveAdvertisements(f Facts, nodes *nodes, aliases map[string]community) {
	var accepted []*advertisement
	for _, in := range inOrder(f.Advertisements, func(a, b *Advertisement) int { return a.before(&b.Object) }) {
		before := f.Before.using(in)
		q, err := newAdvertisement(in, aliases)
		var warning error
		if err == nil {
			warning, err = q.fit(f.Pools, before)
		}
		for _, other := range accepted {
			if err == nil {
				err = q.conflict(other, nodes)
			}
		}
		switch {
		case err == nil:
			accepted = append(accepted, q)
			warning = errors.Join(warning, q.missing(p.Peers))
			p.use(q)
		case before != nil:
			err, warning = fmt.Errorf("%w; it stays in use as it was before, on each node until holdfast is restarted there", err), nil
			p.use(before.kept(f.Pools))
		default:
			warning = nil
		}
		p.AdvertisementVerdicts[in.Name] = Verdict{Refused: err, Warning: warning}
	}
	slices.SortFunc(p.Advertisements, func(a, b allocator.BGPAdvertisement) int { return cmp.Compare(a.Name, b.Name) })
}

func (p *Plan) use(a *advertisement) {
	p.inUse[a.out.Name] = a
	p.Advertisements = append(p.Advertisements, a.out)
}

// using returns the advertisement as it is in use; nil: it is not. One that was
// created anew is another one of the same name.
func (p *Plan) using(in Advertisement) *advertisement {
	if p == nil {
		return nil
	}
	if a := p.inUse[in.Name]; a != nil && a.out.Created.Equal(in.Created) {
		return a
	}
	return nil
}
