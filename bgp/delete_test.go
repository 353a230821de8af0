package bgp

import (
	"errors"
	"testing"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// A peer that is taken away while its session comes up is told so, leaves nothing
// behind, and may come back.
func TestTakenAwayWhileItComesUp(t *testing.T) {
	t.Parallel()
	for _, stage := range []struct {
		state State
		reach func(*line)
	}{
		{OpenSent, func(l *line) { l.hearKind(packet.BGP_MSG_OPEN) }},
		{OpenConfirm, func(l *line) {
			l.say(fakeOpen().message())
			l.hearKind(packet.BGP_MSG_KEEPALIVE)
		}},
	} {
		t.Run(stage.state.String(), func(t *testing.T) {
			t.Parallel()
			f := newFake(t, "")
			n := run(t, Config{})
			p := f.peer()
			n.Set(nil, []Peer{p})
			l := f.accept()
			stage.reach(l)
			n.waitState(p.Name, stage.state)
			n.Set(nil, nil)
			if note := l.hearEnd(); note == nil || note.code != packet.BGP_ERROR_CEASE || note.subcode != packet.BGP_ERROR_SUB_PEER_DECONFIGURED {
				t.Errorf("the router was told %v", note)
			}
			waitFor(t, "nothing to be left", func() error {
				if len(n.Status()) > 0 {
					return errors.New("the peer is in the status")
				}
				return nil
			})
			n.Set(nil, []Peer{p})
			f.accept().establish(fakeOpen())
			n.waitState(p.Name, Established)
		})
	}
}
