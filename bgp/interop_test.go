package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/router"
)

const (
	routerAS = 65000
	ourAS    = 64512
)

const stop, resume = syscall.SIGSTOP, syscall.SIGCONT

// A row is one way to speak with a router.
type row struct {
	name string
	// lines of FRR's "router bgp", "address-family ipv4 unicast" and "ipv6 unicast"; of
	// BIRD's "protocol bgp", and also other protocols
	bgp, ipv4, ipv6, also string
	peer                  func(c cable) Peer
	config                Config
	check                 func(t *testing.T, r *router.Router, n *node, c cable, p Peer)
	prepare               func(t *testing.T, c cable)
	withoutGlobal6        bool // on the cable
	mayFall               bool // the session ends meanwhile
	collides              bool // both connect, and while the session comes up, each end may decide for another connection
	serial                bool // not beside other rows
}

// plain is the peer that most rows change something of.
func plain(c cable, router netip.Addr) Peer {
	return Peer{Name: "router", Address: router, MyAS: ourAS, PeerAS: routerAS, IPv4: true, IPv6: true,
		HoldTime: 9 * time.Second, Keepalive: 3 * time.Second, Connect: 2 * time.Second}
}

// frrConfig is what FRR is started with.
func frrConfig(cables []cable) string {
	var b, v4, v6 strings.Builder
	add := func(to *strings.Builder, lines string) {
		for line := range strings.Lines(lines) {
			fmt.Fprintf(to, " %s\n", strings.TrimSpace(line))
		}
	}
	for i, row := range frrRows {
		add(&b, cables[i].fill(row.bgp))
		add(&v4, cables[i].fill(row.ipv4))
		add(&v6, cables[i].fill(row.ipv6))
	}
	return fmt.Sprintf(`hostname tor
bfd
 profile fast
  detect-multiplier 3
  receive-interval 100
  transmit-interval 100
 exit
 profile patient
  detect-multiplier 10
  receive-interval 300
  transmit-interval 300
 exit
exit
router bgp %d
 bgp router-id 10.255.0.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp bestpath as-path multipath-relax
 bgp graceful-restart
 timers bgp 3 9
%s address-family ipv4 unicast
%s exit-address-family
 address-family ipv6 unicast
%s exit-address-family
exit
`, routerAS, b.String(), v4.String(), v6.String())
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// layAll lays the cables of the rows, in their order.
func layAll(t *testing.T, ns string, rows []row) []cable {
	addRouterNamespace(t, ns)
	cables := make([]cable, len(rows))
	for i, row := range rows {
		cables[i] = newCable(ns, i+1)
		cables[i].withoutGlobal6 = row.withoutGlobal6
		cables[i].lay(t)
		if row.prepare != nil {
			row.prepare(t, cables[i])
		}
	}
	return cables
}

func TestFRR(t *testing.T) {
	t.Parallel()
	cables := layAll(t, frrNS, frrRows)
	r := router.Started(t)(router.StartFRR(bounded(t), frrNS, frrNS, frrConfig(cables)))
	runRows(t, r, frrRows, cables)
}

// bfdPort is held by the row whose Advertiser has BFD sessions: it listens on one
// port for all. For IPv6, and for routers that are further than one hop, it has others.
var bfdPort, bfdPort6, bfdPortMultihop sync.Mutex

func holdPort(t *testing.T, p Peer) {
	port := &bfdPort
	switch {
	case p.BFD == nil:
		return
	case p.Multihop:
		port = &bfdPortMultihop
	case p.Address.Is6():
		port = &bfdPort6
	}
	port.Lock()
	t.Cleanup(port.Unlock)
}

// runRows runs all rows at once: each has its own cable, its own prefixes, and
// its own Advertiser.
func runRows(t *testing.T, r *router.Router, rows []row, cables []cable) {
	t.Run("row", func(t *testing.T) {
		for i, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				if !row.serial {
					t.Parallel()
				}
				p := row.peer(cables[i])
				holdPort(t, p)
				n := run(t, row.config)
				n.Set(cables[i].prefixes(), []Peer{p})
				row.check(t, r, n, cables[i], p)
				why := n.fell()
				if row.collides { // RFC 4271 §6.8: each end decides when it sees the other connection
					why = slices.DeleteFunc(why, func(w string) bool { return strings.Contains(w, "Connection Collision Resolution") })
				}
				if len(why) > 0 && !row.mayFall {
					t.Errorf("the session ended: %q", why)
				}
			})
		}
	})
}
