package bgp

import (
	"time"

	"holdfast.dev/holdfast/bgp/bfd"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// wantedBFD is the BFD session of a peer, if it shall have one and the router's
// address is known.
func (p *peer) wantedBFD() (bfd.Session, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.want.BFD == nil || p.leave != nil {
		return bfd.Session{}, false
	}
	s := bfd.Session{Peer: p.want.Address, Local: p.want.Source, Device: p.want.Device, Multihop: p.want.Multihop, Profile: *p.want.BFD}
	if !s.Peer.IsValid() {
		s.Peer, s.Interface, s.Multihop = p.router, p.want.Interface, false
	}
	return s, s.Peer.IsValid()
}

// bfdChanged is told by BFD.
func (a *Advertiser) bfdChanged(c bfd.Change) {
	byKey := a.byKey.Load()
	if byKey == nil {
		return
	}
	for _, p := range (*byKey)[c.Session.Key()] {
		switch {
		case dead(c):
			go p.lose(c.Reason)
		case c.To == bfd.Up:
			go p.hurry("BFD is up")
		}
	}
}

// dead tells that the router, or the way to it, has failed. A router that says
// Down without a diagnostic has only made its session anew, as FRR does when
// BGP comes up: if there is more to it, the hold timer or a detection time tells.
func dead(c bfd.Change) bool {
	return c.Failed() && (c.Local == bfd.ControlDetectionTimeExpired || c.Remote != bfd.NoDiagnostic)
}

// lose ends a session whose router BFD has found dead. The next attempt is made
// as after any other end: BFD need not be up for it (RFC 5882 §4.1), and where it
// comes up, it comes at once.
func (p *peer) lose(reason string) {
	p.post(func() {
		note := &notification{code: packet.BGP_ERROR_CEASE, subcode: ceaseBFDDown}
		for s := range sides {
			p.carryOut(p.machine.lost(time.Now(), s, note, "BFD has found the router dead: "+reason))
		}
	})
}

// hurry makes the next attempt at once: the router is there.
func (p *peer) hurry(why string) {
	p.post(func() { p.carryOut(p.machine.hurry(time.Now(), why)) })
}
