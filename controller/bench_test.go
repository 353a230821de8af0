package controller

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/lease"
)

const crowd = 10_000 // Services

// A chain is both loops of a leader over many Services, stepped by hand, with what
// would be written.
type chain struct {
	*stage
	round  *round
	tenure *tenure
}

// still is a term that does not end.
type still struct{ done chan struct{} }

func (s still) Held() bool            { return true }
func (s still) Done() <-chan struct{} { return s.done }
func (s still) Context(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

// newChain has Services that hold an address each, with endpoints, and others that
// wait for a pool. What is to be written at first has been.
func newChain(b *testing.B, waiting int) *chain {
	b.Helper()
	c := &chain{stage: newStage(b)}
	for i := range crowd + waiting {
		s := &corev1.Service{
			TypeMeta:   metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("s", i), UID: "u", ResourceVersion: "5"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{{Port: 80}}},
		}
		if i >= crowd {
			s.Annotations = map[string]string{allocator.PrefixMetalLB + allocator.AnnotationPool: "none"}
		}
		c.shop.services[shopped(s.Name)] = s
	}
	c.begin("10.0.0.0/16")
	for i := range crowd {
		c.slice(shopped(fmt.Sprint("s", i)), "node1", 11)
	}
	c.round = &round{c: c.Controller, feed: c.belief.subscribe(false)}
	c.round.step()
	c.tenure = newTenure(c.Controller, new(lease.Term))
	c.tenure.publisher.stop()
	c.tenure.term, c.tenure.publisher = still{}, unmanned()
	for try, left := 0, 1; left > 0 || try < 5; try++ { // until nothing is to be written any more
		c.tenure.step()
		c.carryOut(b)
		c.round.step()
		left = 0
		c.tenure.publisher.mu.Lock()
		for to := range c.tenure.publisher.lanes {
			if to.kind == "services" { // the shop keeps nothing else
				left++
			}
		}
		c.tenure.publisher.mu.Unlock()
		if left > 0 { // what may wait does
			time.Sleep(100 * time.Millisecond)
		}
		if try == 100 {
			b.Fatalf("%d are still to be written", left)
		}
	}
	runtime.GC()
	return c
}

// unmanned returns a publisher that nobody sends for.
func unmanned() *publisher {
	p := &publisher{term: still{}, gate: newGate(), lanes: map[target]*lane{}, doubting: map[target]*lane{}, giving: map[target]*lane{}}
	p.more = sync.NewCond(&p.mu)
	return p
}

// carryOut writes what is wanted.
func (c *chain) carryOut(b *testing.B) (n int) {
	for {
		p := c.tenure.publisher
		p.mu.Lock()
		to, l := p.queue.take(true)
		if l == nil {
			p.mu.Unlock()
			break
		}
		w := l.want
		delete(p.lanes, to)
		p.mu.Unlock()
		if w == nil || to.kind != "services" {
			continue
		}
		answer, err := w.send(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		w.sent(answer)
		n++
	}
	return n
}

// used is the CPU that this process has used.
func used() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The whole way of one change on a leader: from the watch to where the address is
// announced and to what is to be written, beside many that nothing happens to.
func BenchmarkChain(b *testing.B) {
	events := map[string]func(c *chain, i int){
		"endpoint": func(c *chain, i int) {
			s := &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s7-x", ResourceVersion: fmt.Sprint(1_000_000 + i), Labels: map[string]string{discoveryv1.LabelServiceName: "s7"}},
			}
			if node := "node1"; i%2 == 1 {
				s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}, NodeName: &node}}
			}
			c.show("endpointslices", s)
		},
		"label": func(c *chain, i int) {
			c.shop.edit(shopped("s7"), func(s *corev1.Service) { s.Labels = map[string]string{"i": fmt.Sprint(i)} })
		},
		"port": func(c *chain, i int) {
			c.shop.edit(shopped("s7"), func(s *corev1.Service) { s.Spec.Ports[0].Port = int32(80 + i%2) })
		},
	}
	for _, waiting := range []int{0, crowd} {
		c := newChain(b, waiting)
		for event, happen := range events {
			b.Run(fmt.Sprintf("%s/beside=%d/waiting=%d", event, crowd, waiting), func(b *testing.B) {
				before := used()
				i := 0
				for b.Loop() {
					i++
					happen(c, i)
					c.round.step()
					c.tenure.step()
				}
				b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-µs/op")
				c.carryOut(b)
			})
		}
	}
}

// A new Service among conditions that are waiting to be written, and alone: how long
// it takes until its address has been written, where a write takes 20 ms.
func BenchmarkNewServiceAmongConditions(b *testing.B) {
	const takes, pending, tries = 20 * time.Millisecond, 5000, 40
	st := newStage(b)
	for i := range pending {
		n := shopped(fmt.Sprint("c", i))
		st.shop.services[n] = &corev1.Service{
			TypeMeta:   metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name, UID: "u", ResourceVersion: "5"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{{Port: 80}}},
		}
	}
	arrived := make(chan time.Time, 1)
	var awaited atomic.Pointer[string]
	watch := st.shop.watch
	st.shop.watch = func(o *corev1.Service) {
		if n := awaited.Load(); n != nil && *n == o.Name && len(o.Status.LoadBalancer.Ingress) > 0 && awaited.CompareAndSwap(n, nil) {
			arrived <- time.Now()
		}
		watch(o)
	}
	st.begin("10.0.0.0/16")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go st.loop(ctx)
	<-st.belief.planned
	tn := newTenure(st.Controller, new(lease.Term))
	tn.term, tn.publisher.term = still{}, still{}
	median := func(label string) time.Duration {
		var all []time.Duration
		for i := range tries {
			n := shopped(fmt.Sprint("n", label, i))
			awaited.Store(&n.Name)
			began := time.Now()
			st.shop.edit(n, func(*corev1.Service) {})
			all = append(all, (<-arrived).Sub(began))
			time.Sleep(7 * time.Millisecond)
		}
		slices.Sort(all)
		return all[tries/2]
	}
	left := func() int {
		tn.publisher.mu.Lock()
		defer tn.publisher.mu.Unlock()
		return len(tn.publisher.lanes)
	}
	drain := func() {
		for time.Sleep(time.Second); left() > 0; {
			time.Sleep(50 * time.Millisecond)
		}
	}
	go tn.run(nil)
	drain() // all hold addresses
	st.shop.takes = takes
	for i := range pending {
		st.shop.edit(shopped(fmt.Sprint("c", i)), func(s *corev1.Service) {
			s.Status.Conditions = slices.DeleteFunc(slices.Clone(s.Status.Conditions), func(c metav1.Condition) bool { return c.Type == conditionHeld })
		})
	}
	for left() < pending*9/10 {
		time.Sleep(time.Millisecond)
	}
	among := median("among")
	if n := left(); n < pending/3 {
		b.Fatalf("only %d are left of those that are to wait", n)
	}
	drain()
	alone := median("alone")
	b.ReportMetric(float64(among.Microseconds())/1000, "ms-among")
	b.ReportMetric(float64(alone.Microseconds())/1000, "ms-alone")
	b.ReportMetric(float64(among)/float64(alone), "ratio")
	b.ReportMetric(0, "ns/op")
	tn.publisher.stop()
}
