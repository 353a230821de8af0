package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Options is what a lab is brought up with.
type Options struct {
	Nodes        int    `json:"nodes"`        // 1 to 20
	Proxy        string `json:"proxy"`        // kube-proxy's mode: nftables or iptables
	Holdfast     bool   `json:"holdfast"`     // install holdfast
	HoldfastArgs string `json:"holdfastArgs"` // flags added to the DaemonSet's, parted by spaces
	Routers      string `json:"routers"`      // names, parted by commas: frr, bird, frr2, …; empty: none
}

// maxNodes keeps nodes below the client in the last byte of an address.
const maxNodes = 20

func (o Options) check() error {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return fmt.Errorf("%d nodes: a lab has 1 to %d", o.Nodes, maxNodes)
	}
	if !slices.Contains([]string{"nftables", "iptables"}, o.Proxy) {
		return fmt.Errorf("kube-proxy mode %q: choose nftables or iptables", o.Proxy)
	}
	if !o.Holdfast && o.HoldfastArgs != "" {
		return errors.New("flags for holdfast in a lab without holdfast")
	}
	return o.checkRouters()
}

// The names of network namespaces that are no nodes.
const (
	fabric       = "fab"     // the bridges that everything is plugged into
	controlPlane = "cp"      // etcd, API server, controller-manager, scheduler
	client       = "client"  // probes
	client2      = "client2" // does so behind a second bridge
	far          = "far"     // does so behind the routers
)

const (
	bridge      = "br0"
	bridge2     = "br1"    // client2 is behind it
	bridge3     = "br2"    // the far segment: the routers' other side, and far
	trunk       = "trunk0" // the end of the cable between the bridges that is in the first
	trunk2      = "trunk1"
	device      = "eth0" // the one interface of everything that is plugged in
	farDevice   = "eth1" // a router's interface on the far segment
	apiPort     = 6443
	serviceAPI  = "10.96.0.1" // the API server's Service
	serviceNets = "10.96.0.0/16,fd00:96::/112"
	podNets     = "10.244.0.0/16,fd00:244::/32"
)

// A station is something plugged into the fabric.
type station struct {
	name string
	id   int // last part of its addresses
}

func (s station) v4() netip.Addr {
	if s.name == far {
		return s.farV4()
	}
	return netip.AddrFrom4([4]byte{172, 30, 0, byte(s.id)})
}

// v6 shows the decimal id, as people read it: fd30::11 is 172.30.0.11.
func (s station) v6() netip.Addr {
	if s.name == far {
		return s.farV6()
	}
	return netip.MustParseAddr(fmt.Sprintf("fd30::%d", s.id))
}

func (s station) mac() net.HardwareAddr { return net.HardwareAddr{0x02, 0, 172, 30, 0, byte(s.id)} }

// cable is the interface in the fabric that leads to the station.
func (s station) cable() string { return "v-" + s.name }

// bridge is what the station is plugged into.
func (s station) bridge() string {
	switch s.name {
	case client2:
		return bridge2
	case far:
		return bridge3
	}
	return bridge
}

// A node's pods have 10.244.N.0/24 and fd00:244:0:N::/64.
func (s station) number() int     { return s.id - 10 }
func (s station) podNet4() string { return fmt.Sprintf("10.244.%d.0/24", s.number()) }
func (s station) podNet6() string { return fmt.Sprintf("fd00:244:0:%d::/64", s.number()) }

var (
	cpStation      = station{controlPlane, 2}
	clientStation  = station{client, 100}
	client2Station = station{client2, 101}
	farStation     = station{far, 102}
)

func nodeStation(number int) station { return station{fmt.Sprintf("node%d", number), 10 + number} }

// stationOf finds a node by its name.
func (o Options) stationOf(node string) (station, error) {
	number, err := strconv.Atoi(strings.TrimPrefix(node, "node"))
	if err != nil || !strings.HasPrefix(node, "node") || number < 1 || number > o.Nodes {
		return station{}, fmt.Errorf("%q is no node of this lab: they are %s", node, strings.Join(o.nodeNames(), ", "))
	}
	return nodeStation(number), nil
}

func (o Options) nodeNames() (names []string) {
	for _, s := range o.nodes() {
		names = append(names, s.name)
	}
	return names
}

func (o Options) nodes() (all []station) {
	for n := range o.Nodes {
		all = append(all, nodeStation(n+1))
	}
	return all
}

func apiAddress() string { return fmt.Sprintf("%s:%d", cpStation.v4(), apiPort) }
