package controller

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// fieldManager is as whom we write, on every copy and in every term.
const fieldManager = "holdfast"

// otherWriter is the code of the reason that tells of another writer.
const otherWriter allocator.Code = "OtherWriter"

const (
	rivalNoticed = 2                // changes to what we wrote, after which it is no accident
	rivalPause   = time.Second      // the first pause before we write again; each is twice the last
	rivalLimit   = 5 * time.Minute  // the longest pause
	rivalForget  = 10 * time.Minute // after which another writer that is quiet is forgotten
)

// rivals notes who else changes, again and again, what we write on Services. What they
// do is never answered write for write.
type rivals struct {
	of       map[name]*rival
	wrote    map[name]wrote // what we wrote and have not seen yet
	expected map[name]shown // what a write of ours will show that may be on its way
	next     time.Time      // when one is to be looked at; zero: never
}

// A rival is what is known of another writer of one Service.
type rival struct {
	times    int       // how often it changed what we had written
	last     time.Time // when it last did
	until    time.Time // nothing is written before
	pausing  bool      // the end of the pause has not been seen yet
	standing bool      // what we wrote stands, or is on its way
	by       string    // whom the API names
}

// wrote is what a write of ours says, and the version of the Service that it made.
type wrote struct {
	service name
	version string
	shown
}

// shown is what counts of what is published on a Service.
type shown struct {
	holds           []netip.Addr
	odd             bool // status.loadBalancer.ingress says more than the addresses
	held, announced string
	record          allocator.Record // that in the status: users may write the old annotation
}

func shownOn(s *service) shown {
	out := shown{s.fact.Holds, s.odd, messageOf(s.conditions, conditionHeld), messageOf(s.conditions, conditionAnnounced), allocator.Record{}}
	if s.recorded {
		out.record = s.fact.Record
	}
	return out
}

func shownBy(d *allocator.Decision, announced metav1.Condition) shown {
	return shown{d.Holds, false, heldCondition(d).Message, announced.Message, d.Record}
}

func (s shown) equal(o shown) bool {
	return s.odd == o.odd && s.held == o.held && s.announced == o.announced && slices.Equal(s.holds, o.holds) && s.record.Equal(o.record)
}

func (r *rivals) wake() time.Time { return r.next }

func newRivals() rivals {
	return rivals{of: map[name]*rival{}, wrote: map[name]wrote{}, expected: map[name]shown{}}
}

// saw compares two states of a Service, of which the latter was seen anew; nil: it was
// not there, or is gone. Both are nil of one that came and went unseen.
func (r *rivals) saw(n name, was, now *service, at time.Time) {
	w, pending := r.wrote[n]
	switch {
	case !now.ours():
		delete(r.of, n)
		delete(r.wrote, n)
		delete(r.expected, n)
		return
	case pending && after(w.version, now.version):
		return // it does not show what we wrote yet
	}
	delete(r.wrote, n)
	v := r.of[n]
	if pending && v != nil {
		v.standing = true
	}
	before, here := w.shown, shownOn(now)
	if !pending {
		if !was.ours() || v != nil && !v.standing {
			return // it was not ours that was changed
		}
		before = shownOn(was)
	}
	if pending && w.version == now.version || here.equal(before) || now.writer == fieldManager {
		return
	}
	if ours, is := r.expected[n]; is && here.equal(ours) {
		return // we wrote it, and the answer is on its way, or was lost
	}
	r.count(n, now, at)
}

// count notes that somebody else changed what we had written.
func (r *rivals) count(n name, now *service, at time.Time) {
	v := r.of[n]
	if v == nil {
		v = &rival{}
		r.of[n] = v
	}
	v.times, v.last, v.standing, v.by = v.times+1, at, false, now.writer
	if again := v.times - rivalNoticed; again >= 0 {
		v.until, v.pausing = at.Add(min(rivalPause<<min(again, 20), rivalLimit)), true
	}
	r.next = sooner(r.next, v.due())
}

