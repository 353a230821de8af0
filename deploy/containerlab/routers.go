package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// A router is asked about its neighbours. A neighbour is named as the router's
// configuration names it: FRR by its address or interface, BIRD by its protocol.
type router interface {
	// session names the session with a neighbour that is established, with routes
	// of both families. A later one has another name.
	session(ctx context.Context, neighbour string) (name string, err error)
	// bfd says why a neighbour's BFD session is not up.
	bfd(ctx context.Context, address string) error
}

// An frr is a router that runs FRR.
type frr struct {
	*topology
	node string
}

func (r frr) show(ctx context.Context, command string, into any) error {
	out, err := r.exec(ctx, r.node, "vtysh", "-c", command)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("%s: %s: %w", r.node, command, err)
	}
	return nil
}

func (r frr) session(ctx context.Context, neighbour string) (string, error) {
	var all frrSummary
	if err := r.show(ctx, "show bgp summary json", &all); err != nil {
		return "", err
	}
	name, err := all.established(neighbour)
	if err != nil {
		return "", fmt.Errorf("%s: %w", r.node, err)
	}
	return name, nil
}

// An frrSummary is what FRR says of its sessions, by family.
type frrSummary map[string]struct {
	Peers map[string]struct {
		State                  string
		PfxRcd                 int
		ConnectionsEstablished int // how often it was, until now
	}
}

// established names a session by how many there have been with this neighbour.
func (s frrSummary) established(neighbour string) (name string, err error) {
	for _, family := range []string{"ipv4Unicast", "ipv6Unicast"} {
		p := s[family].Peers[neighbour]
		if p.State != "Established" || p.PfxRcd == 0 {
			return "", fmt.Errorf("%s with %s is %q, with %d prefixes", family, neighbour, p.State, p.PfxRcd)
		}
		name = fmt.Sprint("number ", p.ConnectionsEstablished)
	}
	return name, nil
}

func (r frr) bfd(ctx context.Context, address string) error {
	var all frrBFD
	if err := r.show(ctx, "show bfd peers json", &all); err != nil {
		return err
	}
	if !all.up(address) {
		return fmt.Errorf("%s: BFD with %s is not up: %+v", r.node, address, all)
	}
	return nil
}

// An frrBFD is what FRR says of its BFD sessions.
type frrBFD []struct{ Peer, Interface, Status string }

// up takes an interface too: of a neighbour without a number it is the name.
func (s frrBFD) up(neighbour string) bool {
	for _, p := range s {
		if (p.Peer == neighbour || p.Interface == neighbour) && p.Status == "up" {
			return true
		}
	}
	return false
}

// A bgpPath is what a router knows of a prefix from one of its neighbours.
type bgpPath struct {
	LocalPref, LocPrf uint32 // one or the other, as the version of FRR has it
	Community         struct{ String string }
	LargeCommunity    struct{ String string }
}

// paths are all paths to a prefix.
func (r frr) paths(ctx context.Context, family, prefix string) ([]bgpPath, error) {
	var found struct{ Paths []bgpPath }
	err := r.show(ctx, "show bgp "+family+" unicast "+prefix+" json", &found)
	return found.Paths, err
}

// A bird is a router that runs BIRD.
type bird struct {
	*topology
	node string
}

func (r bird) show(ctx context.Context, command ...string) (string, error) {
	return r.exec(ctx, r.node, append([]string{"birdc", "show"}, command...)...)
}

func (r bird) session(ctx context.Context, neighbour string) (string, error) {
	out, err := r.show(ctx, "protocols", "all", neighbour)
	if err != nil {
		return "", err
	}
	name, ok := birdEstablished(neighbour, out)
	if !ok {
		return "", fmt.Errorf("%s: with %s it is not established with routes of both families:\n%s", r.node, neighbour, out)
	}
	return name, nil
}

var (
	birdState    = regexp.MustCompile(`(?m)^(\S+)\s+BGP\s+\S+\s+up\s+(\S+)\s+Established`)
	birdImported = regexp.MustCompile(`Routes:\s+[1-9][0-9]* imported`)
)

// birdEstablished names a session by when it was established, if it has routes
// on two channels.
func birdEstablished(neighbour, protocols string) (name string, ok bool) {
	m := birdState.FindStringSubmatch(protocols)
	if m == nil || m[1] != neighbour || len(birdImported.FindAllString(protocols, -1)) != 2 {
		return "", false
	}
	return "since " + m[2], true
}

func (r bird) bfd(ctx context.Context, address string) error {
	out, err := r.show(ctx, "bfd", "sessions")
	if err != nil {
		return err
	}
	if !birdBFDUp(out, address) {
		return fmt.Errorf("%s: BFD with %s is not up:\n%s", r.node, address, out)
	}
	return nil
}

// birdBFDUp looks for a session in BIRD's table of them.
func birdBFDUp(table, address string) bool {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == address && f[2] == "Up" {
			return true
		}
	}
	return false
}
