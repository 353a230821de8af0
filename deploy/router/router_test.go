package router_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

func TestMain(m *testing.M) { world.Main(m.Run) }

// frrText announces two prefixes to BIRD; birdText takes and forwards them.
const frrText = `hostname frr
router bgp 65000
 bgp router-id 10.255.0.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.0.0.2 remote-as external
 neighbor 10.0.0.2 timers 3 9
 neighbor 10.0.0.2 timers connect 1
 address-family ipv4 unicast
  network 192.0.2.1/32
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.0.0.2 activate
  network 2001:db8::1/128
 exit-address-family
exit
`

const birdText = `router id 10.255.0.2;
protocol device { }
protocol kernel k4 { merge paths yes limit 16; ipv4 { import none; export all; }; }
protocol kernel k6 { merge paths yes limit 16; ipv6 { import none; export all; }; }
protocol static s4 { ipv4; route 198.51.100.1/32 blackhole; }
protocol bgp frr {
	local as 65001;
	neighbor 10.0.0.1 as 65000;
	hold time 9; keepalive time 3; connect retry time 1; connect delay time 1; error wait time 1, 5;
	ipv4 { import all; export where source = RTS_STATIC; };
	ipv6 { import all; export none; };
}
`

// pair makes two namespaces with a cable between them, .1 and .2.
func pair(t *testing.T) (a, b string) {
	t.Helper()
	router.Require(t)
	name := strings.ToLower(t.Name())
	a, b = name+"-a", name+"-b"
	for _, ns := range []string{a, b} {
		must(t, world.AddNamespace(ns))
		t.Cleanup(func() { must(t, world.IP("", "netns del "+ns)) })
		must(t, world.Within(ns, func() error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
		}))
	}
	must(t, world.AddCable(a, "eth1", b, "eth1"))
	for i, ns := range []string{a, b} {
		must(t, world.IP(ns, fmt.Sprintf("addr add 10.0.0.%d/30 dev eth1", i+1), fmt.Sprintf("addr add fd00::%d/64 dev eth1 nodad", i+1)))
	}
	return a, b
}

func startFRR(t *testing.T, ns, config string, daemons ...string) *router.Router {
	t.Helper()
	return router.Started(t)(router.StartFRR(bounded(t), ns, ns, config, daemons...))
}

func startBIRD(t *testing.T, ns, config string) *router.Router {
	t.Helper()
	return router.Started(t)(router.StartBIRD(bounded(t), ns, ns, config))
}

func TestFRRAndBIRDExchangeRoutes(t *testing.T) {
	a, b := pair(t)
	f, g := startFRR(t, a, frrText), startBIRD(t, b, birdText)

	eth1 := func(addr string) []router.NextHop {
		return []router.NextHop{{Addr: netip.MustParseAddr(addr), Interface: "eth1", Weight: 1}}
	}
	waitHops(t, g, "192.0.2.1/32", eth1("10.0.0.1"))
	waitHops(t, f, "198.51.100.1/32", eth1("10.0.0.2"))
	linkLocal := linkLocalOf(t, a)
	waitFor(t, "the IPv6 route", func() error {
		hops, err := g.NextHops(netip.MustParsePrefix("2001:db8::1/128"))
		if err == nil && (len(hops) != 1 || hops[0].Addr != netip.MustParseAddr("fd00::1") && hops[0].Addr != linkLocal) {
			err = fmt.Errorf("next hops %v", hops)
		}
		return err
	})

	var summary struct {
		IPv4Unicast struct {
			Peers map[string]struct{ State string }
		}
	}
	must(t, f.JSON("show bgp summary json", &summary))
	if p := summary.IPv4Unicast.Peers["10.0.0.2"]; p.State != "Established" {
		t.Errorf("FRR's view of BIRD: %+v", summary)
	}
	out, err := g.Show("show protocols frr")
	if err != nil || !strings.Contains(string(out), "Established") || strings.Contains(string(out), "ready.") {
		t.Errorf("BIRD's view of FRR: %v: %s", err, out)
	}

	// What is configured later counts.
	must(t, f.Configure("router bgp 65000\naddress-family ipv4 unicast\nnetwork 192.0.2.2/32\nno network 192.0.2.1/32\n"))
	waitHops(t, g, "192.0.2.2/32", eth1("10.0.0.1"))
	waitHops(t, g, "192.0.2.1/32", nil)
	must(t, g.Configure(strings.ReplaceAll(birdText, "198.51.100.1/32", "198.51.100.2/32")))
	waitHops(t, f, "198.51.100.2/32", eth1("10.0.0.2"))
	waitHops(t, f, "198.51.100.1/32", nil)
}

