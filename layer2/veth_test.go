package layer2

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"holdfast.dev/holdfast/deploy/world"
)

func TestMain(m *testing.M) {
	if os.Getenv(pingerVar) != "" {
		pinger()
	}
	if os.Getenv(flooderVar) != "" {
		flooder()
	}
	world.Main(m.Run)
}

// vethSegment is a bridge in a namespace of its own; nodes, hosts and stations
// are namespaces with a cable to it.
type vethSegment struct {
	name     string
	machines int
	cables   int
}

var segments atomic.Int32

func newVeth(t testing.TB) *vethSegment {
	world.Require(t)
	s := &vethSegment{name: fmt.Sprintf("s%d", segments.Add(1))}
	s.namespace(t, s.name)
	must(t, world.AddBridge(s.name, "br0"))
	return s
}

// namespace makes one that is gone when the test ends.
func (s *vethSegment) namespace(t testing.TB, name string) {
	must(t, world.AddNamespace(name))
	t.Cleanup(func() { must(t, world.IP("", "netns del "+name)) })
}

func (s *vethSegment) machine(t testing.TB, kind string) string {
	s.machines++
	name := fmt.Sprintf("%s-%s%d", s.name, kind, s.machines)
	s.namespace(t, name)
	return name
}

// plug adds an interface to a machine and returns the bridge's end of it.
func (s *vethSegment) plug(t testing.TB, ns, name string, m mac) (port string) {
	s.cables++
	port = fmt.Sprintf("p%d", s.cables)
	must(t, world.IP(s.name, fmt.Sprintf("link add %s type veth peer name %s netns %s address %s", port, name, ns, m),
		"link set "+port+" master br0 up"))
	return port
}

func (s *vethSegment) station(t testing.TB, m mac) *station {
	ns := s.machine(t, "station")
	setting(t, ns, "net/ipv6/conf/all/disable_ipv6", "1")
	setting(t, ns, "net/ipv6/conf/default/disable_ipv6", "1")
	s.plug(t, ns, "eth0", m)
	must(t, world.IP(ns, "link set eth0 up promisc on"))
	st := &station{mac: m}
	var fd int
	must(t, world.Within(ns, func() (err error) {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: ifi.Index}) // ETH_P_ALL
	}))
	file := os.NewFile(uintptr(fd), "station")
	t.Cleanup(func() { file.Close() })
	st.write = func(frame []byte) {
		if _, err := file.Write(frame); err != nil {
			t.Errorf("station: %v", err)
		}
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, err := file.Read(buf)
			if err != nil {
				return
			}
			if mac(buf[6:12]) != m { // its own come by too
				st.heard(buf[:n])
			}
		}
	}()
	return st
}

// vethNode is a namespace in which an Announcer runs.
type vethNode struct {
	s     *vethSegment
	ns    string
	ports map[string]string // of the bridge, by interface
}

func (s *vethSegment) node(t testing.TB) node {
	n := &vethNode{s: s, ns: s.machine(t, "node"), ports: map[string]string{}}
	setting(t, n.ns, "net/ipv6/conf/default/accept_dad", "0")
	return n
}

func (n *vethNode) run(t testing.TB, c Config) *Announcer {
	a := New(c)
	start(t, func(ctx context.Context) error {
		return world.Within(n.ns, func() error { return a.Run(ctx) })
	})
	return a
}

func (n *vethNode) add(t testing.TB, name string, m mac) {
	n.ports[name] = n.s.plug(t, n.ns, name, m)
	must(t, world.IP(n.ns, "link set "+name+" up"))
}

func (n *vethNode) remove(t testing.TB, name string) {
	must(t, world.IP(n.ns, "link del "+name))
}

func (n *vethNode) up(t testing.TB, name string, up bool) {
	must(t, world.IP(n.ns, "link set "+name+" "+upOrDown(up)))
}

func (n *vethNode) cable(t testing.TB, name string, in bool) {
	must(t, world.IP(n.s.name, "link set "+n.ports[name]+" "+upOrDown(in)))
}

func (n *vethNode) setMAC(t testing.TB, name string, m mac) {
	must(t, world.IP(n.ns, "link set "+name+" address "+m.String()))
}

// rename works on an interface that is up, since kernel 6.2.
func (n *vethNode) rename(t testing.TB, old, name string) {
	must(t, world.IP(n.ns, "link set "+old+" down", "link set "+old+" name "+name, "link set "+name+" up"))
	n.ports[name] = n.ports[old]
}

func (n *vethNode) groups(t testing.TB, name string) []netip.Addr {
	var all []struct {
		Maddr []struct{ Address netip.Addr }
	}
	out, err := world.Command("", "ip", "-n", n.ns, "-j", "-6", "maddr", "show", "dev", name).Output()
	must(t, err)
	must(t, json.Unmarshal(out, &all))
	var groups []netip.Addr
	for _, i := range all {
		for _, m := range i.Maddr {
			if m.Address == solicitedNode(m.Address) && strings.Contains(m.Address.String(), ":ff99:") {
				groups = append(groups, m.Address)
			}
		}
	}
	return groups
}

// vethHost is a namespace with Linux's own neighbour table.
type vethHost struct{ ns string }

func (s *vethSegment) host(t testing.TB, v4, v6 netip.Prefix) host {
	h := &vethHost{ns: s.machine(t, "host")}
	s.plug(t, h.ns, "eth0", mac{2, 0, 0, 0, 0xfe, byte(s.machines)})
	must(t, world.IP(h.ns, "addr add "+v4.String()+" dev eth0", "addr add "+v6.String()+" dev eth0 nodad", "link set eth0 up"))
	return h
}

func (h *vethHost) reach(t testing.TB, addr netip.Addr) {
	must(t, world.Within(h.ns, func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	}))
}

func (h *vethHost) entry(t testing.TB, addr netip.Addr) (lladdr string, state string) {
	var all []struct {
		Lladdr string
		State  []string
	}
	out, err := world.Command("", "ip", "-n", h.ns, "-j", "neigh", "show", "to", addr.String(), "dev", "eth0").Output()
	must(t, err)
	must(t, json.Unmarshal(out, &all))
	for _, n := range all {
		return n.Lladdr, strings.Join(n.State, ",")
	}
	return "", ""
}

func (h *vethHost) neighbour(t testing.TB, addr netip.Addr) (mac, bool) {
	lladdr, _ := h.entry(t, addr)
	m, err := net.ParseMAC(lladdr)
	if err != nil {
		return mac{}, false
	}
	return mac(m), true
}

// verify puts the entry into the state in which the kernel probes.
func (h *vethHost) verify(t testing.TB, addr netip.Addr) bool {
	lladdr, _ := h.entry(t, addr)
	if lladdr == "" {
		return false
	}
	must(t, world.IP(h.ns, fmt.Sprintf("neigh change %s lladdr %s dev eth0 nud probe", addr, lladdr)))
	for range 100 {
		if _, state := h.entry(t, addr); state != "PROBE" {
			return state == "REACHABLE"
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

func upOrDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func setting(t testing.TB, ns, path, value string) {
	must(t, world.Within(ns, func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) }))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
