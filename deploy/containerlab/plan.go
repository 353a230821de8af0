package main

import "net/netip"

// topologies are all that there are, in the order in which they are checked.
var topologies = []string{"two-tor", "unnumbered", "reflector"}

// plans say by topology what is to be seen in it.
var plans = map[string]func(*topology) plan{"two-tor": twoTor, "unnumbered": unnumbered, "reflector": reflector}

// service are the addresses of the Service in each topology.
var service = [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:5::10")}

// A plan says what is to be seen in a topology.
type plan struct {
	nodes  []string // the first one is killed and silenced
	points []point
	more   []claim // what only this topology shows
}

// A point is a router from which the nodes are watched.
type point struct {
	name string
	router
	// sessions are by node what a router with BGP sessions to the nodes calls
	// them; empty for one that hears of them from another router.
	sessions map[string]string
	bfd      map[string]string    // likewise for BFD
	hops     map[string][2]string // by node, the next hops for IPv4 and IPv6
	// keeps: its routes to a node stay while the daemon there restarts. BIRD
	// takes them away with `bfd on`, see README.md.
	keeps bool
}

// A claim is one check beyond those that all topologies share.
type claim struct {
	what  string
	holds func(w *watch) (seen string, err error)
}
