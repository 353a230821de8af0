package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

// Routers stand between the nodes' network and the far segment, on which there
// is nothing but far, a client:
//
//	nodes  eth0 --+-- br0, 172.30.0.0/24, fd30::/64
//	router eth0 --+   .51, .52, … in the order in which they are named
//	router eth1 --+-- br2, 172.31.0.0/24, fd31::/64, the same last numbers
//	far    eth0 --+   .102
//
// The way from far to everything, and the way from the nodes to far, is spread
// over all routers, by flow. A pool that is to be reached by BGP alone must not
// lie in the nodes' network.
const (
	firstRouter = 51 // last number of the first router's addresses
	maxRouters  = 9

	// Where sessions are external: the AS of all routers, and that of all nodes.
	RouterAS = 65000
	NodeAS   = 64512

	farNet4 = "172.31.0.0/24"
	farNet6 = "fd31::/64"
)

func (s station) farV4() netip.Addr { return netip.AddrFrom4([4]byte{172, 31, 0, byte(s.id)}) }
func (s station) farV6() netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd31::%d", s.id)) }
func (s station) farCable() string  { return "f-" + s.name }

// routerName tells the kind by the letters.
var routerName = regexp.MustCompile(`^(frr|bird)[0-9]?$`)

func (o Options) routerNames() []string {
	if o.Routers == "" {
		return nil
	}
	return strings.Split(o.Routers, ",")
}

