package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"holdfast.dev/holdfast/deploy/router"
)

// What the supervisor does with a router. These verbs wait for no other
// command.
const (
	routerVerbs     = "router-"
	routerKill      = "router-kill"
	routerStop      = "router-stop"
	routerStart     = "router-start"
	routerShow      = "router-show"      // Text is the command
	routerConfigure = "router-configure" // Text are lines for FRR, the whole configuration for BIRD
	routerConfig    = "router-config"    // as it was given last
	routerRestore   = "router-restore"
	routerStatus    = "router-status"
	farVia          = "router-far" // Text are the routers that far uses, parted by commas
)

// A routing is a router as the supervisor sees it.
type routing struct {
	*router.Router
	first string // its configuration

	mu      sync.Mutex
	now     string // what it was told last; of FRR, first
	changed bool   // by what it was told
}

// A RouterStatus is the state of one router.
type RouterStatus struct {
	Name     string
	Running  bool
	BGP, BFD map[netip.Addr]bool // which sessions are up, by the nodes' addresses; none if it does not run
}

func (s *supervisor) obeyRouter(q request, answer *response) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), routerTime)
	defer cancel()
	if q.Verb == farVia {
		return s.routeFar(strings.Split(q.Text, ","))
	}
	r := s.routers[q.Node]
	if r == nil {
		return s.options.noRouter(q.Node)
	}
	switch q.Verb {
	case routerKill:
		return r.Kill()
	case routerStop:
		return r.Stop()
	case routerStart:
		return r.Start(ctx)
	case routerShow:
		text, err := r.Show(q.Text)
		answer.Text = string(text)
		return err
	case routerConfigure:
		return r.tell(q.Text)
	case routerConfig:
		answer.Text = r.config()
		return nil
	case routerRestore:
		return errors.Join(r.restore(ctx), s.routeFar(s.options.routerNames()))
	case routerStatus:
		answer.Router, err = r.status()
		return err
	}
	return fmt.Errorf("a lab does not know how to %q", q.Verb)
}

func (o Options) noRouter(name string) error {
	if o.Routers == "" {
		return fmt.Errorf("router %q: this lab has no routers (lab up --routers frr,bird makes some)", name)
	}
	return fmt.Errorf("%q is no router of this lab: they are %s", name, strings.Join(o.routerNames(), ", "))
}

func (s *supervisor) routeFar(names []string) error {
	for _, n := range names {
		if s.routers[n] == nil {
			return s.options.noRouter(n)
		}
	}
	return routeFar(s.options, names)
}

func (r *routing) config() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *routing) tell(text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = true // even by lines of which one is refused
	if err := r.Configure(text); err != nil {
		return err
	}
	if !isFRR(r.Name()) {
		r.now = text
	}
	return nil
}

// restore lets the router run with its first configuration. What FRR was told
// it forgets with its processes.
func (r *routing) restore(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed && isFRR(r.Name()) {
		if err := r.Kill(); err != nil {
			return err
		}
	}
	if err := r.Start(ctx); err != nil {
		return err
	}
	if r.changed && !isFRR(r.Name()) {
		if err := r.Configure(r.first); err != nil {
			return err
		}
	}
	r.now, r.changed = r.first, false
	return nil
}

func (r *routing) status() (*RouterStatus, error) {
	st := &RouterStatus{Name: r.Name(), Running: r.Running()}
	if !st.Running {
		return st, nil
	}
	var err1, err2 error
	st.BGP, err1 = r.BGP()
	st.BFD, err2 = r.BFD()
	return st, errors.Join(err1, err2)
}

// RouterAddress is a router's IPv4 address on the nodes' network.
func (l *Lab) RouterAddress(name string) (netip.Addr, error) {
	for _, s := range l.record.Options.routers() {
		if s.name == name {
			return s.v4(), nil
		}
	}
	return netip.Addr{}, l.record.Options.noRouter(name)
}

// Routers are the names of the lab's routers.
func (l *Lab) Routers() []string { return l.record.Options.routerNames() }

// RouterKill ends a router's processes; its kernel goes on with the routes
// that it has. RouterStart starts them again.
func (l *Lab) RouterKill(name string) error { return l.order(routerKill, name) }

// RouterStop ends a router's processes in order: sessions are closed, routes
// are taken out of its kernel.
func (l *Lab) RouterStop(name string) error { return l.order(routerStop, name) }

// RouterStart starts what of a router does not run, and waits until it takes
// commands.
func (l *Lab) RouterStart(name string) error { return l.order(routerStart, name) }

// RouterShow has a router carry out a command of its own language.
func (l *Lab) RouterShow(name, command string) (string, error) {
	r, err := l.ask(request{Verb: routerShow, Node: name, Text: command})
	if err != nil {
		return "", err
	}
	return r.Text, nil
}

// RouterConfigure changes a router's configuration until Restore: for FRR,
// text are lines as they are typed after "configure terminal", which it
// forgets when it is killed; for BIRD, text is the whole configuration.
func (l *Lab) RouterConfigure(name, text string) error {
	_, err := l.ask(request{Verb: routerConfigure, Node: name, Text: text})
	return err
}

// RouterConfig is a router's configuration: of FRR, without what it was told by
// RouterConfigure.
func (l *Lab) RouterConfig(name string) (string, error) {
	r, err := l.ask(request{Verb: routerConfig, Node: name})
	if err != nil {
		return "", err
	}
	return r.Text, nil
}

// RouterStatus asks how a router is.
func (l *Lab) RouterStatus(name string) (*RouterStatus, error) {
	r, err := l.ask(request{Verb: routerStatus, Node: name})
	if err != nil {
		return nil, err
	}
	return r.Router, nil
}

// RouterReport is what a router knows, for somebody who wants to find out why
// something went wrong.
func (l *Lab) RouterReport(name string) string {
	commands := []string{"show protocols all", "show bfd sessions", "show route all"}
	if isFRR(name) {
		commands = []string{"show bgp summary", "show bfd peers brief", "show bgp ipv4 unicast", "show bgp ipv6 unicast", "show ip route", "show ipv6 route"}
	}
	var report strings.Builder
	for _, c := range commands {
		text, err := l.RouterShow(name, c)
		if err != nil {
			text = err.Error() + "\n"
		}
		fmt.Fprintf(&report, "--- %s\n%s", c, text)
	}
	return report.String()
}

// FarVia makes far use only these routers, until Restore.
func (l *Lab) FarVia(names ...string) error {
	_, err := l.ask(request{Verb: farVia, Text: strings.Join(names, ",")})
	return err
}

// Addresses are the addresses under which a node, a router or another station of
// the nodes' network is the next hop of a route: its IPv4 and IPv6 address, and its
// link-local one, which is made of the hardware address.
func (l *Lab) Addresses(name string) ([]netip.Addr, error) {
	for _, r := range l.record.Options.routers() {
		if r.name == name {
			return r.addresses(), nil
		}
	}
	s, err := l.record.Options.stationOf(name)
	if err != nil {
		return nil, err
	}
	return s.addresses(), nil
}

func (s station) addresses() []netip.Addr {
	return []netip.Addr{s.v4(), s.v6(), linkLocal(s.mac())}
}

// linkLocal is the address that the kernel makes of a hardware address (RFC
// 4291 appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}
