package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

// A rack is an FRR that takes what two speakers tell it, one after the other: this
// process, and another FRR. Each has as many sessions with it as asked for, over one
// cable and an address for each.
type rack struct {
	tor      *router.Router
	sessions int
}

// The addresses of session i: ours, FRR's, and the router's.
func ourEnd(i int) netip.Addr    { return netip.AddrFrom4([4]byte{10, 9, 1, byte(i + 1)}) }
func frrEnd(i int) netip.Addr    { return netip.AddrFrom4([4]byte{10, 9, 2, byte(i + 1)}) }
func routerEnd(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, 3, byte(i + 1)}) }

const rackNS, frrSpeakerNS = "rack", "rackfrr"

// newRack lays the cables, over a bridge at the router, and starts it.
func newRack(b *testing.B, sessions int) rack {
	addRouterNamespace(b, rackNS)
	addRouterNamespace(b, frrSpeakerNS)
	must(b, world.IP(rackNS, "link add br0 type bridge", "link set br0 up"))
	for _, end := range []struct {
		ns, port string
		addr     func(int) netip.Addr
	}{{"", "rack0", ourEnd}, {frrSpeakerNS, "rack1", frrEnd}} {
		must(b, world.AddCable(end.ns, "eth-rack", rackNS, end.port))
		must(b, world.IP(rackNS, "link set "+end.port+" master br0"))
		for i := range sessions {
			must(b, world.IP(end.ns, fmt.Sprintf("addr add %s/16 dev eth-rack", end.addr(i))))
		}
	}
	b.Cleanup(func() { must(b, world.IP("", "link del eth-rack")) })
	var config strings.Builder
	config.WriteString("router bgp 65000\n bgp router-id 10.255.0.1\n no bgp ebgp-requires-policy\n")
	for i := range sessions {
		must(b, world.IP(rackNS, fmt.Sprintf("addr add %s/16 dev br0", routerEnd(i))))
		for _, theirs := range []netip.Addr{ourEnd(i), frrEnd(i)} {
			fmt.Fprintf(&config, " neighbor %s remote-as external\n neighbor %s passive\n neighbor %s update-source %s\n", theirs, theirs, theirs, routerEnd(i))
		}
	}
	tor := router.Started(b)(router.StartFRR(context.Background(), rackNS, rackNS, config.String()))
	return rack{tor, sessions}
}

// waitTold waits until the router has as many prefixes of each session.
func (r rack) waitTold(b *testing.B, from func(int) netip.Addr, prefixes int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for {
		var answer struct {
			Peers map[string]struct {
				State  string
				PfxRcd int
			}
		}
		must(b, r.tor.JSON("show bgp ipv4 unicast summary json", &answer))
		told := 0
		for i := range r.sessions {
			if p := answer.Peers[from(i).String()]; p.State == "Established" && p.PfxRcd == prefixes {
				told++
			}
		}
		if told == r.sessions {
			return
		}
		if ctx.Err() != nil {
			b.Fatalf("%d of %d sessions have told %d prefixes", told, r.sessions, prefixes)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// How long from the moment at which a speaker is given its prefixes, its sessions
// being up, until a router has them in its table from each session; and the memory
// that they cost the speaker: ours, and for comparison FRR's bgpd.
func BenchmarkRouterTable(b *testing.B) {
	for _, size := range []struct{ prefixes, sessions int }{{10_000, 2}, {1_000, 64}} {
		b.Run(fmt.Sprintf("prefixes=%d/peers=%d/speaker=holdfast", size.prefixes, size.sessions), func(b *testing.B) {
			r := newRack(b, size.sessions)
			var peers []Peer
			for i := range size.sessions {
				peers = append(peers, Peer{Name: fmt.Sprint("p", i), Address: routerEnd(i), Source: ourEnd(i), MyAS: ourAS, PeerAS: routerAS, IPv4: true,
					HoldTime: 90 * time.Second, Connect: time.Second})
			}
			resident := func() (int64, error) { debug.FreeOSMemory(); return router.Resident(os.Getpid()) }
			r.measure(b, ourEnd, size.prefixes, resident, func(n *node) func(bool) {
				prefixes := benchPrefixes(size.prefixes)
				n.Set(nil, peers)
				return func(all bool) {
					if all {
						n.Set(prefixes, peers)
					} else {
						n.Set(nil, peers)
					}
				}
			}(run(b, Config{})))
		})
		b.Run(fmt.Sprintf("prefixes=%d/peers=%d/speaker=FRR", size.prefixes, size.sessions), func(b *testing.B) {
			r := newRack(b, size.sessions)
			speaker := router.Started(b)(router.StartFRR(context.Background(), frrSpeakerNS, frrSpeakerNS, speakerConfig(size.prefixes, size.sessions)))
			resident := func() (int64, error) { return speaker.Resident("bgpd") }
			r.measure(b, frrEnd, size.prefixes, resident, func(all bool) {
				word := map[bool]string{true: "permit", false: "deny"}[all]
				must(b, speaker.Configure("ip prefix-list SAID seq 5 "+word+" any"))
				_, err := speaker.Show("clear bgp ipv4 unicast * soft out")
				must(b, err)
			})
		})
	}
}

// measure has everything told and taken back, again and again.
func (r rack) measure(b *testing.B, from func(int) netip.Addr, prefixes int, resident func() (int64, error), tell func(all bool)) {
	r.waitTold(b, from, 0)
	before, err := resident()
	must(b, err)
	var took []time.Duration
	var most int64
	for b.Loop() {
		began := time.Now()
		tell(true)
		r.waitTold(b, from, prefixes)
		took = append(took, time.Since(began))
		after, err := resident()
		must(b, err)
		most = max(most, after)
		tell(false)
		r.waitTold(b, from, 0)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-to-table")
	b.ReportMetric(float64(most)/(1<<20), "MiB")
	b.ReportMetric(float64(most-before)/(1<<20), "MiB-more")
}

// speakerConfig is that of an FRR which has the prefixes, and tells them as far as the
// prefix list SAID permits.
func speakerConfig(prefixes, sessions int) string {
	var c strings.Builder
	c.WriteString("ip prefix-list SAID seq 5 deny any\nrouter bgp " + fmt.Sprint(ourAS) + "\n bgp router-id 10.255.0.2\n no bgp ebgp-requires-policy\n no bgp network import-check\n")
	for i := range sessions {
		fmt.Fprintf(&c, " neighbor %s remote-as external\n neighbor %s update-source %s\n neighbor %s timers connect 1\n", routerEnd(i), routerEnd(i), frrEnd(i), routerEnd(i))
	}
	c.WriteString(" address-family ipv4 unicast\n")
	for i := range sessions {
		fmt.Fprintf(&c, "  neighbor %s prefix-list SAID out\n", routerEnd(i))
	}
	for _, p := range benchPrefixes(prefixes) {
		fmt.Fprintf(&c, "  network %s\n", p.Prefix)
	}
	c.WriteString(" exit-address-family\nexit\n")
	return c.String()
}
