package controller

import (
	"context"
	"encoding/json"
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
)

// Reasons of Events, MetalLB's but for three: there nothing waits, and nobody hears
// who else claims an address or writes a status.
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
	eventOther      = string(otherWriter)
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
			out = append(out, saying{false, eventCleared, sentence(&r)})
		}
	}
	// What the condition has no room for no Event tells: it would be news each time.
	said, says := messageOf(before.conditions, conditionHeld), sentences(d.Reasons)
	for i := range d.Reasons {
		r := &d.Reasons[i]
		text := sentence(r)
		if (r.Code.Warning() || r.Code == allocator.FamilyMissing) && strings.Contains(says, text) && !strings.Contains(said, text) {
			out = append(out, saying{r.Code.Warning(), warningReason(r.Code, len(d.Holds) > 0), text})
		}
	}
	said, says = messageOf(before.conditions, conditionAnnounced), sentences(remarks)
	c := conditionOf(before.conditions, conditionAnnounced)
	announced := c != nil && c.Status == metav1.ConditionTrue
	for i := range remarks {
		r := &remarks[i]
		text := sentence(r)
		// That no pod is ready yet is no news: everybody starts so (announcing.mindEmpty).
		if r.Code.Warning() && (r.Code != allocator.NoEndpoints || announced) && strings.Contains(says, text) && !strings.Contains(said, text) {
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
	case otherWriter:
		return eventOther
	}
	if holds {
		return eventRefused
	}
	return eventFailed
}

// A recorder writes Events, one after the other, and never makes anybody wait. Of
// one object it writes no more than client-go's recorder does: see telling.
type recorder struct {
	client rest.Interface
	node   string
	log    *slog.Logger
	stats  *counters
	gate   *gate
	queue  chan event
	told   tellings // used by run only
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
	fence fence // as whose leader it is said; nil: every copy may
}

func newRecorder(client rest.Interface, node string, log *slog.Logger, stats *counters) *recorder {
	return &recorder{client: client, node: node, log: log, stats: stats, gate: newGate(), queue: make(chan event, 4096), told: tellings{}}
}

// say queues an Event.
func (r *recorder) say(e event) {
	e.what.text = cut(e.what.text, sentenceLimit)
	select {
	case r.queue <- e:
	default:
		r.lost()
	}
}

func (r *recorder) lost() { r.stats.count(func(s *Stats) { s.EventsLost++ }) }

// run writes what is queued until the context is done.
func (r *recorder) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.queue:
			err := r.gate.do(ctx, func() error { return r.write(ctx, e) })
			if err != nil && !failing && ctx.Err() == nil {
				r.log.Warn("an Event was not accepted", "object", e.of.String(), "reason", e.what.reason, "err", cut(err.Error(), sentenceLimit))
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

// context is what an Event is sent in; false: nobody may say it any more.
func (e event) context(ctx context.Context) (context.Context, context.CancelFunc, bool) {
	if e.fence == nil {
		ctx, cancel := context.WithTimeout(ctx, writeLimit)
		return ctx, cancel, true
	}
	for !e.fence.Held() { // a clock was set, or the renewal is late
		select {
		case <-ctx.Done():
			return nil, nil, false
		case <-e.fence.Done():
			return nil, nil, false
		case <-time.After(fencedPause):
		}
	}
	ctx, cancel := e.fence.Context(writeLimit)
	return ctx, cancel, true
}

func (r *recorder) write(ctx context.Context, e event) error {
	ctx, cancel, may := e.context(ctx)
	if !may {
		return nil
	}
	defer cancel()
	now := metav1.Now()
	t := r.told.of(about{e.of, e.peer}, e.uid, now.Time)
	if !t.affords(e.what.warning, now.Time) {
		r.lost()
		return nil
	}
	text, old := t.said(e.what, now.Time)
	if old.name != "" {
		body, err := json.Marshal(map[string]any{"count": old.count + 1, "lastTimestamp": now, "message": text})
		if err != nil {
			return err
		}
		err = timed(ctx, r.client.Patch(types.MergePatchType)).Namespace(e.of.Namespace).Resource("events").Name(old.name).Body(body).Do(ctx).Error()
		r.stats.wrote("events", err)
		if err == nil {
			old.count++
			t.spent(e.what.warning)
			return nil
		}
		if _, asked := pauseAsked(err); asked {
			return err
		}
		// It may have been cleaned up: say it anew.
	}
	made := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: e.of.Namespace, Name: fmt.Sprintf("%s.%x", e.of.Name, now.UnixNano())},
		InvolvedObject: e.reference(),
		Reason:         e.what.reason, Message: text, Type: corev1.EventTypeNormal,
		Source:         corev1.EventSource{Component: "holdfast", Host: r.node},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: "holdfast.dev/holdfast", ReportingInstance: r.node,
	}
	if e.what.warning {
		made.Type = corev1.EventTypeWarning
	}
	err := timed(ctx, r.client.Post()).Namespace(e.of.Namespace).Resource("events").Body(made).Do(ctx).Error()
	r.stats.wrote("events", err)
	if err == nil {
		old.name, old.count = made.Name, 1
		t.spent(e.what.warning)
	}
	return err
}
