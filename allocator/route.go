package allocator

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A BGPAdvertisement is one with everything that it names looked up.
type BGPAdvertisement struct {
	Name             string
	Created          time.Time
	Pools            []string
	PoolSelectors    []Selector // with Pools empty too: every pool
	Without          []string   // pools that it is not for though it selects them
	NodeSelectors    []Selector // empty: every node
	ServiceSelectors []Selector // empty: every Service
	Peers            []string   // names of BGPPeers; empty: all
	Length4, Length6 int        // of the prefixes that are advertised; 32 and 128: the addresses themselves
	Attributes
}

// Attributes are what routers are told of a prefix beside the way to it.
type Attributes struct {
	LocalPref        uint32      // to routers of the same AS; 0: none
	Communities      []uint32    // RFC 1997, sorted
	LargeCommunities [][3]uint32 // RFC 8092, sorted
	// Weighted: routers are told how many endpoints a node has, as far as only
	// Services with policy Local are on the address. (Else each node leads to all.)
	Weighted bool
}

// A Route is what one BGPAdvertisement makes of an address.
type Route struct {
	Advertisement string
	Prefix        netip.Prefix
	Peers         []string // names of BGPPeers; empty: all
	Nodes         []string // that may advertise it, sorted
	Weights       []int    // of the nodes: how many endpoints each has; nil: not to be told
	Attributes
}

// The changes of BGPAdvertisements.
type (
	PutBGPAdvertisement  struct{ BGPAdvertisement }
	DropBGPAdvertisement struct{ Name string }
)

// scope is what a BGPAdvertisement has in common with an L2Advertisement.
func (b BGPAdvertisement) scope() Advertisement {
	return Advertisement{
		Name: b.Name, Pools: b.Pools, PoolSelectors: b.PoolSelectors, NodeSelectors: b.NodeSelectors, ServiceSelectors: b.ServiceSelectors,
	}
}

// advertisedBy returns the names of the BGPAdvertisements that apply to a Service on
// an address of the pool, sorted.
func (s *Snapshot) advertisedBy(pool string, poolLabels, labels map[string]string) []string {
	return slices.DeleteFunc(s.bgp.advertising(pool, poolLabels, labels), func(ad string) bool {
		return slices.Contains(s.routes[ad].Without, pool)
	})
}

// routesOf says what routers are told of an address: for each advertisement of the
// Services that are served, from those of the nodes that it selects.
func (s *Snapshot) routesOf(a netip.Addr, nodes []Candidate, claims []*claim, seat *Seat) (routes []Route) {
	all := s.wholeBase(nodes, claims)
	for _, ad := range s.routeOrder(claims) {
		r := Route{Advertisement: ad.Name, Peers: ad.Peers, Attributes: ad.Attributes}
		length := ad.Length6
		if a.Is4() {
			length = ad.Length4
		}
		r.Prefix, _ = a.Prefix(length) // an advertisement with another length is refused
		if all != nil {
			r.Nodes = s.selectedOf(all, ad)
		} else {
			r.Nodes = s.kept(s.selected(ad, nodes), ad, claims)
		}
		for _, older := range routes {
			if shared := r.conflicts(older); len(shared) > 0 {
				seat.conflict(claims, older, r, shared)
				r.Nodes = remainder(r.Nodes, shared)
			}
		}
		if len(r.Nodes) == 0 {
			continue
		}
		if ad.Weighted {
			r.Weights = s.weights(r.Nodes, claims)
		}
		routes = append(routes, r)
	}
	slices.SortFunc(routes, func(a, b Route) int { return strings.Compare(a.Advertisement, b.Advertisement) })
	for _, r := range routes {
		if s.leads(r, claims) {
			seat.astray(claims, r, routes)
		}
	}
	return routes
}

// wholeBase returns the base of which nodes are the whole list; nil if they are not.
func (s *Snapshot) wholeBase(nodes []Candidate, claims []*claim) *base {
	if len(nodes) == 0 {
		return nil
	}
	b := s.base(s.bgp, adsOf(claims))
	if len(b.candidates) == 0 || &b.candidates[0] != &nodes[0] || len(b.candidates) != len(nodes) {
		return nil
	}
	return b
}

// selectedOf returns the nodes of a base that an advertisement selects. All seats
// share the list: with many nodes and addresses it is held once.
func (s *Snapshot) selectedOf(b *base, ad BGPAdvertisement) []string {
	if list, ok := b.selected[ad.Name]; ok {
		return list
	}
	list := s.kept(s.selected(ad, b.candidates), ad, nil)
	if b.selected == nil {
		b.selected = map[string][]string{}
	}
	b.selected[ad.Name] = list
	return list
}

func (s *Snapshot) selected(ad BGPAdvertisement, nodes []Candidate) (names []string) {
	for _, c := range nodes {
		if ad.selects(s.nodes[c.Node]) {
			names = append(names, c.Node)
		}
	}
	return names
}

// kept returns a list that is held already and says the same, if there is one: that
// of a Service's endpoints, or the last one of all nodes that the advertisement selects,
// since a seat that a change of nodes left as it was has that one yet.
func (s *Snapshot) kept(list []string, ad BGPAdvertisement, claims []*claim) []string {
	if last := s.bgp.selected[ad.Name]; slices.Equal(last, list) {
		return last
	}
	for _, c := range claims {
		switch {
		case !c.local:
		case slices.Equal(c.usable.nodes, list):
			return c.usable.nodes
		default:
			return list
		}
	}
	s.bgp.selected[ad.Name] = list
	return list
}