// A route whose next hops change is there all the time: what the lab counts as lost was
// not lost by the router.
func TestRoutesAreReplacedInOneStep(t *testing.T) {
	a, b := pair(t)
	const prefix = "2001:db8:9::/64"
	texts := [][2]string{
		{"ipv6 route " + prefix + " fd00::7\nipv6 route " + prefix + " fd00::8\n", "no ipv6 route " + prefix + " fd00::8\n"},
		{birdText + "protocol static nine { ipv6; route " + prefix + " via fd00::7 via fd00::8; }\n",
			birdText + "protocol static nine { ipv6; route " + prefix + " via fd00::7; }\n"},
	}
	for i, r := range []*router.Router{startFRR(t, a, texts[0][0], "staticd"), startBIRD(t, b, texts[1][0])} {
		both := []router.NextHop{
			{Addr: netip.MustParseAddr("fd00::7"), Interface: "eth1", Weight: 1},
			{Addr: netip.MustParseAddr("fd00::8"), Interface: "eth1", Weight: 1}}
		waitHops(t, r, prefix, both)
		changes, done := make(chan netlink.RouteUpdate, 16), make(chan struct{})
		must(t, world.Within(r.Namespace(), func() error { return netlink.RouteSubscribe(changes, done) }))
		must(t, r.Configure(texts[i][1]))
		waitHops(t, r, prefix, both[:1])
		must(t, world.IP(r.Namespace(), "route add 2001:db8:a::/64 dev eth1")) // the end of what is to be read
		for c := range changes {
			if dst := fmt.Sprint(c.Dst); dst == "2001:db8:a::/64" {
				break
			} else if dst == prefix && c.Type == syscall.RTM_DELROUTE {
				t.Errorf("%s deleted the route before it added it again", r.Name())
			}
		}
		close(done)
	}
}

// Sessions are seen come and go, and those that never come up are seen too.
func TestSessions(t *testing.T) {
	a, b := pair(t)
	f := startFRR(t, a, frrText+`router bgp 65000
 neighbor 10.0.0.2 bfd
 neighbor 10.0.0.6 remote-as external
 neighbor fd00::2 remote-as external
 neighbor eth1 interface remote-as external
`)
	g := startBIRD(t, b, strings.Replace(birdText, "hold time 9;", "hold time 9; bfd on;", 1)+`
protocol bfd { accept direct; }
protocol bgp silent { local as 65001; neighbor 10.0.0.9 external; bfd on; ipv4 { import all; export none; }; }
`)
	ours, theirs := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	is := func(what string, ask func() (map[netip.Addr]bool, error), want map[netip.Addr]bool) {
		t.Helper()
		waitFor(t, what, func() error {
			got, err := ask()
			if err == nil && !maps.Equal(got, want) {
				err = fmt.Errorf("%v, want %v", got, want)
			}
			return err
		})
	}
	states := func(up bool, who netip.Addr, others ...string) map[netip.Addr]bool {
		all := map[netip.Addr]bool{who: up}
		for _, o := range others {
			all[netip.MustParseAddr(o)] = false
		}
		return all
	}
	is("FRR's BGP up", f.BGP, states(true, theirs, "10.0.0.6", "fd00::2"))
	is("BIRD's BGP up", g.BGP, states(true, ours, "10.0.0.9"))
	is("FRR's BFD up", f.BFD, states(true, theirs))
	is("BIRD's BFD up", g.BFD, states(true, ours))
	must(t, g.Stop())
	is("FRR's BGP down", f.BGP, states(false, theirs, "10.0.0.6", "fd00::2"))
	is("FRR's BFD down", f.BFD, states(false, theirs))
}

// Invariant 2.
func TestWrongConfigurationsAreRefused(t *testing.T) {
	a, b := pair(t)
	for name, start := range map[string]func(text string) (*router.Router, error){
		"frr":  func(text string) (*router.Router, error) { return router.StartFRR(bounded(t), a, a, frrText+text) },
		"bird": func(text string) (*router.Router, error) { return router.StartBIRD(bounded(t), b, b, birdText+text) },
	} {
		r, err := start("nonsense 7\n")
		if err == nil || !strings.Contains(err.Error(), "nonsense") && !strings.Contains(err.Error(), "syntax error") {
			t.Errorf("%s: error %v, want one that tells of the line", name, err)
		}
		if r != nil {
			t.Errorf("%s: a router that was not started", name)
		}
		if r, err = start(""); err != nil {
			t.Errorf("%s: nothing may be left of what was refused: %v", name, err)
			continue
		}
		if err := r.Configure("nonsense 7\n"); err == nil {
			t.Errorf("%s: configured nonsense", name)
		}
		if _, err := r.Show("nonsense"); err == nil {
			t.Errorf("%s: answered nonsense", name)
		}
		must(t, r.Kill())
	}
	// BIRD knows no partial configuration, FRR refuses a line in its context.
	f := startFRR(t, a, frrText)
	if err := f.Configure("router bgp 65000\nneighbor 10.0.0.9 peer-group NOSUCH\n"); err == nil {
		t.Error("FRR took a peer group that is not there")
	}
}

