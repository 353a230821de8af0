package controller

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"holdfast.dev/holdfast/allocator"
)

func TestCutSaysWhatIsMissing(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("ä", 100_000), strings.Repeat("\xff", 5000)} {
		got := cut(text, 1024)
		if len(got) > 1024 || len(text) <= 1024 && got != text {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
		if utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Error("a letter was cut through")
		}
		if len(text) > 1024 {
			head, more, _ := strings.Cut(got, "…, ")
			if want := fmt.Sprintf("%d bytes more", len(text)-len(head)); more != want || !strings.HasPrefix(text, head) {
				t.Errorf("%d bytes: %q, want %q", len(text), more, want)
			}
		}
	}
}

// What is said of one object is bounded as client-go's recorder bounds it.
func TestEventsOfOneObjectAreBounded(t *testing.T) {
	onStage(t, func(st *stage) { st.shop.edit(shopped("a"), func(*corev1.Service) {}) }, func(st *stage) {
		time.Sleep(time.Second)
		say := func(of, text string) {
			st.events.say(event{of: shopped(of), uid: "u", what: saying{true, eventFailed, text}})
			time.Sleep(10 * time.Millisecond)
		}
		about := func(of string) (all []*corev1.Event) {
			synctest.Wait()
			for _, e := range st.shop.events {
				if e.InvolvedObject.Name == of && e.Type == corev1.EventTypeWarning {
					all = append(all, e)
				}
			}
			return all
		}
		for range 5 {
			say("same", "no address")
			say("same", "no other either")
		}
		if all := about("same"); len(all) != 2 || all[0].Count != 5 || all[1].Count != 5 {
			t.Errorf("the same again: %+v", all)
		}
		for i := range 100 {
			say("flood", fmt.Sprint("text ", i))
		}
		all := about("flood")
		if len(all) != similarLimit+1 || !strings.HasPrefix(all[similarLimit].Message, combined) || all[similarLimit].Count != eventBurst-similarLimit {
			t.Errorf("%d Events, the last %+v", len(all), all[len(all)-1])
		}
		if lost := st.Stats().EventsLost; lost != 100-eventBurst {
			t.Errorf("%d are counted as lost", lost)
		}
		say("other", "another object is not concerned")
		if len(about("other")) != 1 {
			t.Error("another object is concerned")
		}
		time.Sleep(2 * eventRefill)
		for i := range 10 {
			say("flood", fmt.Sprint("later ", i))
		}
		if again := about("flood"); len(again) != len(all)+2 {
			t.Errorf("after two refills %d more", len(again)-len(all))
		}
	})
}

func TestWhatWasSaidLongAgoIsForgotten(t *testing.T) {
	told := tellings{}
	for i := range 2 * objectsTold {
		told.of(aboutOf(fmt.Sprint(i)), "u", noon.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(told); n > objectsTold || told[aboutOf(fmt.Sprint(2*objectsTold-1))] == nil {
		t.Errorf("%d objects are remembered", n)
	}
}

func aboutOf(n string) about { return about{name: shopped(n)} }

// A tenant's text costs little, however long it is: in the API's storage, in Events
// and in the log.
func TestTextOfATenantIsBounded(t *testing.T) {
	n := shopped("a")
	onStage(t, func(st *stage) { st.shop.edit(n, func(*corev1.Service) {}) }, func(st *stage) {
		time.Sleep(time.Second)
		synctest.Wait()
		st.shop.bytes = 0
		st.log.Reset()
		for i := range 20 {
			for _, annotation := range []string{allocator.AnnotationAddresses, allocator.AnnotationPool, allocator.AnnotationShare} {
				st.shop.edit(n, func(s *corev1.Service) {
					s.Annotations = map[string]string{allocator.PrefixMetalLB + annotation: fmt.Sprint(i, strings.Repeat("x", 200_000))}
				})
				time.Sleep(time.Second)
			}
		}
		synctest.Wait()
		// A write of the condition, an Event and a line for each.
		if limit := 60 * (conditionLimit + 2*sentenceLimit + 2048); st.shop.bytes > limit || st.log.Len() > limit {
			t.Errorf("60 edits: %d bytes written, %d logged, at most %d are right", st.shop.bytes, st.log.Len(), limit)
		}
		for _, line := range strings.Split(st.log.String(), "\n") {
			if len(line) > 4*lineLimit {
				t.Errorf("a line of %d bytes: %s", len(line), line[:200])
			}
		}
		t.Logf("%d bytes written, %d logged", st.shop.bytes, st.log.Len())
	})
}

// A decision that is refused is logged whole, as far as there is room.
func TestRefusedDecisionIsLoggedInBounds(t *testing.T) {
	onStage(t, func(st *stage) {
		for i := range 40 {
			st.shop.edit(shopped(fmt.Sprint("s", i)), func(s *corev1.Service) {
				s.Annotations = map[string]string{allocator.PrefixMetalLB + allocator.AnnotationShare: strings.Repeat("k", 20_000)}
				s.Spec.Ports[0].Port = int32(i + 1)
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
			})
		}
		st.plan = func(s *allocator.Snapshot, now time.Time) allocator.Planned {
			p := allocator.Plan(s, now)
			for i := range p.Decisions {
				if d := &p.Decisions[i]; d.Service.Name == "s7" {
					d.Holds = nil
				} else {
					d.Service = name{}
				}
			}
			return p
		}
	}, func(st *stage) {
		time.Sleep(time.Second)
		synctest.Wait()
		if st.Stats().Refused == 0 {
			t.Fatal("not refused")
		}
		for _, line := range strings.Split(st.log.String(), "\n") {
			if strings.Contains(line, "was refused") && (len(line) > 8*lineLimit || !strings.Contains(line, "bytes more") || !strings.Contains(line, "more\"")) {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	})
}