func (b BGPAdvertisement) selects(n Node) bool {
	return len(b.NodeSelectors) == 0 || anyMatches(b.NodeSelectors, n.Labels)
}

// leads tells whether other nodes may advertise the prefix of a route for other
// addresses, and lead nowhere for this one.
func (s *Snapshot) leads(r Route, claims []*claim) bool {
	if r.Prefix.IsSingleIP() || !slices.ContainsFunc(claims, func(c *claim) bool { return c.local }) {
		return false
	}
	ad := s.routes[r.Advertisement]
	for _, n := range s.nodes {
		if _, is := slices.BinarySearch(r.Nodes, n.Name); !is && n.usable() && ad.selects(n) {
			return true
		}
	}
	return false
}

// astray tells the Services that only some nodes serve that routers may send their
// packets to others, where no longer prefix keeps them from it.
func (t *Seat) astray(claims []*claim, wide Route, all []Route) {
	for _, r := range all {
		if r.Prefix.IsSingleIP() && (len(r.Peers) == 0 || len(wide.Peers) > 0 && len(remainder(wide.Peers, r.Peers)) == 0) {
			return
		}
	}
	for _, c := range claims {
		if c.local && slices.Contains(c.ads, wide.Advertisement) {
			t.Remarks = append(t.Remarks, Remark{c.Name, Reason{Code: Aggregated, Addr: t.Addr, Detail: fmt.Sprintf(
				"%s is advertised as part of %s only, by BGPAdvertisement %s, and not every node that may advertise that has endpoints of this Service: as long as another node advertises it for other addresses, what routers send there is lost; advertise %s itself too, by a BGPAdvertisement without aggregation length for the same peers",
				t.Addr, wide.Prefix, wide.Advertisement, t.Addr)}})
		}
	}
}

// routeOrder returns the advertisements that apply, the oldest first: of two that
// cannot both be right, the older one is.
func (s *Snapshot) routeOrder(claims []*claim) (ads []BGPAdvertisement) {
	for _, n := range adsOf(claims) {
		ads = append(ads, s.routes[n])
	}
	slices.SortFunc(ads, func(a, b BGPAdvertisement) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	return ads
}

// adsOf names the advertisements that apply to one of the claims, sorted.
func adsOf(claims []*claim) (names []string) {
	for _, c := range claims {
		names = union(names, c.ads)
	}
	return names
}

// conflicts returns the nodes that would give one prefix two local preferences on
// the same session.
func (r Route) conflicts(o Route) []string {
	if r.LocalPref == o.LocalPref || r.Prefix != o.Prefix || !PeersMeet(r.Peers, o.Peers) {
		return nil
	}
	return intersection(r.Nodes, o.Nodes)
}

// PeersMeet tells whether two lists of BGPPeers, of which an empty one stands for all,
// have one in common.
func PeersMeet(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// conflict tells the Services that nodes leave a route out because of another one.
func (t *Seat) conflict(claims []*claim, stays, goes Route, nodes []string) {
	for _, c := range claims {
		if slices.Contains(c.ads, goes.Advertisement) {
			t.Remarks = append(t.Remarks, Remark{c.Name, Reason{Code: Conflicting, Addr: t.Addr, Detail: fmt.Sprintf(
				"BGPAdvertisement %s is not used for %s on %s: it gives %s localPref %d, and the older %s gives it %d there for the same peers; give both the same, or make their serviceSelectors, nodeSelectors or peers differ",
				goes.Advertisement, t.Addr, nodesText(nodes), goes.Prefix, goes.LocalPref, stays.Advertisement, stays.LocalPref)}})
		}
	}
}

// nodesText names up to three nodes.
func nodesText(nodes []string) string {
	if len(nodes) > 3 {
		return fmt.Sprintf("%s and %d more nodes", strings.Join(nodes[:3], ", "), len(nodes)-3)
	}
	return strings.Join(nodes, ", ")
}

// weights counts the usable endpoints on each node; nil when a Service is served
// from all nodes to all its endpoints.
func (s *Snapshot) weights(nodes []string, claims []*claim) []int {
	weights := make([]int, len(nodes))
	for _, c := range claims {
		if !c.local {
			return nil
		}
		for i, n := range nodes {
			weights[i] += s.endpointsOn(c.Name, n)
		}
	}
	return weights
}

// endpointsOn counts the endpoints on a node that take traffic.
func (s *Snapshot) endpointsOn(v ServiceName, node string) int {
	ready, terminating, any := 0, 0, false
	for _, slice := range s.endpoints[v] {
		for _, at := range slice.Nodes {
			any = any || at.Ready > 0
			if at.Node == node {
				ready, terminating = ready+at.Ready, terminating+at.Terminating
			}
		}
	}
	if any {
		return ready
	}
	return terminating
}

func (r Route) equal(o Route) bool {
	return r.Advertisement == o.Advertisement && r.Prefix == o.Prefix && slices.Equal(r.Peers, o.Peers) &&
		sameList(r.Nodes, o.Nodes) && slices.Equal(r.Weights, o.Weights) && r.Attributes.Equal(o.Attributes)
}

// sameList is slices.Equal, which does not look into a list that both share.
func sameList(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// Equal tells whether routers would be told the same.
func (a Attributes) Equal(b Attributes) bool {
	return a.LocalPref == b.LocalPref && a.Weighted == b.Weighted &&
		slices.Equal(a.Communities, b.Communities) && slices.Equal(a.LargeCommunities, b.LargeCommunities)
}
