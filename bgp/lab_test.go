package bgp

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "16") // the rows wait for timers of routers, not for the CPU
	world.Main(m.Run)
}

// The lab is one FRR and one BIRD, each in a namespace of its own. This process
// has a cable to each of them for every row of the tables.
const (
	frrNS  = "tor"
	birdNS = "torb"
)

// A cable is what one row has: an interface here and one at the router.
type cable struct {
	n              int
	here, there    string // names of the interfaces
	our4, their4   netip.Addr
	our6, their6   netip.Addr
	far            netip.Addr // of a router that is more than one hop away
	prefix4        netip.Prefix
	prefix6        netip.Prefix
	routerNS       string
	ourNS          string // of the end that is not the router's
	withoutGlobal6 bool
}

// secondCable and thirdCable are between the numbers of a row's cable and those of others
// that it may have.
const secondCable, thirdCable = 100, 200

func (c cable) second() cable { return newCable(c.routerNS, c.n+secondCable) }
func (c cable) third() cable  { return newCable(c.routerNS, c.n+thirdCable) }

// middle is the namespace between the second and the third cable, if there is one.
func (c cable) middle() string { return "mid" + c.here }

func newCable(ns string, n int) cable {
	c := cable{n: n, routerNS: ns, here: fmt.Sprintf("%s%d", ns[:3], n), there: fmt.Sprintf("eth%d", n)}
	which := 0
	if ns == "fake" {
		which = 2
	}
	if ns == birdNS {
		which, c.here = 1, fmt.Sprintf("brd%d", n)
	}
	addr := func(format string, args ...any) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, args...)) }
	c.their4, c.our4 = addr("10.%d.%d.1", which, n), addr("10.%d.%d.2", which, n)
	c.their6, c.our6 = addr("fd0%d:0:%d::1", which, n), addr("fd0%d:0:%d::2", which, n)
	c.far = addr("10.255.%d.%d", which+1, n)
	c.prefix4 = netip.PrefixFrom(addr("198.51.%d.%d", 100+which, n), 32)
	c.prefix6 = netip.PrefixFrom(addr("2001:db8:%d:%d::1", which, n), 128)
	return c
}

// fill puts the cable's names into text.
func (c cable) fill(text string) string {
	if strings.Contains(text, "{second") || strings.Contains(text, "{third") {
		text = strings.NewReplacer("{second4}", c.second().our4.String(), "{second6}", c.second().our6.String(),
			"{third4}", c.third().our4.String(), "{third6}", c.third().our6.String()).Replace(text)
	}
	return strings.NewReplacer("{our4}", c.our4.String(), "{our6}", c.our6.String(),
		"{their4}", c.their4.String(), "{their6}", c.their6.String(), "{there}", c.there, "{far}", c.far.String(),
		"{n}", fmt.Sprint(c.n)).Replace(text)
}

func (c cable) lay(t testing.TB) {
	must(t, world.AddCable(c.ourNS, c.here, c.routerNS, c.there))
	ours := []string{fmt.Sprintf("addr add %s/30 dev %s", c.our4, c.here)}
	theirs := []string{fmt.Sprintf("addr add %s/30 dev %s", c.their4, c.there)}
	if !c.withoutGlobal6 {
		ours = append(ours, fmt.Sprintf("addr add %s/64 dev %s nodad", c.our6, c.here))
		theirs = append(theirs, fmt.Sprintf("addr add %s/64 dev %s nodad", c.their6, c.there))
	}
	must(t, world.IP(c.ourNS, ours...))
	must(t, world.IP(c.routerNS, theirs...))
}

// linkLocal is the link-local address of an interface, which follows from its
// hardware address.
func (c cable) linkLocal(ns, name string) (a netip.Addr) {
	_ = world.Within(ns, func() error {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		m := ifi.HardwareAddr
		a = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
		return nil
	})
	return a
}

func (c cable) prefixes() []Prefix { return []Prefix{{Prefix: c.prefix4}, {Prefix: c.prefix6}} }

// sysctl sets a kernel variable below /proc/sys/net in a namespace.
func sysctl(t testing.TB, ns, name, value string) {
	t.Helper()
	must(t, world.Within(ns, func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644) }))
}

var quiet sync.Once

// addRouterNamespace makes a namespace for a router that forwards.
func addRouterNamespace(t testing.TB, ns string) {
	router.Require(t)
	quiet.Do(func() {
		sysctl(t, "", "ipv6/conf/default/accept_dad", "0")
		sysctl(t, "", "ipv6/conf/default/accept_ra", "0") // an FRR that knows RFC 8950 sends some
	})
	must(t, world.AddNamespace(ns))
	sysctl(t, ns, "ipv6/conf/default/accept_dad", "0")
	sysctl(t, ns, "ipv4/ip_forward", "1")
	sysctl(t, ns, "ipv6/conf/all/forwarding", "1")
	t.Cleanup(func() { must(t, world.IP("", "netns del "+ns)) })
}

// A node is an Advertiser that runs, and what it told of its sessions.
type node struct {
	*Advertiser
	t    testing.TB
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	events []Event
}

// run starts an Advertiser; it falls silent at the end of the test.
func run(t testing.TB, c Config) *node {
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{t: t, stop: cancel, done: make(chan struct{})}
	if !c.RouterID.IsValid() {
		c.RouterID = netip.MustParseAddr("10.9.9.9")
	}
	if os.Getenv("BGP_TEST_LOG") != "" {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c.Changed = func(e Event) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.events = append(n.events, e)
	}
	n.Advertiser = New(c)
	go func() {
		defer close(n.done)
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(n.end)
	return n
}

// end lets the node's process end, as far as the wire can tell.
func (n *node) end() { n.stop(); <-n.done }

func (n *node) status(name string) PeerStatus {
	for _, s := range n.Status() {
		if s.Name == name {
			return s
		}
	}
	return PeerStatus{}
}

// waitState waits until a session is in a state.
func (n *node) waitState(name string, want State) PeerStatus {
	n.t.Helper()
	var s PeerStatus
	waitFor(n.t, fmt.Sprintf("session %s to be %s", name, want), func() error {
		if s = n.status(name); s.State != want {
			return fmt.Errorf("it is %s: %s; last error: %s", s.State, s.Reason, s.LastError)
		}
		return nil
	})
	return s
}

// fell is why sessions were reported to have left Established.
func (n *node) fell() (why []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if e.From == Established {
			why = append(why, e.Reason)
		}
	}
	return why
}

const patience = 30 * time.Second

func waitFor(t testing.TB, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", patience, what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitRoute waits until the router forwards a prefix to these addresses only;
// none: until it does not know the prefix.
func waitRoute(t testing.TB, r *router.Router, p netip.Prefix, want ...netip.Addr) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s to forward %s to %v", r.Name(), p, want), func() error {
		hops, err := r.NextHops(p)
		if err != nil {
			return err
		}
		if len(hops) != len(want) {
			return fmt.Errorf("it forwards to %v", hops)
		}
		for i, h := range hops {
			if h.Addr != want[i] {
				return fmt.Errorf("it forwards to %v", hops)
			}
		}
		return nil
	})
}

// seen is what has been reported so far.
func (n *node) seen() []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}
