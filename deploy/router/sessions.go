package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// BGP tells for each neighbour that the router is configured with, by address,
// whether its session is Established. Neighbours on interfaces without an
// address (unnumbered) are left out.
func (r *Router) BGP() (map[netip.Addr]bool, error) {
	return r.sessions(r.software.bgp())
}

// BFD tells for each address with which the router has a BFD session whether
// that is Up.
func (r *Router) BFD() (map[netip.Addr]bool, error) {
	return r.sessions(r.software.bfd())
}

// A question is a command, and what reads its answer.
type question struct {
	command string
	read    func(answer []byte, up map[netip.Addr]bool) error
}

func (r *Router) sessions(q question) (map[netip.Addr]bool, error) {
	out, err := r.Show(q.command)
	if err != nil {
		return nil, err
	}
	up := map[netip.Addr]bool{}
	if err := q.read(out, up); err != nil {
		return nil, fmt.Errorf("router %s: reading the answer to %q: %w", r.name, q.command, err)
	}
	return up, nil
}

func (f *frr) bgp() question { return question{"show bgp neighbors json", readFRRNeighbours} }
func (f *frr) bfd() question { return question{"show bfd peers json", readFRRPeers} }

func readFRRNeighbours(text []byte, up map[netip.Addr]bool) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	for name, raw := range all {
		var neighbour struct{ BGPState string }
		addr, err := netip.ParseAddr(name)
		if err != nil {
			continue // an interface
		}
		if err := json.Unmarshal(raw, &neighbour); err != nil {
			return err
		}
		up[addr] = neighbour.BGPState == "Established"
	}
	return nil
}

func readFRRPeers(text []byte, up map[netip.Addr]bool) error {
	var all []struct {
		Peer   netip.Addr
		Status string
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	for _, p := range all {
		up[p.Peer] = up[p.Peer] || p.Status == "up"
	}
	return nil
}

func (b *bird) bgp() question { return question{"show protocols all", readBIRDProtocols} }
func (b *bird) bfd() question { return question{"show bfd sessions", readBIRDSessions} }

// readBIRDProtocols looks at the lines "BGP state: Established" and "Neighbor
// address: 192.0.2.1", which come in this order for each protocol.
func readBIRDProtocols(text []byte, up map[netip.Addr]bool) error {
	established := false
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		switch value = strings.TrimSpace(value); key {
		case "BGP state":
			established = value == "Established"
		case "Neighbor address":
			addr, err := netip.ParseAddr(value)
			if err != nil {
				return err
			}
			up[addr] = established
		}
	}
	return nil
}

// readBIRDSessions looks at the lines that begin with an address: "192.0.2.1
// eth0 Up …".
func readBIRDSessions(text []byte, up map[netip.Addr]bool) error {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 {
			continue
		}
		if addr, err := netip.ParseAddr(fields[0]); err == nil {
			up[addr] = up[addr] || fields[2] == "Up"
		}
	}
	return nil
}
