package apitest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller"
)

// An instance is a running Controller and what it told.
type instance struct {
	*controller.Controller
	stop func()

	mu    sync.Mutex
	seats map[netip.Addr]allocator.Seat
	key   []byte

	voice    voice
	sessions []peering.Session
	told     int             // how often sessions were told
	text     strings.Builder // the log
}

// Write takes a line of the log, and shows it.
func (c *instance) Write(line []byte) (int, error) {
	c.mu.Lock()
	c.text.Write(line)
	c.mu.Unlock()
	return os.Stderr.Write(line)
}

// logged returns how many lines of the log hold that text.
func (c *instance) logged(text string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Count(c.text.String(), text)
}

// seat returns who may announce an address.
func (c *instance) seat(addr string) (allocator.Seat, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.seats[netip.MustParseAddr(addr)]
	return s, ok
}

func (s *Server) run(t testing.TB, node string) *instance {
	return s.runWith(t, node, func(*controller.Config) {})
}

// runWith runs a copy whose configuration alter has changed.
func (s *Server) runWith(t testing.TB, node string, alter func(*controller.Config)) *instance {
	t.Helper()
	c := &instance{seats: map[netip.Addr]allocator.Seat{}, voice: voice{node: node}}
	config := controller.Config{
		REST: s.Copy(), Node: node, Namespace: "holdfast-system",
		Settings:      allocator.Settings{Settle: 2 * time.Second, Overlap: time.Second},
		LeaseDuration: 5 * time.Second,
		Log:           slog.New(slog.NewTextHandler(c, nil)).With("copy", node),
		Placed: func(p allocator.Placement, _ map[string][]netip.Addr) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, a := range p.Gone {
				delete(c.seats, a)
			}
			for _, seat := range p.Seats {
				c.seats[seat.Addr] = seat
			}
			c.answer()
		},
		Key:        func(k []byte) { c.mu.Lock(); c.key = k; c.mu.Unlock() },
		PodName:    "pod-" + node,
		PodUID:     "uid-" + node,
		Announced:  c.voice.tellAnnounced,
		Advertised: c.voice.tellAdvertised,
		Sessions: func(s []peering.Session) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.sessions, c.told = s, c.told+1
		},
	}
	alter(&config)
	var err error
	if c.Controller, err = controller.New(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: %v", node, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s does not end", node)
		}
	})
	t.Cleanup(c.stop)
	return c
}

const pool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: %s, namespace: holdfast-system}
spec: {addresses: [%q]}
---
`

const advertisement = `
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: holdfast-system}
spec: {}
---
`

const node = `
apiVersion: v1
kind: Node
metadata: {name: %s}
---
`

func servicesNamed(names ...string) (out []allocator.ServiceName) {
	for _, n := range names {
		out = append(out, allocator.ServiceName{Namespace: "default", Name: n})
	}
	return out
}

func service(name, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default}
spec: {type: LoadBalancer, selector: {app: a}, ports: [{port: 80}]%s}
---
`, name, more)
}

// From the first Service to the last: two copies, one waiter, one farewell.
func TestServiceIsGivenAnAddress(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.10/32")+advertisement+fmt.Sprintf(node, "node1")+service("a", ""))
	one := s.run(t, "node1")
	eventually(t, "an address in the status", func() bool { return s.address(t, "a") == "192.0.2.10" })
	eventually(t, "the address placed", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return len(one.seats) == 1
	})
	eventually(t, "a membership key", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return len(one.key) == 32
	})
	s.Apply(t, service("b", ""))
	two := s.run(t, "node2")
	eventually(t, "events", func() bool { return strings.Contains(s.shown(t, "default", "events"), "AllocationFailed") })
	one.stop()
	eventually(t, "the other leads", func() bool { return two.Stats().Leads })
	s.Kubectl(t, "delete", "service", "a")
	eventually(t, "the waiter served", func() bool { return s.address(t, "b") == "192.0.2.10" })
	s.Kubectl(t, "patch", "service", "b", "-p", `{"spec":{"type":"ClusterIP"}}`)
	eventually(t, "no marks left", func() bool {
		b := s.shown(t, "default", "services/b")
		return !strings.Contains(b, "holdfast.dev") && !strings.Contains(b, "metallb.io")
	})
}
