package main

import (
	"fmt"
	"slices"
	"strings"
)

// twoTor, like the others, has its addresses from the topology's file.
func twoTor(t *topology) plan {
	p := plan{nodes: []string{"node1", "node2", "node3"}}
	tor1 := point{name: "tor1", router: frr{t, "tor1"}, keeps: true, sessions: map[string]string{}, bfd: map[string]string{}, hops: map[string][2]string{}}
	tor2 := point{name: "tor2", router: bird{t, "tor2"}, sessions: map[string]string{}, bfd: map[string]string{}, hops: map[string][2]string{}}
	for i, n := range p.nodes {
		at := fmt.Sprint(11 + i)
		tor1.sessions[n], tor1.bfd[n], tor1.hops[n] = "10.1.0."+at, "10.1.0."+at, [2]string{"10.1.0." + at, "fd00:1::" + at}
		tor2.sessions[n], tor2.bfd[n], tor2.hops[n] = n, "10.2.0."+at, [2]string{"10.2.0." + at, "fd00:2::" + at}
	}
	p.points = []point{tor1, tor2}
	return p
}

func unnumbered(t *topology) plan {
	links := map[string]string{"node1": "eth1", "node2": "eth2"}
	leaf := point{name: "leaf", router: frr{t, "leaf"}, keeps: true, sessions: links, bfd: links, hops: map[string][2]string{}}
	for node, link := range links {
		leaf.hops[node] = [2]string{onLink(link), onLink(link)}
	}
	return plan{nodes: []string{"node1", "node2"}, points: []point{leaf}}
}

func reflector(t *topology) plan {
	hops := map[string][2]string{"node1": {"10.3.0.11", "fd00:3::11"}, "node2": {"10.3.0.12", "fd00:3::12"}}
	rr := point{name: "rr", router: bird{t, "rr"}, hops: hops,
		sessions: map[string]string{"node1": "node1", "node2": "node2"},
		bfd:      map[string]string{"node1": "10.3.0.11", "node2": "10.3.0.12"}}
	edge := point{name: "edge", router: frr{t, "edge"}, hops: hops}
	return plan{nodes: []string{"node1", "node2"}, points: []point{rr, edge},
		more: []claim{{"edge: local preference and communities come through the reflector", reflected}}}
}

// reflected says whether the edge router has what the BGPAdvertisement says.
func reflected(w *watch) (string, error) {
	edge := frr{w.topology, "edge"}
	for _, at := range [][2]string{{"ipv4", "203.0.113.10/32"}, {"ipv6", "2001:db8:5::10/128"}} {
		paths, err := edge.paths(w, at[0], at[1])
		if err != nil {
			return "", err
		}
		if len(paths) != len(w.nodes) {
			return "", fmt.Errorf("edge has %d paths to %s, want one from each node", len(paths), at[1])
		}
		for _, p := range paths {
			communities := strings.Fields(p.Community.String)
			if max(p.LocalPref, p.LocPrf) != 250 || !slices.Contains(communities, "64512:100") || !slices.Contains(communities, "64512:200") || p.LargeCommunity.String != "64512:1:2" {
				return "", fmt.Errorf("edge's path to %s is %+v, want local preference 250, communities 64512:100 and 64512:200, large community 64512:1:2", at[1], p)
			}
		}
	}
	return "local preference 250, 64512:100, 64512:200, 64512:1:2", nil
}
