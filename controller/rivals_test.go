package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// overwrite is what another writer does to a status.
func overwrite(manager string, status func(*corev1.ServiceStatus)) func(*corev1.Service) {
	return func(s *corev1.Service) {
		status(&s.Status)
		manage(s, manager)
	}
}

// losing takes one condition out of a status.
func losing(kind string) func(*corev1.ServiceStatus) {
	return func(s *corev1.ServiceStatus) {
		s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == kind })
	}
}

// A script that writes our status again and again is noticed after its second write,
// named, and answered with growing pauses; when it stops, it is forgotten.
func TestNeverWriteForWriteWithAnotherWriter(t *testing.T) {
	n := shopped("a")
	for what, status := range map[string]func(*corev1.ServiceStatus){
		"empties it":                func(s *corev1.ServiceStatus) { s.LoadBalancer.Ingress = nil },
		"takes our conditions away": func(s *corev1.ServiceStatus) { s.Conditions = nil },
		"takes the record away":     losing(conditionRecord),
		"takes a condition away":    losing(conditionAnnounced),
		"writes another record": func(s *corev1.ServiceStatus) {
			if c := conditionOf(s.Conditions, conditionRecord); c != nil {
				c.Message = strings.Replace(c.Message, `"pool":"p"`, `"pool":"q"`, 1)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			onStage(t, func(st *stage) {
				st.shop.edit(n, func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.7" })
			}, func(st *stage) {
				time.Sleep(time.Second)
				if all := st.shop.written(n); len(all) == 0 || !all[0].address() {
					t.Fatalf("at first: %+v", all)
				}
				before := len(st.shop.written(n))
				for range 150 { // 30 s
					st.shop.edit(n, overwrite("script", status))
					time.Sleep(200 * time.Millisecond)
				}
				// At once, then after 1, 2, 4, 8 and 16 s.
				if answers := len(st.shop.written(n)) - before; answers < 3 || answers > 7 {
					t.Errorf("150 writes in 30 s were answered %d times", answers)
				}
				time.Sleep(time.Minute) // it has stopped
				if in := st.shop.service(n).Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != "192.0.2.7" {
					t.Errorf("the address is not back: %+v", in)
				}
				held := conditionOf(st.shop.service(n).Status.Conditions, conditionHeld)
				if held == nil || held.Status != metav1.ConditionTrue || held.Reason != string(otherWriter) || !strings.Contains(held.Message, `"script", last at 20`) {
					t.Errorf("the condition says: %+v", held)
				}
				synctest.Wait()
				var told []string
				st.shop.mu.Lock()
				events := slices.Clone(st.shop.events)
				st.shop.mu.Unlock()
				for _, e := range events {
					if e.Reason == eventOther {
						told = append(told, fmt.Sprint(e.Type, e.Count, e.Message))
					}
				}
				if len(told) == 0 || len(told) > 7 || !strings.HasPrefix(told[0], "Warning") || !strings.Contains(told[0], `"script"`) {
					t.Errorf("told by Events: %q", told)
				}
				// Afterwards all is as before: an accident is put right at once.
				time.Sleep(rivalForget)
				if held = conditionOf(st.shop.service(n).Status.Conditions, conditionHeld); held == nil || held.Reason != "Held" {
					t.Errorf("after it was forgotten: %+v", held)
				}
				st.shop.edit(n, overwrite("somebody", status))
				time.Sleep(100 * time.Millisecond)
				if o := st.shop.service(n); len(o.Status.LoadBalancer.Ingress) != 1 || conditionOf(o.Status.Conditions, conditionHeld) == nil {
					t.Errorf("an accident was not put right at once: %+v", o.Status)
				}
			})
		})
	}
}

// Who writes what does not concern us, and what we wrote ourselves and have not heard
// of, is no other writer.
func TestOthersConditionsAreTheirs(t *testing.T) {
	n := shopped("a")
	onStage(t, func(st *stage) { st.shop.edit(n, func(*corev1.Service) {}) }, func(st *stage) {
		time.Sleep(time.Second)
		before := len(st.shop.written(n))
		for i := range 50 {
			st.shop.edit(n, overwrite("theirs", func(s *corev1.ServiceStatus) {
				s.Conditions, _ = withCondition(s.Conditions, metav1.Condition{Type: "theirs", Status: metav1.ConditionTrue, Reason: "R", Message: fmt.Sprint(i)}, time.Now())
			}))
			time.Sleep(200 * time.Millisecond)
		}
		if after := len(st.shop.written(n)); after != before {
			t.Errorf("answered %d times", after-before)
		}
	})
}

// A write of ours whose answer was lost, of a decision that has been replaced since,
// is ours nonetheless.
func TestLostAnswerIsNoOtherWriter(t *testing.T) {
	for writer, want := range map[string]int{fieldManager: 0, `"script"`: 1, "": 1} {
		r := newRivals()
		view := func(addr string) *service {
			return &service{name: shopped("a"), version: "5", writer: writer, fact: &allocator.Service{Holds: []netip.Addr{netip.MustParseAddr(addr)}}}
		}
		r.saw(shopped("a"), view("192.0.2.1"), view("192.0.2.2"), noon)
		if v := r.of[shopped("a")]; (v == nil) != (want == 0) {
			t.Errorf("written by %s: %+v", writer, v)
		}
	}
}

func TestLastWriterIsWhoOwnsTheAddresses(t *testing.T) {
	at := func(second int) *metav1.Time {
		m := metav1.NewTime(noon.Add(time.Duration(second) * time.Second))
		return &m
	}
	entry := func(manager string, second int, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: "status", Time: at(second), FieldsV1: metav1.NewFieldsV1(fields)}
	}
	const ingress, others = `{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`, `{"f:status":{"f:conditions":{}}}`
	spec := metav1.ManagedFieldsEntry{Manager: "kubectl", Time: at(9), FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:ingress":{}}}`)}
	for want, fields := range map[string][]metav1.ManagedFieldsEntry{
		"":            {spec},
		"holdfast":    {spec, entry("conditioner", 1, others), entry("holdfast", 2, ingress)},
		`"servicelb"`: {spec, entry("servicelb", 2, ingress), entry("holdfast", 3, others)},
		`"newer"`:     {entry("older", 2, ingress), entry("newer", 3, ingress), entry("holdfast", 3, others)},
		`"emptier"`:   {entry("emptier", 3, others), entry("holdfast", 3, others)},
	} {
		got := writerOf(fields)
		if name, _, _ := strings.Cut(got, ","); name != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if again := writerOf(lastWriter(lastWriter(fields))); again != got {
			t.Errorf("kept: %s, at first %s", again, got)
		}
	}
}
