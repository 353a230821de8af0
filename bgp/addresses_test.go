package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// Peers that look at the same time share a list; who needs it fresh gets it, and
// so do those after him.
func TestAddressesAreShared(t *testing.T) {
	world.Require(t)
	const own = "192.0.2.250"
	synctest.Test(t, func(t *testing.T) {
		var g gazetteer
		expect := func(what string, look func() ([]address, error), want bool) {
			t.Helper()
			all, err := look()
			must(t, err)
			if got := slices.ContainsFunc(all, func(a address) bool { return a.Addr() == netip.MustParseAddr(own) }); got != want {
				t.Errorf("%s: it is there: %t", what, got)
			}
		}
		expect("before", g.recent, false)
		must(t, world.IP("", "addr add "+own+"/32 dev lo"))
		expect("at once", g.recent, false)
		time.Sleep(shareFor)
		expect("a second later", g.recent, true)
		must(t, world.IP("", "addr del "+own+"/32 dev lo"))
		expect("gone, not looked for", g.recent, true)
		expect("gone, looked for", g.fresh, false)
		expect("gone, after somebody looked", g.recent, false)
	})
}
