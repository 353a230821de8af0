package speaker

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
	"holdfast.dev/holdfast/layer2"
)

// A teller looks at one peer, and checks what is said of it.
type teller struct {
	t   *testing.T
	r   rapporteur
	now time.Time
}

func (l *teller) says(when string, st bgp.PeerStatus, want ...string) {
	l.t.Helper()
	st.Name = "tor1"
	got := []string{}
	for _, n := range l.r.look(l.now, []bgp.PeerStatus{st}) {
		got = append(got, string(n.Change)+": "+n.Reason)
	}
	if !slices.Equal(got, want) && len(got)+len(want) > 0 {
		l.t.Errorf("%s, says %q; want %q", when, got, want)
	}
}

func TestSessionsAreSaidOnceEach(t *testing.T) {
	l := teller{t, rapporteur{}, epoch}
	l.says("at first", bgp.PeerStatus{State: bgp.Connect, Reason: "first attempt"})
	refused := bgp.PeerStatus{State: bgp.Active, LastError: "connection refused"}
	l.says("when it is refused", refused, "failing: connection refused")
	l.says("when it is tried again", bgp.PeerStatus{State: bgp.Connect, LastError: "connection refused"})
	l.says("when it is refused again", refused)
	l.says("for another reason", bgp.PeerStatus{State: bgp.Active, LastError: "no route to host"}, "failing: no route to host")
	l.says("for the first one again", refused)
	up := bgp.PeerStatus{State: bgp.Established, Established: l.now, Ups: 1, LastError: "connection refused"}
	l.says("while it comes up", bgp.PeerStatus{State: bgp.OpenConfirm, Ups: 1, LastError: "another reason"})
	l.says("when it is up", up, "up: ")
	l.says("and stays", up)
	up.Problem = "eth0 has no global IPv6 address"
	l.says("with a problem", up, "incomplete: eth0 has no global IPv6 address")
	l.says("which stays", up)

	l.now = l.now.Add(time.Hour)
	l.says("when it is lost", bgp.PeerStatus{State: bgp.Active, Ups: 1, Downs: 1, LastError: "hold timer expired"}, "down: hold timer expired")
	l.says("when it is refused after that", bgp.PeerStatus{State: bgp.Active, Ups: 1, Downs: 1, LastError: "connection refused"}, "failing: connection refused")
	up.Ups, up.Downs = 3, 2
	l.says("when it has come and gone, and come", up, "down: connection refused", "up: ", "incomplete: eth0 has no global IPv6 address")
	l.r.look(l.now, nil)
	if len(l.r) > 0 {
		t.Error("a peer that is gone is not forgotten")
	}
}

// A session that flaps for hours does not fill the API with Events, and what it has
// come to is said in the end.
func TestFlappingSessionIsSaidSeldom(t *testing.T) {
	l := teller{t, rapporteur{}, epoch}
	said, st := 0, bgp.PeerStatus{Name: "tor1"}
	for range 3600 {
		l.now = l.now.Add(time.Second)
		if st.State == bgp.Established {
			st.State, st.Downs, st.LastError = bgp.Active, st.Downs+1, "the router closed the session"
		} else {
			st.State, st.Ups = bgp.Established, st.Ups+1
		}
		said += len(l.r.look(l.now, []bgp.PeerStatus{st}))
	}
	if said < 60 || said > 70 {
		t.Errorf("said %d things of an hour", said)
	}
	l.now = l.now.Add(time.Hour)
	st.State, st.Ups, st.Downs, st.LastError = bgp.Established, 5000, 4999, "it was cut off"
	l.says("after that", st, "down: it was cut off", "up: ")
}

func TestBFDThatFailsIsSaid(t *testing.T) {
	l := teller{t, rapporteur{}, epoch}
	st := bgp.PeerStatus{State: bgp.Established, Established: l.now, Ups: 1}
	st.BFD = &bfd.Status{State: bfd.Down, Since: l.now, Reason: "new"}
	l.says("at first", st, "up: ")
	l.now = l.now.Add(bfdWithin)
	l.says("when it does not come up", st, "bfd: it is Down while BGP is established (new): is BFD configured on the router, for this node's address?")
	l.says("and stays so", st)
	st.BFD = &bfd.Status{State: bfd.Down, Trouble: "UDP port 3784 is taken"}
	l.says("when it cannot", st, "bfd: UDP port 3784 is taken")
	st.BFD = &bfd.Status{State: bfd.Up}
	l.says("when it works", st)
	st.BFD = &bfd.Status{State: bfd.Down, Trouble: "UDP port 3784 is taken"}
	l.says("when it cannot again", st, "bfd: UDP port 3784 is taken")
}

// A Speaker tells what bgp says has changed, and what it does not say within seconds.
func TestSpeakerTellsOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var heard []SessionNotice
		told := &scribe{}
		var config bgp.Config
		s := New(Config{
			Node: "a",
			BGP:  func(c bgp.Config) Advertiser { config = c; return told },
			Wire: func(layer2.Config) Wire { return noWire{} },
			Session: func(n SessionNotice) {
				mu.Lock()
				defer mu.Unlock()
				heard = append(heard, n)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { s.watchSessions(ctx) })
		stands := func(st bgp.PeerStatus) {
			told.mu.Lock()
			defer told.mu.Unlock()
			told.status = []bgp.PeerStatus{st}
		}
		hears := func(when string, want ...SessionNotice) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(heard, want) {
				t.Errorf("%s, told %+v; want %+v", when, heard, want)
			}
			heard = nil
		}
		synctest.Wait()
		router := netip.MustParseAddr("10.0.0.1")
		st := bgp.PeerStatus{Name: "tor1", State: bgp.Established, Ups: 1, Address: router, RemoteAS: 64501}
		stands(st)
		for range 1000 { // nobody waits
			config.Changed(bgp.Event{Peer: "tor1", To: bgp.Established})
		}
		time.Sleep(time.Second)
		hears("when a session has come up", SessionNotice{Peer: "tor1", Change: SessionUp, Router: router, AS: 64501})
		st.Problem = "no IPv6"
		stands(st)
		time.Sleep(sessionsEvery)
		hears("of what bgp does not tell", SessionNotice{"tor1", SessionIncomplete, router, 64501, "no IPv6"})
		cancel()
		done.Wait()
	})
}

// How sessions stand can be asked of a Speaker whose loop does not turn, and comes with
// what the BGPPeer says of the router.
func TestPeersAreToldWithoutTheLoop(t *testing.T) {
	still := New(Config{Node: "a", BGP: func(bgp.Config) Advertiser { return &scribe{} }, Wire: func(layer2.Config) Wire { return noWire{} }})
	if got := still.Peers(); len(got) > 0 {
		t.Errorf("before anything: %+v", got)
	}
	routing(t, func(t *testing.T, s *Speaker, told *scribe) {
		told.status = []bgp.PeerStatus{{Name: "t0"}, {Name: "t1"}}
		peers := sessions("t0", "t1")
		peers[1].Port, peers[1].VRF, peers[1].Interface = 1179, "red", "eth1"
		s.SetSessions(peers)
		synctest.Wait()
		if got := s.Peers(); len(got) != 2 || got[1].Port != 1179 || got[1].VRF != "red" || got[1].Interface != "eth1" || got[1].Name != "t1" {
			t.Errorf("%+v", got)
		}
	})
}