func TestNamesAreRefused(t *testing.T) {
	router.Require(t)
	for _, name := range []string{"", ".", "a/b", "..", strings.Repeat("x", 41)} {
		if _, err := router.StartBIRD(bounded(t), "", name, ""); err == nil {
			t.Errorf("name %q taken", name)
		}
	}
	for _, d := range []string{"", "nosuchd"} {
		if _, err := router.StartFRR(bounded(t), "", "x", "", d); err == nil {
			t.Errorf("daemon %q started", d)
		}
	}
}

func TestNextHops(t *testing.T) {
	a, _ := pair(t)
	must(t, world.IP(a, "link add eth2 type veth peer name eth3", "link set eth2 up", "link set eth3 up",
		"addr add 10.0.1.1/24 dev eth2", "addr add fd01::1/64 dev eth2 nodad",
		"route add 192.0.2.0/24 via 10.0.0.2",
		"route add 192.0.2.1/32 nexthop via 10.0.1.2 weight 3 nexthop via 10.0.0.2",
		"route add 192.0.2.2/32 dev eth1",
		"route add 192.0.2.3/32 via inet6 fe80::7 dev eth1",
		"route add blackhole 192.0.2.4/32",
		"route add 192.0.2.5/32 via 10.0.0.2 metric 20", "route add 192.0.2.5/32 via 10.0.1.2 metric 10",
		"route add default via 10.0.0.2",
		"route add 2001:db8::1/128 nexthop via fd01::2 nexthop via fe80::8 dev eth1",
		"route add 2001:db8::2/128 via fd00::2"))
	hop := func(addr, dev string, weight int) router.NextHop {
		ip, _ := netip.ParseAddr(addr) // none: on the link
		return router.NextHop{Addr: ip, Interface: dev, Weight: weight}
	}
	for prefix, want := range map[string][]router.NextHop{
		"192.0.2.0/24":    {hop("10.0.0.2", "eth1", 1)},
		"192.0.2.1/32":    {hop("10.0.0.2", "eth1", 1), hop("10.0.1.2", "eth2", 3)},
		"192.0.2.2/32":    {hop("", "eth1", 1)},
		"192.0.2.3/32":    {hop("fe80::7", "eth1", 1)},
		"192.0.2.4/32":    nil,
		"192.0.2.5/32":    {hop("10.0.1.2", "eth2", 1)},
		"192.0.2.6/32":    nil, // the /24 is no route of its own
		"192.0.2.0/25":    nil,
		"0.0.0.0/0":       {hop("10.0.0.2", "eth1", 1)},
		"2001:db8::1/128": {hop("fd01::2", "eth2", 1), hop("fe80::8", "eth1", 1)},
		"2001:db8::2/128": {hop("fd00::2", "eth1", 1)},
		"2001:db8::3/128": nil,
		"::/0":            nil,
	} {
		for _, ns := range []string{a, "/run/netns/" + a} {
			if got, err := router.NextHops(ns, netip.MustParsePrefix(prefix)); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v; want %v", prefix, got, err, want)
			}
		}
	}
	if _, err := router.NextHops("nosuch", netip.MustParsePrefix("192.0.2.0/24")); err == nil {
		t.Error("read the routes of a namespace that is not there")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is what a slow machine may need for what takes a second or two.
const patience = 40 * time.Second

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func waitFor(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

func waitHops(t *testing.T, r *router.Router, prefix string, want []router.NextHop) {
	t.Helper()
	waitFor(t, r.Name()+"'s route to "+prefix, func() error {
		hops, err := r.NextHops(netip.MustParsePrefix(prefix))
		if err == nil && !slices.Equal(hops, want) {
			err = fmt.Errorf("next hops %v, want %v", hops, want)
		}
		return err
	})
}

func waitRoute(t *testing.T, r *router.Router, prefix string) {
	t.Helper()
	waitFor(t, r.Name()+"'s route to "+prefix, func() error {
		hops, err := r.NextHops(netip.MustParsePrefix(prefix))
		if err == nil && len(hops) != 1 {
			err = fmt.Errorf("next hops %v", hops)
		}
		return err
	})
}

func linkLocalOf(t *testing.T, ns string) (addr netip.Addr) {
	t.Helper()
	out, err := world.Command(ns, "ip", "-6", "-o", "addr", "show", "dev", "eth1", "scope", "link").Output()
	must(t, err)
	for _, f := range strings.Fields(string(out)) {
		if p, err := netip.ParsePrefix(f); err == nil {
			addr = p.Addr()
		}
	}
	return addr
}
