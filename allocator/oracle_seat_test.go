package allocator_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	. "holdfast.dev/holdfast/allocator"
)

// This file compares a seat with what placement should come to.

// compare judges the nodes of layer 2, and who is said not to be served.
func compare(seat Seat, nodes []string, want map[ServiceName][]string, says []say) error {
	var got []string
	for _, c := range seat.Layer2 {
		got = append(got, c.Node)
	}
	if !slices.Equal(got, nodes) {
		return fmt.Errorf("%s is announced from %v, and should be from %v", seat.Addr, got, nodes)
	}
	for _, s := range says {
		if len(s.eligible) > 0 && len(got) == 0 {
			return fmt.Errorf("%s is dark, and %s could be served", seat.Addr, s.Name)
		}
	}
	said := map[ServiceName][]string{}
	for _, u := range seat.Unserved {
		said[u.Service] = append(said[u.Service], string(u.Reason.Code))
		if len(u.Reason.Others) > 3 {
			return fmt.Errorf("%s: %d others are named", seat.Addr, len(u.Reason.Others))
		}
	}
	for _, n := range seat.Services {
		for _, code := range said[n] {
			if !slices.ContainsFunc(want[n], func(may string) bool { return slices.Contains(strings.Split(may, "|"), code) }) {
				return fmt.Errorf("%s: %s is said not to be served, %s, and should be %v", seat.Addr, n, code, want[n])
			}
		}
		for _, may := range want[n] {
			if !slices.ContainsFunc(said[n], func(code string) bool { return slices.Contains(strings.Split(may, "|"), code) }) {
				return fmt.Errorf("%s: %s is not served, %s, and nothing says so: %v", seat.Addr, n, may, said[n])
			}
		}
	}
	return nil
}

// standings judges what a seat says of its nodes: weights and interfaces, by the
// advertisements of the namespace that chooses.
func (j *judge) standings(a netip.Addr, seat Seat, says []say) error {
	for _, c := range seat.Layer2 {
		weight, everywhere := 0, false
		seen, names := map[string]bool{}, map[string]bool{}
		for _, s := range says {
			for _, ad := range s.ads {
				if !s.decides || seen[ad.Name] || !matching(ad.NodeSelectors, j.nodes[c.Node].Labels) {
					continue
				}
				seen[ad.Name] = true
				for _, p := range ad.Preferences {
					if p.Selector.Matches(j.nodes[c.Node].Labels) {
						weight += p.Weight
					}
				}
				everywhere = everywhere || len(ad.Interfaces) == 0
				for _, i := range ad.Interfaces {
					names[i] = true
				}
			}
		}
		if everywhere {
			clear(names)
		}
		if c.Weight != weight || fmt.Sprint(c.Interfaces) != fmt.Sprint(values(selfmap(names))) {
			return fmt.Errorf("%s on %s: weight %d on %v, and should be %d on %v", a, c.Node, c.Weight, c.Interfaces, weight, values(selfmap(names)))
		}
	}
	return nil
}

func selfmap(in map[string]bool) map[string]string {
	out := map[string]string{}
	for k := range in {
		out[k] = k
	}
	return out
}

// seated judges all seats of a world.
func seated(w *world) error {
	j := w.timeless()
	for _, v := range w.services {
		for _, a := range v.Holds {
			seat, ok := w.seats[a]
			if v.Foreign {
				continue
			}
			if !ok {
				return fmt.Errorf("%s is held and has no seat", a)
			}
			if err := j.placed(a, seat); err != nil {
				return err
			}
		}
	}
	for a := range w.seats {
		if len(j.residents(a)) == 0 {
			return fmt.Errorf("%s has a seat and nobody holds it", a)
		}
	}
	return nil
}
