package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"holdfast.dev/holdfast/deploy/router"
)

// waitShown waits until BIRD says all of this of a prefix.
func waitShown(t *testing.T, r *router.Router, prefix netip.Prefix, want ...string) {
	t.Helper()
	waitFor(t, "BIRD's route to "+prefix.String(), func() error {
		text, err := r.Show("show route all for " + prefix.String())
		if err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				return fmt.Errorf("no %s in %s", w, text)
			}
		}
		return nil
	})
}

// birdText is what BIRD is started with.
var birdText string

func birdConfig(cables []cable) string {
	var b strings.Builder
	fmt.Fprintf(&b, `router id 10.255.0.2;
protocol device { scan time 10; }
protocol direct { ipv4; ipv6; } # next hops of internal peers are looked up
protocol kernel k4 { merge paths yes limit 16; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel k6 { merge paths yes limit 16; ipv6 { import none; export where source = RTS_BGP; }; }
protocol bfd {
	interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; idle tx interval 1 s; };
	multihop { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; idle tx interval 1 s; };
}
template bgp NODES {
	local as %d;
	hold time 9; keepalive time 3; connect retry time 1; connect delay time 1; error wait time 1, 2;
	graceful restart on; graceful restart time 120;
	ipv4 { import all; export none; extended next hop on; };
	ipv6 { import all; export none; };
}
`, routerAS)
	for i, row := range birdRows {
		fmt.Fprintf(&b, "%s\nprotocol bgp n%d from NODES { %s }\n", cables[i].fill(row.also), i+1, strings.ReplaceAll(cables[i].fill(row.bgp), "{ours}", cables[i].linkLocal("", cables[i].here).String()))
	}
	return b.String()
}

func TestBIRD(t *testing.T) {
	t.Parallel()
	cables := layAll(t, birdNS, birdRows)
	birdText = birdConfig(cables)
	r := router.Started(t)(router.StartBIRD(bounded(t), birdNS, birdNS, birdText))
	runRows(t, r, birdRows, cables)
}
