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
	if p.want.BFD == nil {
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
		p.mu.Lock()
		p.bfd = c
		p.mu.Unlock()
		switch {
		case dead(c):
			go p.lose(c.Reason)
		case c.To == bfd.Up:
			go p.rise()
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

// rise makes the next attempt at once: the router is there.
func (p *peer) rise() {
	p.post(func() { p.carryOut(p.machine.hurry(time.Now(), p.bfdWait(), "BFD is up")) })
}

const (
	// firstWord is how long BFD may take to come up before BGP is tried without
	// it. A router that goes down when the new session speaks takes four packets;
	// one that does not (FRR) takes its detection time; one that makes its session
	// when BGP comes up, or none, is kept waiting for nothing.
	firstWord, longestWord = 3 * time.Second, 30 * time.Second
	// hearsay is how long it may take until the router's BGP has been told what
	// its BFD knows: in FRR by way of a third process.
	hearsay = 500 * time.Millisecond
)

// bfdWait is how long the next attempt must wait for BFD. A router that keeps
// routes for us may have BFD up still, with the session that ended silently. When
// that goes down, a BGP session that is established ends, and graceful restart
// does not cover it; while there is none it costs nothing. BFD that is up with us
// has that behind it (RFC 5880 §6.8.6).
func (p *peer) bfdWait() time.Duration {
	if !p.resuming || p.is.BFD == nil {
		return 0
	}
	s, _ := p.wantedBFD() // none while the router is not known
	p.mu.Lock()
	c := p.bfd
	p.mu.Unlock()
	if c.To == bfd.Up && c.Session.Key() == s.Key() && c.Session.Local == s.Local.Unmap().WithZone("") {
		return max(time.Until(c.At.Add(hearsay)), 0)
	}
	return max(firstWord, min(p.is.BFD.Detection()+hearsay, longestWord))
}
