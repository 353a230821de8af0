package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta2"
	"holdfast.dev/holdfast/controller/lease"
)

// Reasons of Events, MetalLB's but for two: there nothing waits, and nobody hears
// who else claims an address.
const (
	eventAllocated  = "IPAllocated"
	eventFailed     = "AllocationFailed"
	eventCleared    = "ClearAssignment"
	eventSettling   = "Settling"
	eventRefused    = "LoadBalancerFailed"
	eventAdditional = "AdditionalAssignFailed"
	eventNode       = "nodeAssigned"
	eventUnserved   = "announceFailed"
	eventConflict   = "addressConflict"
)

// A saying is what an Event says.
type saying struct {
	warning bool
	reason  string
	text    string
}

// sayings are the Events that a write is worth, once it has succeeded: what it
// did about addresses, and the warnings that were not published before.
func sayings(before *service, d *allocator.Decision, remarks []allocator.Reason) (out []saying) {
	var got []netip.Addr
	for _, a := range d.Holds {
		if !slices.Contains(before.fact.Holds, a) {
			got = append(got, a)
		}
	}
	if len(got) > 0 {
		text := fmt.Sprintf("Assigned IP %q", got)
		if why := sentences(taking(d.Steps)); why != "" {
			text += ": " + why
		}
		out = append(out, saying{false, eventAllocated, text})
	}
	for _, r := range d.Steps {
		if r.Code == allocator.Moved || r.Code == allocator.Released {
			out = append(out, saying{false, eventCleared, r.String()})
		}
	}
	said := messageOf(before.conditions, conditionHeld)
	for _, r := range d.Reasons {
		if text := r.String(); (r.Code.Warning() || r.Code == allocator.FamilyMissing) && !strings.Contains(said, text) {
			out = append(out, saying{r.Code.Warning(), warningReason(r.Code, len(d.Holds) > 0), text})
		}
	}
	said = messageOf(before.conditions, conditionAnnounced)
	for _, r := range remarks {
		// That no pod is ready yet is no news: everybody starts so.
		if text := r.String(); r.Code.Warning() && r.Code != allocator.NoEndpoints && !strings.Contains(said, text) {
			out = append(out, saying{true, eventUnserved, text})
		}
	}
	return out
}

func taking(steps []allocator.Reason) []allocator.Reason {
	return slices.DeleteFunc(slices.Clone(steps), func(r allocator.Reason) bool {
		return r.Code != allocator.Given && r.Code != allocator.Joined && r.Code != allocator.Returned
	})
}

func messageOf(conditions []metav1.Condition, kind string) string {
	if c := conditionOf(conditions, kind); c != nil {
		return c.Message
	}
	return ""
}

func warningReason(code allocator.Code, holds bool) string {
	switch code {
	case allocator.PoolLost, allocator.Disagreement:
		return eventSettling
	case allocator.SeatKept:
		return eventCleared
	case allocator.FamilyMissing:
		return eventAdditional
	}
	if holds {
		return eventRefused
	}
	return eventFailed
}

// A recorder writes Events, one after the other, and never makes anybody wait.
// An Event that says what the one before it said about the same object is
// counted on that one.
type recorder struct {
	client rest.Interface
	node   string
	log    *slog.Logger
	stats  *counters
	queue  chan event
	latest map[about]*corev1.Event // used by Run only
}

// about is an object that Events are about.
type about struct {
	name
	peer bool
}

type event struct {
	of    name
	peer  bool // it is a BGPPeer; else a Service
	uid   string
	what  saying
	fence *lease.Term // as whose leader it is said; nil: every copy may
}

func newRecorder(client rest.Interface, node string, log *slog.Logger, stats *counters) *recorder {
	return &recorder{client: client, node: node, log: log, stats: stats, queue: make(chan event, 4096), latest: map[about]*corev1.Event{}}
}

// say queues an Event.
func (r *recorder) say(e event) {
	select {
	case r.queue <- e:
	default:
		r.stats.count(func(s *Stats) { s.EventsLost++ })
	}
}

// run writes what is queued until the context is done.
func (r *recorder) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.queue:
			err := r.write(ctx, e)
			if err != nil && !failing && ctx.Err() == nil {
				r.log.Warn("an Event was not accepted", "object", e.of.String(), "reason", e.what.reason, "err", err)
			}
			failing = err != nil
		}
	}
}

// reference names the object that an Event is about, as kubectl describe looks for it.
func (e event) reference() corev1.ObjectReference {
	o := corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: e.of.Namespace, Name: e.of.Name, UID: types.UID(e.uid)}
	if e.peer {
		o.APIVersion, o.Kind = v1beta2.GroupVersion.String(), "BGPPeer"
	}
	return o
}

func (r *recorder) write(ctx context.Context, e event) error {
	if e.fence != nil && !e.fence.Held() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	if e.fence != nil {
		cancel()
		ctx, cancel = e.fence.Context(writeLimit)
	}
	defer cancel()
	now := metav1.Now()
	if old := r.latest[about{e.of, e.peer}]; old != nil && string(old.InvolvedObject.UID) == e.uid && old.Reason == e.what.reason && old.Message == e.what.text {
		old.Count++
		body := fmt.Sprintf(`{"count":%d,"lastTimestamp":%q}`, old.Count, now.UTC().Format(time.RFC3339))
		err := timed(ctx, r.client.Patch(types.MergePatchType)).Namespace(old.Namespace).Resource("events").Name(old.Name).Body([]byte(body)).Do(ctx).Error()
		r.stats.wrote("events", err)
		if err == nil {
			return nil
		}
		// It may have been cleaned up: say it anew.
	}
	made := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: e.of.Namespace, Name: fmt.Sprintf("%s.%x", e.of.Name, now.UnixNano())},
		InvolvedObject: e.reference(),
		Reason:         e.what.reason, Message: e.what.text, Type: corev1.EventTypeNormal,
		Source:         corev1.EventSource{Component: "holdfast", Host: r.node},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: "holdfast.dev/holdfast", ReportingInstance: r.node,
	}
	if e.what.warning {
		made.Type = corev1.EventTypeWarning
	}
	err := timed(ctx, r.client.Post()).Namespace(e.of.Namespace).Resource("events").Body(made).Do(ctx).Error()
	r.stats.wrote("events", err)
	if len(r.latest) >= 1024 {
		clear(r.latest)
	}
	if err == nil {
		r.latest[about{e.of, e.peer}] = made
	}
	return err
}
