package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
)

// A copy is a running Controller on a fakeAPI, and what it told.
type copyOn struct {
	*Controller
	stop func()

	mu    sync.Mutex
	seats map[netip.Addr]allocator.Seat
	text  strings.Builder

	answers atomic.Bool // its node answers for the Service stays
}

func (c *copyOn) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(line)
}

func (c *copyOn) logged(text string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Count(c.text.String(), text)
}

func (c *copyOn) log() string { c.mu.Lock(); defer c.mu.Unlock(); return c.text.String() }

// announced tells that this node answers for the Service stays, when it is to.
func (c *copyOn) announced(bool) (a Announced) {
	if c.answers.Load() {
		a.Services = map[name]allocator.Report{{Namespace: "default", Name: "stays"}: {Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}
	}
	return a
}

// nodes returns the nodes that may announce an address, by name.
func (c *copyOn) nodes(addr string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, n := range c.seats[netip.MustParseAddr(addr)].Layer2 {
		out = append(out, n.Node)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// start runs a copy until the test stops it.
func start(t *testing.T, api *fakeAPI, node string) *copyOn {
	t.Helper()
	c := prepare(t, api, node, 0)
	c.start(t)
	return c
}

// prepare returns a copy on a machine whose clock is off by so much.
func prepare(t *testing.T, api *fakeAPI, node string, off time.Duration) *copyOn {
	t.Helper()
	c := &copyOn{seats: map[netip.Addr]allocator.Seat{}}
	var err error
	c.Controller, err = New(Config{
		REST: &rest.Config{Host: "http://api", Transport: api}, Node: node, Namespace: "holdfast-system",
		Settings:  allocator.Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second},
		Log:       slog.New(slog.NewTextHandler(c, nil)),
		Announced: c.announced,
		Placed: func(p allocator.Placement, _ map[string][]netip.Addr) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, a := range p.Gone {
				delete(c.seats, a)
			}
			for _, s := range p.Seats {
				c.seats[s.Addr] = s
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.clock.local = func() time.Time { return time.Now().Add(off) }
	c.clock.began = c.clock.local()
	return c
}

// start runs the copy until stop is called.
func (c *copyOn) start(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// within waits until something is so.
func within(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("not seen within %s: %s", limit, what)
		}
	}
}

const manifest = `
kind: IPAddressPool
apiVersion: metallb.io/v1beta1
metadata: {name: p, namespace: holdfast-system}
spec: {addresses: [192.0.2.0/24]}
---
kind: L2Advertisement
apiVersion: metallb.io/v1beta1
metadata: {name: all, namespace: holdfast-system}
spec: {}
---
kind: Namespace
apiVersion: v1
metadata: {name: default}
---
kind: Node
apiVersion: v1
metadata: {name: node1}
---
kind: Node
apiVersion: v1
metadata: {name: node2}
---
`

func serviceManifest(name, node string) string {
	return fmt.Sprintf(`
kind: Service
apiVersion: v1
metadata: {name: %[1]s, namespace: default}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{port: 80, protocol: TCP}]}
---
`, name) + sliceManifest(name, node)
}

func sliceManifest(name, node string) string {
	return fmt.Sprintf(`
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: %[1]s-1, namespace: default, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], nodeName: %[2]s, conditions: {ready: true}}]
---
`, name, node)
}

const (
	saidBack = "has gone back to an older state"
	saidDone = "everything was read anew"
)

// Invariant 9: the storage goes back, by more or fewer writes, with a restart of the
// API server. Every copy sees what is there, hears what comes, and says it once.
func TestStorageThatWentBackIsReadAnew(t *testing.T) {
	for _, c := range []struct{ more, soon int }{{0, 0}, {20, 0}, {3000, 0}, {0, 500}} {
		more := c.more
		t.Run(fmt.Sprintf("%d writes after the backup, %d at once after the restore", more, c.soon), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newFakeAPI()
				api.apply(t, manifest+serviceManifest("stays", "node1")+serviceManifest("goes", "node1"))
				copies := []*copyOn{start(t, api, "node1"), start(t, api, "node2")}
				defer func() {
					for _, c := range copies {
						c.stop()
					}
				}()
				everywhere := func(what string, is func(*copyOn) bool) {
					t.Helper()
					within(t, 5*time.Second, what, func() bool { return is(copies[0]) && is(copies[1]) })
				}
				on := func(service, nodes string) {
					t.Helper()
					within(t, 5*time.Second, "address of "+service, func() bool { return api.addresses(service) != "" })
					at := api.addresses(service)
					everywhere(service+" on "+nodes, func(c *copyOn) bool { return c.nodes(at) == nodes })
				}
				on("stays", "node1")
				on("goes", "node1")
				time.Sleep(time.Minute)
				backup := api.backup()
				api.apply(t, serviceManifest("later", "node1"))
				on("later", "node1")
				later := api.addresses("later")
				api.remove("services/default/goes")
				copies[0].answers.Store(true)
				copies[0].Announcing()
				said := func() bool {
					return len(api.list(selector("servicel2statuses", "", "", ""), false)["items"].([]any)) == 1
				}
				within(t, 5*time.Second, "what node1 says of itself", said)
				api.apply(t, sliceManifest("stays", "node2"))
				on("stays", "node2")
				for i := range more {
					api.apply(t, fmt.Sprintf("kind: ConfigMap\napiVersion: v1\nmetadata: {name: c%d, namespace: default}\n", i))
				}
				time.Sleep(time.Minute)

				api.restore(backup, c.soon)
				began := time.Now()
				if c.soon > 0 { // what versions do not tell is told by the Lease, with its next renewal
					time.Sleep(4 * time.Second)
				}
				api.apply(t, serviceManifest("new", "node2"))
				on("new", "node2")
				t.Logf("the new Service has its address after %s", time.Since(began))
				on("stays", "node1")
				on("goes", "node1")
				if api.addresses("new") != later {
					t.Fatalf("the new Service has %s, and %s is free", api.addresses("new"), later)
				}
				within(t, 5*time.Second, "what node1 says of itself, again", said)
				everywhere("the end", func(c *copyOn) bool { return c.logged(saidDone) == 1 })
				t.Logf("everything is as it should be after %s", time.Since(began))
				api.apply(t, sliceManifest("stays", "node2"))
				on("stays", "node2")
				time.Sleep(time.Minute)
				for _, c := range copies {
					if n := c.logged(saidBack); n != 1 || c.logged(saidDone) != 1 {
						t.Errorf("%s said it %d times:\n%s", c.Node, n, c.log())
					}
				}
			})
		})
	}
}
