package speaker

import (
	"holdfast.dev/holdfast/bgp"
)

// A Peer is how a BGP session of this node stands, and where its router is as the
// BGPPeer says.
type Peer struct {
	bgp.PeerStatus
	Interface string // of an unnumbered session, on which the router is looked for
	Port      uint16 // of the router
	VRF       string // name of the VRF device; "": none
}

// Peers returns how the BGP sessions of this node stand, by name. It does not wait for
// the loop that decides: what does not turn must be seen.
func (s *Speaker) Peers() []Peer {
	wanted := map[string]bgp.Peer{}
	if told := s.told.Load(); told != nil {
		for _, p := range *told {
			wanted[p.Name] = p
		}
	}
	all := s.bgp.Status()
	out := make([]Peer, len(all))
	for i, st := range all {
		w := wanted[st.Name]
		out[i] = Peer{PeerStatus: st, Interface: w.Interface, Port: w.Port, VRF: w.Device}
	}
	return out
}