// due is when the rival is to be looked at.
func (v *rival) due() time.Time {
	forget := v.last.Add(rivalForget)
	if v.pausing {
		return sooner(v.until, forget)
	}
	return forget
}

// paused tells whether nothing is to be written on the Service for now.
func (r *rivals) paused(n name, now time.Time) bool {
	v := r.of[n]
	return v != nil && now.Before(v.until)
}

// due visits the Services whose pause is over, or whose other writer is forgotten.
func (r *rivals) due(now time.Time, visit func(name)) {
	if r.next.IsZero() || now.Before(r.next) {
		return
	}
	r.next = time.Time{}
	for n, v := range r.of {
		if !now.Before(v.last.Add(rivalForget)) {
			delete(r.of, n)
			visit(n)
			continue
		}
		if v.pausing && !now.Before(v.until) {
			v.pausing = false
			visit(n)
		}
		r.next = sooner(r.next, v.due())
	}
	if soon := now.Add(heldBackPause); !r.next.IsZero() && r.next.Before(soon) {
		r.next = soon // many are looked at together
	}
}

// said returns the decision with what is to be said of another writer.
func (r *rivals) said(d *allocator.Decision) *allocator.Decision {
	v := r.of[d.Service]
	if v == nil || v.times < rivalNoticed {
		return d
	}
	by := "somebody who leaves no name in metadata.managedFields"
	if v.by != "" {
		by = v.by
	}
	out := *d
	at := 0
	for at < len(d.Reasons) && d.Reasons[at].Code.Warning() {
		at++
	}
	out.Reasons = slices.Insert(slices.Clone(d.Reasons), at, allocator.Reason{Code: otherWriter, Detail: fmt.Sprintf(
		"another writer changes the status of this Service again and again: %s; it is put right after a pause, which grows up to %s; "+
			"to end this, stop that writer, or keep it from this Service", by, rivalLimit)})
	return &out
}

// lastWriter returns of an object's managed fields the one entry that tells who wrote
// the addresses in its status, or else its status, last; without the fields. Done twice
// it is done once.
func lastWriter(fields []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var last *metav1.ManagedFieldsEntry
	owns := func(e *metav1.ManagedFieldsEntry) bool {
		return e.FieldsV1 != nil && bytes.Contains(e.FieldsV1.GetRawBytes(), []byte(`"f:ingress"`))
	}
	// Times are whole seconds: where they do not tell, it is who owns the addresses
	// and then whoever is not we.
	order := func(a, b *metav1.ManagedFieldsEntry) bool {
		if x, y := owns(a) && a.Manager != fieldManager, owns(b) && b.Manager != fieldManager; x != y {
			return x
		}
		if c := timeOf(a).Compare(timeOf(b)); c != 0 {
			return c > 0
		}
		return a.Manager != fieldManager && b.Manager == fieldManager
	}
	for i := range fields {
		if e := &fields[i]; e.Subresource == "status" && (last == nil || order(e, last)) {
			last = e
		}
	}
	if last == nil {
		return nil
	}
	return []metav1.ManagedFieldsEntry{{Manager: last.Manager, Time: last.Time, Subresource: last.Subresource}}
}

func timeOf(e *metav1.ManagedFieldsEntry) time.Time {
	if e.Time == nil {
		return time.Time{}
	}
	return e.Time.Time
}

// writerOf names who wrote the status of an object last: fieldManager, where it was we;
// "": it is not known.
func writerOf(fields []metav1.ManagedFieldsEntry) string {
	fields = lastWriter(fields)
	switch {
	case len(fields) != 1:
		return ""
	case fields[0].Manager == fieldManager:
		return fieldManager
	}
	return fmt.Sprintf("%q, last at %s", cut(fields[0].Manager, 128), timeOf(&fields[0]).UTC().Format("2006-01-02 15:04:05 MST"))
}
