package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"pgregory.net/rapid"
)

var epoch = time.Unix(1_000_000, 0)

func newMachine() *machine {
	p := Peer{MyAS: ourAS, PeerAS: routerAS, IPv4: true, HoldTime: 9 * time.Second, GracefulRestart: true}
	return &machine{
		ours:  func(side) open { return p.offer(netip.MustParseAddr("10.9.9.9"), false, false) },
		agree: p.agree, connect: 8 * time.Second, jitter: func() float64 { return 1 },
	}
}

// play runs a script on a machine: one input a word, time in seconds as +N, and
// ' for the connection that was accepted.
func play(m *machine, script string) (trace []string) {
	now := epoch
	var heard [sides]time.Time
	for word := range strings.FieldsSeq(script) {
		s := dialled
		if w, ok := strings.CutSuffix(word, "'"); ok {
			word, s = w, accepted
		}
		trace = append(trace, show(input(m, word, s, &now, &heard))...)
	}
	return trace
}

func input(m *machine, word string, s side, now *time.Time, heard *[sides]time.Time) []order {
	hear := func(change ...func(*open)) []order {
		return m.received(*now, s, packet.BGP_MSG_OPEN, fakeOpen(change...).message()[headerLen:])
	}
	low := func(o *open) { o.ID = netip.MustParseAddr("10.0.0.1") }
	switch word {
	case "start":
		return m.start(*now, 0)
	case "await":
		return m.start(*now, 3*time.Second)
	case "connected":
		return m.connected(*now, s)
	case "failed":
		return m.dialFailed(*now, "refused")
	case "lost":
		return m.lost(*now, s, nil, "lost")
	case "hurry":
		return m.hurry(*now, 0, "hurry")
	case "heardRA":
		return m.hurry(*now, 3*time.Second, "a router has been heard")
	case "stop":
		return m.stop(*now, shutdown(""), "stop")
	case "restart", "silently":
		if m.stopped {
			return nil
		}
		if word == "silently" {
			return m.restart(*now, nil, 3*time.Second, "restart")
		}
		return m.restart(*now, shutdown(""), 0, "restart")
	case "open":
		return hear(low)
	case "OPEN": // of a router with a higher identifier
		return hear(func(o *open) { o.ID = netip.MustParseAddr("10.99.0.1") })
	case "openGR":
		return hear(low, func(o *open) { o.GracefulRestart = true })
	case "badopen":
		return hear(func(o *open) { o.AS = 1 })
	case "keepalive":
		return m.received(*now, s, packet.BGP_MSG_KEEPALIVE, nil)
	case "update":
		return m.received(*now, s, packet.BGP_MSG_UPDATE, nil)
	case "refresh":
		return m.received(*now, s, packet.BGP_MSG_ROUTE_REFRESH, []byte{0, 1, 0, 1})
	case "cease":
		return m.received(*now, s, packet.BGP_MSG_NOTIFICATION, []byte{6, 2})
	case "heard":
		heard[s] = *now
		return nil
	}
	var seconds int
	if _, err := fmt.Sscanf(word, "+%d", &seconds); err != nil {
		panic(word)
	}
	*now = now.Add(time.Duration(seconds) * time.Second)
	return m.tick(*now, *heard)
}

func show(orders []order) (all []string) {
	names := [...]string{"dial", "cancel", "open", "keepalive", "up", "refresh", "end", "report"}
	for _, o := range orders {
		text := names[o.do]
		if o.side == accepted {
			text += "'"
		}
		if o.do == end && o.note != nil {
			text += fmt.Sprintf("(%d/%d)", o.note.code, o.note.subcode)
		}
		if o.do == report {
			text = o.event.To.String()
		}
		all = append(all, text)
	}
	return all
}

