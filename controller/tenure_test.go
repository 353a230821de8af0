package controller

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/lease"
)

// ruling runs do with a tenure over the Services, all of namespace n.
func ruling(t *testing.T, server *slowServer, services []*corev1.Service, do func(*tenure)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &Controller{Config: Config{Log: quiet, Namespace: "holdfast-system"}, stats: newCounters(), clock: newAPIClock(), gate: newGate(), plan: allocator.Plan}
		c.belief = newBelief(options{})
		c.clients = &clients{core: server.client(t), metallb: server.client(t)}
		c.sources = sources(&clients{core: c.clients.core, discovery: c.clients.core, metallb: c.clients.core}, c.belief, c.Namespace)
		c.events = newRecorder(c.clients.core, "node1", quiet, c.stats)
		leading(t, &soleLease{}, func(term *lease.Term) {
			tn := newTenure(c, term)
			facts := allocator.Facts{Pools: []allocator.Pool{{Name: "p", Addresses: []string{"192.0.2.1/32"}, AutoAssign: true}}}
			for _, s := range services {
				v := serviceOf(s, "")
				tn.views[v.name] = v
				facts.Services = append(facts.Services, *v.fact)
			}
			tn.snapshot = allocator.NewSnapshot(facts)
			allocator.Place(tn.snapshot)
			do(tn)
			tn.publisher.stop()
		})
	})
}

// Invariant 6: what a write whose answer was lost may yet give to one Service is
// not given to another.
func TestNeverGivesAwayWhatIsInDoubt(t *testing.T) {
	a := from[corev1.Service](t, "metadata: {name: a, namespace: shop, uid: a, resourceVersion: '5'}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1, ports: [{port: 80}]}")
	b := from[corev1.Service](t, "metadata: {name: b, namespace: shop, uid: b, resourceVersion: '6', creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.2, ports: [{port: 80}]}")
	server := &slowServer{takes: time.Hour, answer: func(*http.Request) (int, string) { return http.StatusOK, "{}" }}
	ruling(t, server, []*corev1.Service{a, b}, func(tn *tenure) {
		at := netip.MustParseAddr("192.0.2.1")
		give := func(n *corev1.Service, doubts map[netip.Addr][]name) {
			d := held(at.String())
			d.Service = name{Namespace: "shop", Name: n.Name}
			tn.decisions[d.Service] = d
			tn.publishDecision(tn.views[d.Service], d, doubts, time.Now())
		}
		nameA, nameB := name{Namespace: "shop", Name: "a"}, name{Namespace: "shop", Name: "b"}
		give(a, nil)
		time.Sleep(time.Second) // it is on its way, and never answered
		doubts := tn.doubts(time.Now())
		if len(doubts[at]) != 1 || doubts[at][0] != nameA {
			t.Fatalf("doubts: %v", doubts)
		}
		tn.note(nameA, &allocator.Decision{Service: nameA}) // the plan changed its mind
		tn.publisher.drop(target{"services", nameA})
		give(b, tn.doubts(time.Now()))
		if !tn.heldBack[nameB] {
			t.Error("the address was given to another while in doubt")
		}
		// The watch shows that a's object has moved on: the write cannot land.
		a.ResourceVersion = "7"
		tn.views[nameA] = serviceOf(a, "")
		clear(tn.heldBack)
		give(b, tn.doubts(time.Now()))
		if tn.heldBack[nameB] {
			t.Error("held back though there is no doubt any more")
		}
	})
}

// Invariant 6: likewise what a write gives that has not been sent, when by a newer plan
// the address is another's. However long it takes to publish that plan, and whoever's
// turn comes first, the older write is not sent.
func TestNeverSendsWhatIsAnothersByNow(t *testing.T) {
	a := from[corev1.Service](t, "metadata: {name: a, namespace: shop, uid: a, resourceVersion: '5'}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1, ports: [{port: 80}]}")
	b := from[corev1.Service](t, "metadata: {name: b, namespace: shop, uid: b, resourceVersion: '6'}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.2, ports: [{port: 81}]}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.5}]}}")
	var log bytes.Buffer
	server := &slowServer{}
	ruling(t, server, []*corev1.Service{a, b}, func(tn *tenure) {
		tn.c.Log = slog.New(slow{slog.NewTextHandler(&log, nil)})
		tn.c.gate.heed(apierrors.NewTooManyRequests("later", 5))
		give := held("192.0.2.1")
		give.Service = shopped("a")
		publish := func(planned ...allocator.Decision) {
			concerned := map[name]bool{}
			for i := range planned {
				concerned[planned[i].Service] = true
				tn.note(planned[i].Service, &planned[i])
			}
			tn.publishAll(concerned, planned, time.Now())
		}
		publish(*give)
		time.Sleep(time.Second)
		if log.Len() > 0 || len(tn.heldBack) > 0 {
			t.Errorf("at first: %s", &log)
			return
		}
		// That b loses its address for no reason is said in the log, which takes its time.
		publish(allocator.Decision{Service: shopped("b")}, allocator.Decision{Service: shopped("a"), Reasons: []allocator.Reason{{Code: allocator.PoolFull}}})
		if log.Len() == 0 {
			t.Error("nothing was said")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		server.mu.Lock()
		defer server.mu.Unlock()
		for _, body := range server.bodies {
			if strings.Contains(body, "loadBalancer") {
				t.Errorf("sent: %s", body)
			}
		}
	})
}

// slow is a log that takes its time.
type slow struct{ slog.Handler }

func (s slow) Handle(ctx context.Context, r slog.Record) error {
	time.Sleep(10 * time.Second)
	return s.Handler.Handle(ctx, r)
}
