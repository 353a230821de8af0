package controller

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// A patch is a JSON merge patch of an object's status and annotations, on
// condition that the object has the version that it names.
type patch struct {
	Metadata patchMeta      `json:"metadata"`
	Status   map[string]any `json:"status,omitempty"`
}

type patchMeta struct {
	Version     string             `json:"resourceVersion"`
	Annotations map[string]*string `json:"annotations,omitempty"` // nil removes one
}

func (p *patch) empty() bool { return len(p.Status) == 0 && len(p.Metadata.Annotations) == 0 }

func (p *patch) removes(annotation string) {
	if p.Metadata.Annotations == nil {
		p.Metadata.Annotations = map[string]*string{}
	}
	p.Metadata.Annotations[annotation] = nil
}

func (p *patch) annotate(name, was, now string) {
	if was == now {
		return
	}
	p.removes(name)
	if now != "" {
		p.Metadata.Annotations[name] = &now
	}
}

func (p *patch) set(field string, value any) {
	if p.Status == nil {
		p.Status = map[string]any{}
	}
	p.Status[field] = value
}

// servicePatch is the difference between what is published on a Service and the
// decision; conditionsOnly tells that the addresses and their record are as they
// should be.
func servicePatch(s *service, d *allocator.Decision, announced metav1.Condition, now time.Time) (p patch, conditionsOnly bool, err error) {
	p.Metadata.Version = s.version
	if s.odd || !slices.Equal(s.fact.Holds, d.Holds) {
		p.set("loadBalancer", map[string]any{"ingress": ingressOf(d.Holds)})
	}
	p.annotate(fromPoolAnnotation, s.fromPool, d.Pool)
	p.tidy(s)
	record, differs := s.fact.Record, false
	if !d.Record.Published(record) || !s.recorded && !d.Record.IsZero() {
		record, differs = d.Record, true
	}
	conditionsOnly = p.empty() && record.Equal(s.fact.Record)
	conditions, held := withCondition(s.conditions, heldCondition(d), now)
	conditions, announces := withCondition(conditions, announced, now)
	if held || announces || differs {
		if !record.IsZero() {
			c, err := recordCondition(record)
			if err != nil {
				return p, false, err
			}
			conditions = append(slices.Clip(conditions), c)
		}
		p.set("conditions", conditions)
	}
	return p, conditionsOnly, nil
}

// farewellPatch takes our marks off a Service that is of another type now. It is empty
// for one that has none, and is there for its spec.externalIPs alone.
func farewellPatch(s *service) (p patch) {
	p.Metadata.Version = s.version
	left := slices.DeleteFunc(slices.Clone(s.conditions), func(c metav1.Condition) bool {
		return c.Type == conditionHeld || c.Type == conditionAnnounced
	})
	if len(left) == len(s.conditions) && !s.recorded && !s.oldRecord {
		return p
	}
	p.annotate(fromPoolAnnotation, s.fromPool, "")
	p.tidy(s)
	p.set("conditions", left)
	return p
}

// tidy removes annotations of earlier versions.
func (p *patch) tidy(s *service) {
	if s.fromPoolOld {
		p.annotate(fromPoolAnnotationOld, "old", "")
	}
	if s.oldRecord {
		p.annotate(oldRecordAnnotation, "old", "")
	}
}

func ingressOf(holds []netip.Addr) []corev1.LoadBalancerIngress {
	var out []corev1.LoadBalancerIngress
	for _, a := range holds {
		out = append(out, corev1.LoadBalancerIngress{IP: a.String()})
	}
	return out // nil, which removes the field, when there is none
}

// configPatch is the difference between the published status of an object and what
// is so.
func configPatch(o *object, published []metav1.Condition, accepted metav1.Condition, now time.Time) (p patch) {
	p.Metadata.Version = o.version
	if conditions, differs := withCondition(published, accepted, now); differs {
		p.set("conditions", conditions)
	}
	return p
}

// count adds how full a pool is.
func (p *patch) count(o *pool, use allocator.Use) {
	for _, c := range []struct {
		field    string
		was, now int64
	}{
		{"assignedIPv4", o.status.AssignedIPv4, use.Assigned4}, {"assignedIPv6", o.status.AssignedIPv6, use.Assigned6},
		{"availableIPv4", o.status.AvailableIPv4, use.Available4}, {"availableIPv6", o.status.AvailableIPv6, use.Available6},
	} {
		// The schema wants all four: a first status has them all.
		if c.was != c.now || len(o.status.Conditions) == 0 {
			p.set(c.field, c.now)
		}
	}
}

// acceptedCondition says whether an object is in use as it stands: refused as a
// whole, or in use but for what the warning says.
func acceptedCondition(o *object, err, warning error) metav1.Condition {
	c := metav1.Condition{
		Type: v1beta1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: o.generation,
		Reason: "Accepted", Message: "in use as it stands",
	}
	if o.refused != nil {
		err = o.refused
	}
	switch {
	case err != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, "Refused", err.Error()
	case warning != nil:
		c.Reason, c.Message = "Incomplete", warning.Error()
	}
	return c
}

// write returns the task that sends the patch to the status of an object. Users may
// fill the annotations of an object so that no other fits in: then all else is written
// without ours.
func (p *patch) write(client rest.Interface, to target, lazy time.Duration) (*task, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	lean, err := p.lean()
	if err != nil {
		return nil, err
	}
	send := func(ctx context.Context, body []byte) (runtime.Object, error) {
		return timed(ctx, client.Patch(types.MergePatchType)).
			NamespaceIfScoped(to.name.Namespace, to.name.Namespace != "").
			Resource(to.kind).Name(to.name.Name).SubResource("status").Param("fieldManager", fieldManager).
			Body(body).Do(ctx).Get()
	}
	return &task{
		to: to, version: p.Metadata.Version, body: string(body), lazy: lazy,
		send: func(ctx context.Context) (runtime.Object, error) {
			answer, err := send(ctx, body)
			if apierrors.IsInvalid(err) && lean != nil {
				return send(ctx, lean)
			}
			return answer, err
		},
	}, nil
}

// lean is the patch without annotations that it adds; nil where that leaves nothing, or
// it adds none.
func (p *patch) lean() ([]byte, error) {
	q, adds := *p, false
	q.Metadata.Annotations = nil
	for name, value := range p.Metadata.Annotations {
		if value != nil {
			adds = true
		} else {
			q.removes(name)
		}
	}
	if !adds || q.empty() {
		return nil, nil
	}
	return json.Marshal(&q)
}

// timed puts the context's deadline into a request, so that the API gives it up,
// too, and lets nobody repeat it.
func timed(ctx context.Context, r *rest.Request) *rest.Request {
	if deadline, ok := ctx.Deadline(); ok {
		r = r.Timeout(max(time.Until(deadline), time.Millisecond).Round(time.Millisecond))
	}
	return r.MaxRetries(0)
}
