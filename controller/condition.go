package controller

import (
	"cmp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// conditionOf returns the condition of that type; nil when there is none.
func conditionOf(conditions []metav1.Condition, kind string) *metav1.Condition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

// withCondition returns the conditions with one put in its place, or, where c has
// no status, taken out. The others are kept as they are. It tells whether
// anything differs; the time of the last transition does not count, and stays
// where the status stays.
func withCondition(conditions []metav1.Condition, c metav1.Condition, now time.Time) ([]metav1.Condition, bool) {
	at := slices.IndexFunc(conditions, func(o metav1.Condition) bool { return o.Type == c.Type })
	if c.Status == "" {
		if at < 0 {
			return conditions, false
		}
		return slices.Delete(slices.Clone(conditions), at, at+1), true
	}
	c.LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
	if at < 0 {
		return append(slices.Clip(conditions), c), true
	}
	old := conditions[at]
	if old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
		if old.Reason == c.Reason && old.Message == c.Message && old.ObservedGeneration == c.ObservedGeneration {
			return conditions, false
		}
	}
	conditions = slices.Clone(conditions)
	conditions[at] = c
	return conditions, true
}

// heldCondition is what the Service shall say of the addresses it holds. It is
// true while it holds one, though reason and message may tell what is wrong.
func heldCondition(d *allocator.Decision) metav1.Condition {
	c := metav1.Condition{Type: conditionHeld, Status: metav1.ConditionFalse, Reason: "Unknown"}
	if len(d.Reasons) > 0 {
		c.Reason = cmp.Or(string(d.Reasons[0].Code), c.Reason)
	}
	if len(d.Holds) > 0 {
		c.Status = metav1.ConditionTrue
	}
	c.Message = sentences(d.Reasons)
	return c
}

// announcedCondition is what a Service that holds an address shall say of who
// announces it: what is wrong, and then who does. The first reason decides; without
// any the addresses are announced.
func announcedCondition(reasons []allocator.Reason, said []string) metav1.Condition {
	c := metav1.Condition{Type: conditionAnnounced, Status: metav1.ConditionTrue, Reason: string(allocator.Announced)}
	if len(reasons) > 0 {
		c.Reason = string(reasons[0].Code)
		if !reasons[0].Code.Served() {
			c.Status = metav1.ConditionFalse
		}
	}
	c.Message = sentences(reasons)
	if len(reasons) > 0 && len(said) > 0 {
		c.Message += "; "
	}
	c.Message = cut(c.Message+strings.Join(said, "; "), conditionLimit)
	if c.Message == "" {
		c.Message = "every address has a node that may answer for it"
	}
	return c
}

// sentences writes reasons one after the other, as far as there is room in a condition.
func sentences(reasons []allocator.Reason) string {
	var text strings.Builder
	for i := range reasons {
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(sentence(&reasons[i]))
	}
	return cut(text.String(), conditionLimit)
}

// sentence writes one reason, as far as there is room.
func sentence(r *allocator.Reason) string { return cut(r.String(), sentenceLimit) }