func TestMachine(t *testing.T) {
	const up = "start connected open keepalive"
	for _, row := range []struct{ name, script, want string }{
		{"at once", "start", "dial Connect"},
		{"the whole way", up, "dial Connect open OpenSent keepalive OpenConfirm up Established"},
		{"retries double up to the connect time", "start failed +1 failed +2 failed +4 failed +8 failed +7 +1",
			"dial Connect Active dial Connect Active dial Connect Active dial Connect Active dial Connect Active dial Connect"},
		{"a router that shows up is not waited for", "start failed +1 failed hurry hurry", "dial Connect Active dial Connect Active dial Connect"},
		{"the router connects", "start failed connected' open' keepalive'", "dial Connect Active open' OpenSent keepalive' OpenConfirm up' Established"},
		{"the router connects, an attempt is cancelled", "start connected' open' keepalive'", "dial Connect open' OpenSent keepalive' OpenConfirm cancel up' Established"},
		{"collision, our identifier is higher", "start connected connected' open open'", "dial Connect open OpenSent open' keepalive OpenConfirm end'(6/7)"},
		{"collision, theirs is", "start connected connected' OPEN OPEN'", "dial Connect open OpenSent open' keepalive OpenConfirm end(6/7) keepalive'"},
		{"a second connection beside an established session", up + " connected'", "dial Connect open OpenSent keepalive OpenConfirm up Established end'(6/7)"},
		{"a router that restarts gracefully connects anew", "start connected openGR keepalive connected' openGR' keepalive'",
			"dial Connect open OpenSent keepalive OpenConfirm up Established open' end OpenSent keepalive' OpenConfirm up' Established"},
		{"no OPEN", "start connected +9 +1", "dial Connect open OpenSent end(4/0) Active"},
		{"hold time", up + " +8 heard +8 +1", "dial Connect open OpenSent keepalive OpenConfirm up Established end(4/0) Active"},
		{"no KEEPALIVE", "start connected open +9", "dial Connect open OpenSent keepalive OpenConfirm end(4/0) Active"},
		{"a bad OPEN", "start connected badopen +1", "dial Connect open OpenSent end(2/2) Active dial Connect"},
		{"out of order", "start connected keepalive", "dial Connect open OpenSent end(5/1) Active"},
		{"UPDATE before KEEPALIVE", "start connected open update", "dial Connect open OpenSent keepalive OpenConfirm end(5/2) Active"},
		{"OPEN once established", up + " open", "dial Connect open OpenSent keepalive OpenConfirm up Established end(5/3) Active"},
		{"NOTIFICATION", up + " cease +1", "dial Connect open OpenSent keepalive OpenConfirm up Established end Active dial Connect"},
		{"after a session the first wait is short again", "start failed +1 failed +2 connected open keepalive lost +1",
			"dial Connect Active dial Connect Active dial Connect open OpenSent keepalive OpenConfirm up Established end Active dial Connect"},
		{"refresh", up + " refresh", "dial Connect open OpenSent keepalive OpenConfirm up Established refresh"},
		{"another configuration", up + " restart", "dial Connect open OpenSent keepalive OpenConfirm up Established end(6/2) Idle dial Connect"},
		{"BFD speaks first", "await +2 hurry", "Active dial Connect"},
		{"BFD says nothing", "await +2 +1 failed +1", "Active dial Connect Active dial Connect"},
		{"BFD speaks late", "await +3 hurry", "Active dial Connect"},
		{"BFD is waited for once the router is known", "await +2 heardRA +2 +1", "Active dial Connect"},
		{"BFD speaks first on another session", up + " silently hurry", "dial Connect open OpenSent keepalive OpenConfirm up Established end Idle Active dial Connect"},
		{"stop while BFD is waited for", "await stop hurry +9", "Active Idle"},
		{"stop", up + " stop connected' +100", "dial Connect open OpenSent keepalive OpenConfirm up Established end(6/2) Idle end'"},
		{"stop while connecting", "start stop connected", "dial Connect cancel Idle end"},
	} {
		if got := strings.Join(play(newMachine(), row.script), " "); got != row.want {
			t.Errorf("%s: %s\ngives %s\nwant  %s", row.name, row.script, got, row.want)
		}
	}
}

// allowed are the changes of state of RFC 4271 §8.2.2, for a session that may
// have a connection of each side.
var allowed = map[State][]State{
	Idle:        {Connect, Active},
	Connect:     {Active, OpenSent, Idle},
	Active:      {Connect, OpenSent, Idle},
	OpenSent:    {Active, Connect, OpenConfirm, Idle},
	OpenConfirm: {Active, Connect, OpenSent, Established, Idle},
	Established: {Active, OpenSent, Idle},
}

// broken says what is wrong with a machine after an input, and with its orders.
func broken(m *machine, links map[side]bool, out []order) error {
	if m.links[dialled].state == Established && m.links[accepted].state == Established {
		return fmt.Errorf("two sessions with one router")
	}
	for _, o := range out {
		switch o.do {
		case report:
			if o.event.Reason == "" || !slices.Contains(allowed[o.event.From], o.event.To) {
				return fmt.Errorf("%s to %s: %q", o.event.From, o.event.To, o.event.Reason)
			}
		case end:
			delete(links, o.side)
		case sayOpen, sayAlive, establish, refresh:
			if !links[o.side] {
				return fmt.Errorf("order %d for a connection that there is not", o.do)
			}
		}
	}
	for s, there := range links {
		if there && m.links[s].state == Idle {
			return fmt.Errorf("connection %d is forgotten", s)
		}
	}
	if m.waiting && (m.stopped || m.dialing || len(links) > 0 || m.retryAt.IsZero()) {
		return fmt.Errorf("BFD is waited for beside something else, or for ever")
	}
	if !m.stopped && !m.dialing && len(links) == 0 && m.retryAt.IsZero() {
		return fmt.Errorf("nothing is tried any more")
	}
	return nil
}

// No sequence of inputs makes two sessions, forgets a connection, stops trying,
// or changes a state without a reason.
func TestNeverStuck(t *testing.T) {
	words := strings.Fields("failed connected connected' lost lost' hurry open open' OPEN OPEN' openGR openGR' badopen badopen' keepalive keepalive' update update' refresh cease cease' heard heard' +1 +3 +9 restart silently heardRA stop")
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		links := make(map[side]bool)
		m.start(epoch, rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(t, "wait"))
		now := epoch
		var heard [sides]time.Time
		for range rapid.IntRange(1, 60).Draw(t, "length") {
			word := rapid.SampledFrom(words).Draw(t, "input")
			s := dialled
			if strings.HasSuffix(word, "'") {
				s = accepted
			}
			name := strings.TrimSuffix(word, "'")
			if name == "connected" && (links[s] || m.waiting || s == dialled && !m.dialing) || name == "failed" && !m.dialing {
				continue // the driver never says so
			}
			if name == "connected" {
				links[s] = true
			}
			out := input(m, name, s, &now, &heard)
			if err := broken(m, links, out); err != nil {
				t.Fatalf("after %s: %v", word, err)
			}
		}
	})
}