func (o Options) checkRouters() error {
	names := o.routerNames()
	if len(names) > maxRouters {
		return fmt.Errorf("%d routers: a lab has %d at most", len(names), maxRouters)
	}
	for i, name := range names {
		if !routerName.MatchString(name) {
			return fmt.Errorf("router %q: a name is frr or bird, and a digit if there are several", name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("router %s twice: add a digit, as in frr2", name)
		}
	}
	return nil
}

func (o Options) routers() (all []station) {
	for i, name := range o.routerNames() {
		all = append(all, station{name, firstRouter + i})
	}
	return all
}

// behindRouters are the networks that a lab has only with routers.
func (o Options) behindRouters() []string {
	if names := o.routerNames(); names != nil {
		return append(names, far)
	}
	return nil
}

// plugRouters makes the networks of the routers, and far.
func plugRouters(o Options) error {
	if o.Routers == "" {
		return nil
	}
	if err := errors.Join(plug(farStation), sysctl(far, manyPorts), sysctl(far, byFlow)); err != nil {
		return err
	}
	for _, s := range o.routers() {
		if err := plugRouter(s); err != nil {
			return err
		}
	}
	return routeFar(o, o.routerNames())
}

// byFlow spreads flows, and not pairs of hosts, over equal ways.
var byFlow = map[string]string{
	"net/ipv4/fib_multipath_hash_policy": "1",
	"net/ipv6/fib_multipath_hash_policy": "1",
}

func plugRouter(s station) error {
	if err := errors.Join(plug(s), sysctl(s.name, byFlow), sysctl(s.name, map[string]string{
		"net/ipv4/ip_forward":          "1",
		"net/ipv6/conf/all/forwarding": "1",
		// What goes out by one router may come back by another.
		"net/ipv4/conf/all/rp_filter":     "0",
		"net/ipv4/conf/eth0/rp_filter":    "0",
		"net/ipv4/conf/default/rp_filter": "0",
	})); err != nil {
		return err
	}
	if err := world.AddCable(fabric, s.farCable(), s.name, farDevice); err != nil {
		return err
	}
	return errors.Join(world.IP(fabric, "link set "+s.farCable()+" master "+bridge3),
		world.IP(s.name, fmt.Sprintf("addr add %s/24 dev %s", s.farV4(), farDevice), fmt.Sprintf("addr add %s/64 dev %s nodad", s.farV6(), farDevice)))
}

// spread is the rest of a route over the routers, on one of their sides.
func spread(routers []station, address func(station) netip.Addr) (hops string) {
	for _, r := range routers {
		hops += " nexthop via " + address(r).String()
	}
	return hops
}

// farRoutes are a node's routes to the far segment.
func farRoutes(o Options) []string {
	if o.Routers == "" {
		return nil
	}
	return []string{"route add " + farNet4 + spread(o.routers(), station.v4), "route add " + farNet6 + spread(o.routers(), station.v6)}
}

// routeFar lets far reach everything over the named routers.
func routeFar(o Options, names []string) error {
	via := slices.DeleteFunc(o.routers(), func(s station) bool { return !slices.Contains(names, s.name) })
	return world.IP(far, "route replace 0.0.0.0/0"+spread(via, station.farV4), "route replace ::/0"+spread(via, station.farV6))
}

// frrConfig takes the router's name and id, the neighbours by IPv4 and those
// by IPv6.
var frrConfig = `frr defaults datacenter
hostname %s
bfd
 profile nodes
  detect-multiplier 3
  receive-interval 300
  transmit-interval 300
 exit
exit
router bgp ` + strconv.Itoa(RouterAS) + `
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp bestpath as-path multipath-relax
 bgp graceful-restart
 neighbor NODES peer-group
 neighbor NODES remote-as external
 neighbor NODES timers 3 9
 neighbor NODES timers connect 1
 neighbor NODES bfd
 neighbor NODES bfd profile nodes
 neighbor NODES6 peer-group
 neighbor NODES6 remote-as external
 neighbor NODES6 timers 3 9
 neighbor NODES6 timers connect 1
 neighbor NODES6 bfd
 neighbor NODES6 bfd profile nodes
%s address-family ipv4 unicast
  no neighbor NODES6 activate
  maximum-paths 16
 exit-address-family
 address-family ipv6 unicast
  neighbor NODES activate
  neighbor NODES6 activate
  maximum-paths 16
 exit-address-family
exit
`

// birdConfig takes the router's id and the neighbours.
var birdConfig = `router id %s;
protocol device { scan time 10; }
protocol kernel kernel4 { merge paths yes limit 16; ipv4 { import none; export all; }; }
protocol kernel kernel6 { merge paths yes limit 16; ipv6 { import none; export all; }; }
protocol bfd {
	accept direct;
	interface "eth0" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; idle tx interval 1 s; };
}
template bgp NODES {
	local as ` + strconv.Itoa(RouterAS) + `;
	hold time 9; keepalive time 3; connect retry time 1; connect delay time 1; error wait time 1, 5;
	graceful restart on;
	bfd graceful;
	ipv6 { import all; export none; };
}
%s`

// configOf lets a router peer with every node: both families over IPv4,
// and IPv6 over IPv6 too for those who want it so.
func configOf(o Options, s station) string {
	var peers strings.Builder
	for _, n := range o.nodes() {
		if isFRR(s.name) {
			fmt.Fprintf(&peers, " neighbor %s peer-group NODES\n neighbor %s peer-group NODES6\n", n.v4(), n.v6())
			continue
		}
		fmt.Fprintf(&peers, "protocol bgp %s from NODES { neighbor %s external; ipv4 { import all; export none; }; }\n", n.name, n.v4())
		fmt.Fprintf(&peers, "protocol bgp %s_6 from NODES { neighbor %s external; }\n", n.name, n.v6())
	}
	if isFRR(s.name) {
		return fmt.Sprintf(frrConfig, s.name, s.v4(), peers.String())
	}
	return fmt.Sprintf(birdConfig, s.v4(), peers.String())
}

func isFRR(name string) bool { return strings.HasPrefix(name, "frr") }

// routerTime is how long a router may take to start; FRR needs 0.3 s.
const routerTime = 30 * time.Second

func (s *supervisor) startRouters(ctx context.Context) error {
	s.routers = map[string]*routing{}
	for _, r := range s.options.routers() {
		config := configOf(s.options, r)
		started, err := startRouter(ctx, r.name, config)
		if err != nil {
			return err
		}
		s.routers[r.name] = &routing{Router: started, first: config, now: config}
	}
	if len(s.routers) > 0 {
		s.say("the routers run")
	}
	return nil
}

func startRouter(ctx context.Context, name, config string) (*router.Router, error) {
	ctx, cancel := context.WithTimeout(ctx, routerTime)
	defer cancel()
	if isFRR(name) {
		return router.StartFRR(ctx, name, name, config)
	}
	return router.StartBIRD(ctx, name, name, config)
}
