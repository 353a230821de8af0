package controller

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/lease"
)

// Invariant 1: the announcement path of the leader's own node does not wait for Plan.
func TestPlacingNeverWaitsForPlanning(t *testing.T) {
	var planning chan struct{}
	onStage(t, func(st *stage) {
		planning = make(chan struct{})
		n := shopped("a")
		st.shop.edit(n, func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		})
		st.plan = func(s *allocator.Snapshot, now time.Time) allocator.Planned {
			<-planning
			return allocator.Plan(s, now)
		}
	}, func(st *stage) {
		synctest.Wait() // what there was is placed, and the first plan is being made
		before := len(st.tells())
		st.slice(shopped("a"), "node1", 11)
		synctest.Wait()
		if all := st.tells(); len(all) != before+1 {
			t.Errorf("an endpoint came while a plan was being made: told %v, before %d", all, before)
		}
		if st.shop.written(shopped("a")) != nil {
			t.Error("written before it was planned")
		}
		close(planning)
		synctest.Wait()
		time.Sleep(time.Second)
		if c := conditionOf(st.shop.service(shopped("a")).Status.Conditions, conditionHeld); c == nil || c.Status != "True" {
			t.Errorf("after the plan it is said: %+v", c)
		}
	})
}

// Invariant 3: what a plan decides that was begun in a term and ends after it is not
// written, and the term's end is not put off by more than that plan.
func TestNeverAWriteOfAPlanThatOutlivesItsTerm(t *testing.T) {
	var planning chan struct{}
	onStage(t, func(st *stage) {
		planning = make(chan struct{})
		st.shop.edit(shopped("a"), func(*corev1.Service) {})
		st.plan = func(s *allocator.Snapshot, now time.Time) allocator.Planned {
			<-planning
			return allocator.Plan(s, now)
		}
	}, func(st *stage) {
		synctest.Wait()
		st.lease.setCut(true)
		<-st.term.Done()
		time.Sleep(time.Second)
		close(planning)
		<-st.ended
		time.Sleep(time.Minute)
		if n := len(st.shop.written(shopped("a"))); n != 0 {
			t.Errorf("written %d times after the term", n)
		}
		synctest.Wait()
		if n := len(st.belief.feeds); n > 1 {
			t.Errorf("%d readers of the belief are left", n)
		}
	})
}

// A plan is made from all that is known when the term begins: those of the term
// before are forgotten.
func TestEachTermPlansFromAllFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelief(options{})
		version := 0
		put := func(n string, change func(*corev1.Service)) {
			version++
			s := from[corev1.Service](t, "metadata: {namespace: shop}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1}")
			s.Name, s.ResourceVersion = n, string(rune('0'+version))
			change(s)
			keepOf(b, b.services, func(in *corev1.Service) (*service, bool) { v := serviceOf(in, ""); return v, v != nil }).Update(s)
		}
		nothing := func(*corev1.Service) {}
		placing := b.subscribe(false)
		put("a", nothing)
		if changes, facts := placing.take(); len(facts.Services) != 1 || len(changes.facts) != 0 || len(changes.services) != 0 {
			t.Errorf("the first to be taken: %+v %+v", changes, facts)
		}
		put("b", nothing)
		planning := b.subscribe(true)
		put("c", nothing)
		if changes, facts := planning.take(); len(facts.Services) != 3 || len(changes.services) != 3 || len(changes.facts) != 0 {
			t.Errorf("who comes later takes: %+v %+v", changes, facts)
		}
		put("c", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.7" })
		put("c", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.8" })
		if changes, facts := planning.take(); facts != nil || len(changes.services) != 1 || len(changes.facts) != 1 {
			t.Errorf("then: %+v %+v", changes, facts)
		}
		if changes, facts := placing.take(); facts != nil || len(changes.facts) != 2 || b.ours != 3 {
			t.Errorf("what the other took is not missed: %+v %+v", changes, facts)
		}
		planning.close()
		put("d", nothing)
		if changes, _ := planning.take(); len(changes.facts) != 0 {
			t.Error("kept for a reader that has gone")
		}
		// What is written on it does not matter to where it is placed.
		placing.take()
		put("d", func(s *corev1.Service) { s.Status.Conditions = append(s.Status.Conditions, conditionFor("x")) })
		if changes, _ := placing.take(); len(changes.facts) != 0 {
			t.Errorf("a condition is no news to who places: %+v", changes.facts)
		}
	})
}

// What is seen while a clock is wrong is planned when it is right again, without any
// other news, and so is what was on its way.
func TestWhatCameWhileAClockWasWrongIsPlanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t)
		st.begin("192.0.2.0/24")
		go st.loop(t.Context())
		leading(t, &st.lease, func(term *lease.Term) {
			<-st.belief.planned
			tn := newTenure(st.Controller, term)
			fence := &stepped{Term: term}
			synctest.Wait()
			tn.term, tn.publisher.term = fence, fence
			planning := make(chan struct{})
			go func() { tn.run(term.Done()); close(planning) }()
			time.Sleep(time.Second)
			fence.past.Store(true)
			st.shop.edit(shopped("a"), func(*corev1.Service) {})
			time.Sleep(5 * time.Second)
			if all := st.shop.written(shopped("a")); len(all) != 0 {
				t.Errorf("written past the fence: %+v", all)
			}
			fence.past.Store(false)
			time.Sleep(2 * fencedPause)
			if all := st.shop.written(shopped("a")); len(all) == 0 || !all[0].address() {
				t.Errorf("written within it: %+v", all)
			}
			st.lease.setCut(true)
			<-term.Done()
			tn.publisher.stop()
			<-planning
		})
	})
}

// Invariant 6: what is held back is looked at again by itself, and given as soon as
// nothing is in doubt any more.
func TestWhatIsHeldBackIsGivenWhenTheDoubtIsOver(t *testing.T) {
	a, b := shopped("a"), shopped("b")
	at := netip.MustParseAddr("192.0.2.1")
	heir := a // who is to have the address
	decided := func(n name) allocator.Decision {
		if n != heir {
			return allocator.Decision{Service: n, Reasons: []allocator.Reason{{Code: allocator.PoolFull, Detail: "waits"}}}
		}
		d := *held(at.String())
		d.Service = n
		return d
	}
	onStage(t, func(st *stage) {
		for _, n := range []name{a, b} {
			st.shop.edit(n, func(*corev1.Service) {})
		}
		last := name{}
		st.plan = func(*allocator.Snapshot, time.Time) (p allocator.Planned) {
			if last != heir { // else nothing has changed near either
				p.Decisions = []allocator.Decision{decided(a), decided(b)}
			}
			last = heir
			return p
		}
		st.shop.refuse = func(r *http.Request) (int, string) {
			if strings.Contains(r.URL.Path, "/services/a/") {
				<-r.Context().Done() // the answer is lost
				return http.StatusInternalServerError, ""
			}
			return 0, ""
		}
	}, func(st *stage) {
		began := time.Now()
		time.Sleep(time.Second)
		synctest.Wait()
		heir = b
		st.show("namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other", ResourceVersion: "11"}})
		time.Sleep(time.Minute)
		for _, w := range st.shop.written(b) {
			if !w.address() {
				continue
			}
			if after := w.at.Sub(began); after < 2*writeLimit || after > 2*writeLimit+2*heldBackPause {
				t.Errorf("given after %s; the doubt was over after %s", after, 2*writeLimit)
			}
			return
		}
		t.Error("never given")
	})
}
