package cluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"holdfast.dev/holdfast/deploy/world"
)

// buildNetwork makes the fabric, the control plane's station and the clients.
// Nodes are plugged in by plugNode.
func buildNetwork(o Options) error {
	if err := world.AddNamespace(fabric); err != nil {
		return err
	}
	for _, b := range []string{bridge, bridge2, bridge3} {
		if err := world.AddBridge(fabric, b); err != nil {
			return err
		}
	}
	if err := world.AddCable(fabric, trunk, fabric, trunk2); err != nil {
		return err
	}
	if err := world.IP(fabric, "link set "+trunk+" master "+bridge, "link set "+trunk2+" master "+bridge2); err != nil {
		return err
	}
	for _, s := range []station{cpStation, clientStation, client2Station} {
		if err := plug(s); err != nil {
			return err
		}
	}
	// The API server answers pods, and calls their webhooks.
	if err := world.IP(controlPlane, podRoutes(o, "")...); err != nil {
		return err
	}
	if err := errors.Join(sysctl(client, manyPorts), sysctl(client2, manyPorts)); err != nil {
		return err
	}
	return plugRouters(o)
}

// manyPorts are for probes, which take a new source port for each request.
var manyPorts = map[string]string{"net/ipv4/ip_local_port_range": "1024 65535"}

// plug makes a station's namespace, with its cable and its addresses.
func plug(s station) error {
	if err := world.AddNamespace(s.name); err != nil {
		return err
	}
	if err := world.AddCable(fabric, s.cable(), s.name, device); err != nil {
		return err
	}
	if err := world.IP(fabric, "link set "+s.cable()+" master "+s.bridge()); err != nil {
		return err
	}
	return world.IP(s.name,
		"link set "+device+" down", // so that the link-local address is made of the new hardware address
		"link set "+device+" address "+s.mac().String(),
		"link set "+device+" up",
		fmt.Sprintf("addr add %s/24 dev %s", s.v4(), device),
		fmt.Sprintf("addr add %s/64 dev %s nodad", s.v6(), device))
}

// plugNode makes a node's network.
func plugNode(o Options, s station) error {
	if err := plug(s); err != nil {
		return err
	}
	// Components that look for an address of their own look at the default route.
	routes := append(podRoutes(o, s.name),
		fmt.Sprintf("route add default via %s", cpStation.v4()),
		fmt.Sprintf("route add ::/0 via %s", cpStation.v6()))
	routes = append(routes, farRoutes(o)...)
	if err := world.IP(s.name, routes...); err != nil {
		return err
	}
	return sysctl(s.name, map[string]string{
		"net/ipv4/ip_forward":          "1",
		"net/ipv6/conf/all/forwarding": "1",
		// The node's end of a pod's cable gets the gateway's address last, and would
		// answer no solicitation for 1.7 s while it looks for duplicates (RFC 4862
		// section 5.4). A pod that is ready by then receives over IPv6 and cannot
		// reply, until its send buffer is full and it cannot reply over IPv4 either.
		"net/ipv6/conf/default/accept_dad": "0",
		// Thousands of new flows a second at 30 s each would fill the table, and
		// the kernel would drop what nobody else lost.
		"net/netfilter/nf_conntrack_udp_timeout":        "5",
		"net/netfilter/nf_conntrack_udp_timeout_stream": "5",
		"net/netfilter/nf_conntrack_tcp_timeout_close":  "2",
	})
}

// unplug takes a station's network away for good, cable first.
func unplug(s station) error {
	return errors.Join(world.IP(fabric, "link del "+s.cable()), world.IP("", "netns del "+s.name))
}

// podRoutes lead to the pods of all nodes but one.
func podRoutes(o Options, but string) (lines []string) {
	for _, n := range o.nodes() {
		if n.name != but {
			lines = append(lines, fmt.Sprintf("route add %s via %s", n.podNet4(), n.v4()),
				fmt.Sprintf("route add %s via %s", n.podNet6(), n.v6()))
		}
	}
	return lines
}

// sysctl sets kernel variables of a network namespace, named by their path
// below /proc/sys.
func sysctl(ns string, values map[string]string) error {
	return world.Within(ns, func() error {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if err := os.WriteFile("/proc/sys/"+name, []byte(values[name]), 0o644); err != nil {
				return fmt.Errorf("setting %s in %s: %w", strings.ReplaceAll(name, "/", "."), ns, err)
			}
		}
		return nil
	})
}
