package witness

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// NeverWithoutAddress fails if the Service had no address at any moment of the time.
func (h *History) NeverWithoutAddress(name string, from, to time.Time) error {
	if err := h.whole(from, to); err != nil {
		return err
	}
	for _, s := range h.States(name, from, to) {
		if s.Gone {
			return fmt.Errorf("%s did not exist at %s", name, clock(s.At))
		}
		if len(s.Addresses) == 0 {
			return fmt.Errorf("%s had no address at %s%s", name, clock(s.At), why(s))
		}
	}
	return nil
}

// SameAddresses fails if the Service's addresses were at any moment others than at the
// beginning. Their order may change.
func (h *History) SameAddresses(name string, from, to time.Time) error {
	if err := h.NeverWithoutAddress(name, from, to); err != nil {
		return err
	}
	states := h.States(name, from, to)
	for _, s := range states[1:] {
		if was, is := states[0].addressSet(), s.addressSet(); was != is {
			return fmt.Errorf("%s had %s and at %s %s%s", name, was, clock(s.At), is, why(s))
		}
	}
	return nil
}

func why(s Service) string {
	var parts []string
	for _, c := range s.Conditions {
		parts = append(parts, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// Sequence returns the different sets of addresses that the Service had one after
// another, each written with blanks between and "none" for an empty one.
func (h *History) Sequence(name string, from, to time.Time) []string {
	var sets []string
	for _, s := range h.States(name, from, to) {
		if set := s.addressSet(); len(sets) == 0 || sets[len(sets)-1] != set {
			sets = append(sets, set)
		}
	}
	return sets
}

// Clash is a time in which two Services claimed one port of one address.
type Clash struct {
	A, B       string
	Addr       netip.Addr
	Port       Port
	Start, End time.Time
}

func (c Clash) String() string {
	return fmt.Sprintf("%s and %s both had %s %s from %s for %s", c.A, c.B, c.Addr, c.Port,
		clock(c.Start), c.End.Sub(c.Start).Round(time.Millisecond))
}

// pair is two Services, in the order of their names, on one port of one address.
type pair struct {
	a, b string
	addr netip.Addr
	port Port
}

// Clashes returns every clash of the time, in the order of their beginnings.
func (h *History) Clashes(from, to time.Time) ([]Clash, error) {
	if err := h.whole(from, to); err != nil {
		return nil, err
	}
	before, since := h.between(from, to)
	state, open := map[string]Service{}, map[pair]int{}
	var clashes []Clash
	step := func(s Service, at time.Time) {
		state[s.Name] = s
		now := clashesOf(state, s)
		for p, i := range open {
			if (p.a == s.Name || p.b == s.Name) && !slices.Contains(now, p) {
				clashes[i].End = at
				delete(open, p)
			}
		}
		for _, p := range now {
			if _, ok := open[p]; !ok {
				open[p] = len(clashes)
				clashes = append(clashes, Clash{A: p.a, B: p.b, Addr: p.addr, Port: p.port, Start: at, End: to})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		step(before[name], from)
	}
	for _, s := range since {
		step(s, s.At)
	}
	return clashes, nil
}

// clashesOf returns where s claims what another Service claims.
func clashesOf(state map[string]Service, s Service) (clashes []pair) {
	for _, addr := range s.Addresses {
		for _, port := range s.Ports {
			for name, other := range state {
				if name != s.Name && s.Claims(addr, port) && other.Claims(addr, port) {
					clashes = append(clashes, pair{min(name, s.Name), max(name, s.Name), addr, port})
				}
			}
		}
	}
	return clashes
}

// Interval is a stretch of time, Start included, End not.
type Interval struct{ Start, End time.Time }

// Unclaimed returns when no Service claimed the port of the address, so that nobody was
// meant to serve it. A change that was asked for here counts from then on where it takes
// a claim away, and from when it was seen where it brings one.
func (h *History) Unclaimed(addr netip.Addr, port Port, from, to time.Time) ([]Interval, error) {
	if err := h.whole(from, to); err != nil {
		return nil, err
	}
	state, since := h.between(from, to)
	claimed := func() bool {
		for _, s := range state {
			if s.Claims(addr, port) {
				return true
			}
		}
		return false
	}
	var out []Interval
	was := true
	step := func(earliest, at time.Time) {
		is := claimed()
		switch {
		case was && !is:
			out = append(out, Interval{earliest, to})
		case !was && is:
			out[len(out)-1].End = at
		}
		was = is
	}
	step(from, from)
	for _, s := range since {
		state[s.Name] = s
		step(s.earliest(), s.At)
	}
	return out, nil
}

// Held returns when the Service's status held the address.
func (h *History) Held(name string, addr netip.Addr, from, to time.Time) []Interval {
	var out []Interval
	was := false
	for i, s := range h.States(name, from, to) {
		at := s.At
		if i == 0 {
			at = from
		}
		switch is := s.Has(addr); {
		case is && !was:
			out = append(out, Interval{at, to})
			was = true
		case !is && was:
			out[len(out)-1].End = at
			was = false
		}
	}
	return out
}
