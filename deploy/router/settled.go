package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
)

// Settled reports whether the session with a neighbour is Established, and graceful
// restart (RFC 4724) is over: the neighbour has told everything if it knows graceful
// restart, and the router keeps no routes any longer from its own life before, if that
// has ended.
func (r *Router) Settled(neighbour netip.Addr) (bool, error) {
	up, err := r.BGP()
	if err != nil || !up[neighbour] {
		return false, err
	}
	for _, s := range r.software.signs(neighbour) {
		out, err := r.Show(s.command)
		if err != nil {
			return false, err
		}
		over, err := s.over(out)
		if err != nil {
			return false, fmt.Errorf("router %s: reading the answer to %q: %w", r.name, s.command, err)
		}
		if !over {
			return false, nil
		}
	}
	return true, nil
}

// A sign is a command whose answer tells whether a graceful restart is over.
type sign struct {
	command string
	over    func(answer []byte) (bool, error)
}

func (f *frr) signs(neighbour netip.Addr) []sign {
	family := "ipv6"
	if neighbour.Is4() {
		family = "ipv4"
	}
	return []sign{
		{fmt.Sprintf("show bgp %s neighbors %s graceful-restart json", family, neighbour), readFRREndOfRIB},
		{"show zebra client", without("Stale delete timer:")},
	}
}

// readFRREndOfRIB looks at the families with which both sides know graceful restart: none
// otherwise.
func readFRREndOfRIB(text []byte) (bool, error) {
	type family struct {
		EndOfRibStatus struct{ EndOfRibRecv bool }
	}
	var all map[string]struct{ IPv4Unicast, IPv6Unicast *family }
	if err := json.Unmarshal(text, &all); err != nil {
		return false, err
	}
	if len(all) != 1 {
		return false, errors.New("it is not about one neighbour")
	}
	for _, n := range all {
		for _, f := range []*family{n.IPv4Unicast, n.IPv6Unicast} {
			if f != nil && !f.EndOfRibStatus.EndOfRibRecv {
				return false, nil
			}
		}
	}
	return true, nil
}

func (b *bird) signs(neighbour netip.Addr) []sign {
	return []sign{
		{"show protocols all", func(text []byte) (bool, error) { return readBIRDNeighbour(text, neighbour), nil }},
		{"show status", without("Graceful restart recovery in progress")},
	}
}

// readBIRDNeighbour looks for the line "Neighbor graceful restart active" in the part
// about a neighbour; a line that begins at the margin begins the next part.
func readBIRDNeighbour(text []byte, neighbour netip.Addr) (over bool) {
	it := false
	for line := range bytes.Lines(text) {
		switch words := bytes.TrimSpace(line); {
		case len(line) > 0 && line[0] != ' ':
			it = false
		case bytes.HasPrefix(words, []byte("Neighbor address: ")):
			it = string(bytes.TrimPrefix(words, []byte("Neighbor address: "))) == neighbour.String()
			over = over || it
		case it && bytes.Equal(words, []byte("Neighbor graceful restart active")):
			return false
		}
	}
	return over
}

func without(text string) func([]byte) (bool, error) {
	return func(answer []byte) (bool, error) { return !bytes.Contains(answer, []byte(text)), nil }
}
