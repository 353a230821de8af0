package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// What becomes of a session when its peer's configuration changes (invariant 3).
const (
	stays   = "stays"
	pending = "stays, and the change waits for the next session"
	silence = "ends in silence"
	ceases  = "ends with Cease"
)

func TestEdits(t *testing.T) {
	source := func(p *Peer) { p.Source = p.Address.Next() } // which the kernel has chosen before
	identifier := func(p *Peer) { p.RouterID = netip.MustParseAddr("10.9.9.10") }
	withoutRestart := func(p *Peer) { p.GracefulRestart = false }
	then := func(changes ...func(*Peer)) []func(*Peer) { return changes }
	for _, row := range []struct {
		name    string
		changes []func(*Peer) // one after another
		gr      bool          // of the router
		want    string
	}{
		{"hold time", then(func(p *Peer) { p.HoldTime = 6 * time.Second }), true, pending},
		{"keepalive", then(func(p *Peer) { p.Keepalive = time.Second }), true, pending},
		{"keepalive that changes nothing", then(func(p *Peer) { p.Keepalive = time.Minute }), true, stays},
		{"restart time", then(func(p *Peer) { p.RestartTime = time.Minute }), false, pending},
		{"graceful restart", then(withoutRestart), true, pending},
		{"identifier", then(identifier), true, pending},
		{"hold time, and back", then(func(p *Peer) { p.HoldTime = 6 * time.Second }, func(p *Peer) { p.HoldTime = 9 * time.Second }), true, stays},
		{"connect time", then(func(p *Peer) { p.Connect = time.Minute }), true, stays},
		{"multihop", then(func(p *Peer) { p.Multihop = true }), true, stays},
		{"TTL security", then(func(p *Peer) { p.TTLSecurity = true }), true, silence},
		{"source", then(source), true, silence},
		{"source and hold time", then(func(p *Peer) { source(p); p.HoldTime = 6 * time.Second }), true, silence},
		{"source, without graceful restart there", then(source), false, ceases},
		{"source and no graceful restart", then(func(p *Peer) { source(p); withoutRestart(p) }), true, ceases},
		{"no graceful restart, then source", then(withoutRestart, source), true, ceases},
		{"identifier, then source", then(identifier, source), true, ceases},
		{"AS", then(func(p *Peer) { p.MyAS++ }), true, ceases},
		{"the router's AS", then(func(p *Peer) { p.PeerAS, p.External = 0, true }), true, ceases},
		{"families", then(func(p *Peer) { p.IPv6 = true }), true, ceases},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, "")
			n := run(t, Config{})
			p := f.peer(func(p *Peer) { p.GracefulRestart = true })
			router := fakeOpen(func(o *open) { o.GracefulRestart, o.Families = row.gr, [families]bool{true, true} })
			prefixes := []Prefix{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, {Prefix: netip.MustParsePrefix("192.0.2.2/32")}}
			n.Set(prefixes[:1], []Peer{p})
			l := f.accept()
			l.establish(router)
			n.waitState(p.Name, Established)
			for _, change := range row.changes {
				change(&p)
				n.Set(prefixes[:1], []Peer{p})
				waitTaken(t, n, p)
			}
			if row.want == stays || row.want == pending {
				n.Set(prefixes, []Peer{p})
				m := newModel()
				for len(m.routes) < len(prefixes) {
					must(t, m.apply(l.hearKind(packet.BGP_MSG_UPDATE)))
				}
				if s := n.status(p.Name); s.Ups != 1 || s.Downs != 0 || s.Pending != (row.want == pending) {
					t.Errorf("status %+v", s)
				}
				l.c.Close()
				l.again(f, n, p, router, false)
				return
			}
			note := l.hearEnd()
			if row.want == silence && note != nil || row.want == ceases && (note == nil ||
				note.code != packet.BGP_ERROR_CEASE || note.subcode != packet.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE) {
				t.Errorf("it ends with NOTIFICATION %v, want: it %s", note, row.want)
			}
			l = l.again(f, n, p, router, row.want == silence)
			l.c.Close()
			l.again(f, n, p, router, false) // that was not meant
		})
	}
}

// again is the next session, whose OPEN says that we have restarted or not.
func (l *line) again(f *fake, n *node, p Peer, router open, restarting bool) *line {
	l.t.Helper()
	before := n.status(p.Name).Ups
	next := f.accept()
	next.say(router.message())
	o, note := parseOpen(next.hearKind(packet.BGP_MSG_OPEN)[headerLen:])
	if note != nil || o.Restarting != restarting || o.Hold != p.HoldTime || o.GracefulRestart != p.GracefulRestart {
		l.t.Errorf("the next OPEN says %+v, %v; want the R bit: %t", o, note, restarting)
	}
	next.say(keepalive)
	waitFor(l.t, "the next session", func() error {
		if s := n.status(p.Name); s.State != Established || s.Ups != before+1 || s.Pending {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	return next
}

// waitTaken waits until a peer's goroutine has looked at what is wanted.
func waitTaken(t *testing.T, n *node, p Peer) {
	t.Helper()
	waitFor(t, "the change to be looked at", func() error {
		seen := make(chan bool, 1)
		n.Advertiser.mu.Lock()
		peer := n.peers[p.Name]
		n.Advertiser.mu.Unlock()
		if peer.post(func() { seen <- peer.is == p }) && <-seen {
			return nil
		}
		return fmt.Errorf("it is not")
	})
}
