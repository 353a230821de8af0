package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"holdfast.dev/holdfast/deploy/world"
)

// A NextHop is one way that the kernel knows to a prefix.
type NextHop struct {
	Addr      netip.Addr // the gateway, a link-local one without its zone; not valid for a prefix on the link
	Interface string
	Weight    int // relative to the other next hops; 1 if nobody says
}

// NextHops are the next hops of exactly this prefix in the main forwarding
// table of a network namespace, in order; none if there is no such route, or
// one that leads nowhere (blackhole, unreachable). Of several routes the one of
// the lowest metric counts. Here ns may also be the path of a namespace file,
// for one of another world.
func NextHops(ns string, prefix netip.Prefix) ([]NextHop, error) {
	family := "-4"
	if prefix.Addr().Is6() {
		family = "-6"
	}
	argv := []string{"ip", "-j", family, "route", "show", "table", "main", "exact", prefix.Masked().String()}
	cmd := world.Command(ns, argv...)
	if strings.Contains(ns, "/") {
		cmd = world.EnterNetwork(ns, argv...)
	}
	out, err := cmd.Output()
	if err == nil {
		var hops []NextHop
		if hops, err = parseRoutes(out); err == nil {
			return hops, nil
		}
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return nil, fmt.Errorf("reading the route to %s in namespace %q: %w", prefix, ns, err)
}

// A way is what `ip -j route` prints of a route, or of one of its next hops.
type way struct {
	Type     string
	Metric   uint32
	Gateway  netip.Addr
	Via      struct{ Host netip.Addr } // a gateway of the other family (RFC 8950)
	Dev      string
	Weight   int
	Nexthops []way
}

func (w way) hop() NextHop {
	h := NextHop{w.Gateway, w.Dev, max(w.Weight, 1)}
	if w.Via.Host.IsValid() {
		h.Addr = w.Via.Host
	}
	return h
}

func parseRoutes(text []byte) (hops []NextHop, err error) {
	var routes []way
	if text = bytes.TrimSpace(text); len(text) > 0 {
		if err := json.Unmarshal(text, &routes); err != nil {
			return nil, err
		}
	}
	best := ^uint32(0)
	for _, r := range routes {
		best = min(best, r.Metric)
	}
	for _, r := range routes {
		switch {
		case r.Metric != best || r.Type != "" && r.Type != "unicast":
		case len(r.Nexthops) > 0:
			for _, w := range r.Nexthops {
				hops = append(hops, w.hop())
			}
		default:
			hops = append(hops, r.hop())
		}
	}
	slices.SortFunc(hops, func(a, b NextHop) int { return a.Addr.Compare(b.Addr) })
	return hops, nil
}
