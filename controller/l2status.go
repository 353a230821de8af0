package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// Announced is what a node answers for on its segments.
type Announced struct {
	// Services whose addresses it answers for, all or some, and the interfaces to
	// which advertisements limit that; none: not limited.
	Services map[allocator.ServiceName][]string
	// InSight are the nodes that it can talk to.
	InSight map[string]bool
}

const (
	statusResource = "servicel2statuses"
	statusDelay    = 200 * time.Millisecond // changes seldom come alone
	statusRetry    = 3 * time.Second
	statusResync   = 10 * time.Minute // what others changed is put right
)

// l2status keeps the ServiceL2Status objects of this node as they should be, and
// removes those of a node that is out of sight for Services that this one has
// taken over.
type l2status struct {
	client    rest.Interface
	node      string
	namespace string
	owner     *metav1.OwnerReference // the pod; nil: not known
	announced func() Announced
	log       *slog.Logger
	stats     *counters
	change    chan struct{}

	known  map[name]v1beta1.ServiceL2Status // own objects, by Service; nil: to be listed
	sight  map[string]bool                  // nodes that were in sight at the last round
	absent map[string]bool                  // nodes that went out of sight since
}

func newL2Status(c Config, client rest.Interface, stats *counters) *l2status {
	s := &l2status{
		client: client, node: c.Node, namespace: c.Namespace, announced: c.Announced, log: c.Log, stats: stats,
		change: make(chan struct{}, 1), absent: map[string]bool{},
	}
	if c.PodName != "" && c.PodUID != "" {
		s.owner = &metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: c.PodName, UID: types.UID(c.PodUID)}
	}
	return s
}

func (s *l2status) wake() {
	select {
	case s.change <- struct{}{}:
	default:
	}
}

// run writes what has changed, until the context is done.
func (s *l2status) run(ctx context.Context) {
	if s.announced == nil {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.change:
			timer.Reset(statusDelay)
			continue
		case <-timer.C:
		}
		err := s.round(ctx)
		if err == nil {
			failing = false
			timer.Reset(statusResync)
			continue
		}
		if !failing && ctx.Err() == nil {
			s.log.Warn("writing who answers for which Service", "err", err)
		}
		failing, s.known = true, nil
		timer.Reset(statusRetry)
	}
}

// round makes the objects what they should be.
func (s *l2status) round(ctx context.Context) error {
	now := s.announced()
	for n := range s.sight {
		if !now.InSight[n] {
			s.absent[n] = true
		}
	}
	maps.DeleteFunc(s.absent, func(n string, _ bool) bool { return now.InSight[n] })
	s.sight = now.InSight
	if s.known == nil {
		own, err := s.list(ctx, s.node)
		if err != nil {
			return err
		}
		s.known = map[name]v1beta1.ServiceL2Status{}
		for _, o := range own {
			s.known[serviceAbout(o)] = o
		}
	}
	for _, n := range slices.SortedFunc(maps.Keys(now.Services), name.Compare) {
		if err := s.put(ctx, n, now.Services[n]); err != nil {
			return err
		}
	}
	for n, o := range s.known {
		if _, still := now.Services[n]; still {
			continue
		}
		if err := s.remove(ctx, o.Name); err != nil {
			return err
		}
		delete(s.known, n)
	}
	return s.bury(ctx, now)
}

// put makes sure that there is an object for a Service and that it is right.
func (s *l2status) put(ctx context.Context, of name, interfaces []string) error {
	want := s.object(of, interfaces)
	have, exists := s.known[of]
	if !exists {
		if err := s.write(ctx, s.client.Post().Namespace(s.namespace).Resource(statusResource).Body(&want), &have); err != nil {
			return fmt.Errorf("creating the ServiceL2Status of %s: %w", of, err)
		}
	}
	if !slices.EqualFunc(have.OwnerReferences, want.OwnerReferences, func(a, b metav1.OwnerReference) bool { return a.UID == b.UID }) {
		if err := s.patch(ctx, have.Name, "", map[string]any{"metadata": map[string]any{"ownerReferences": want.OwnerReferences}}, &have); err != nil {
			return err
		}
	}
	if have.Status.Node != want.Status.Node || !slices.Equal(have.Status.Interfaces, want.Status.Interfaces) {
		if err := s.patch(ctx, have.Name, "status", map[string]any{"status": want.Status}, &have); err != nil {
			return err
		}
	}
	s.known[of] = have
	return nil
}

// object is what a Service's object should be. Its name follows from what it is
// about, so that there is never a second one.
func (s *l2status) object(of name, interfaces []string) v1beta1.ServiceL2Status {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\n%s\n%s", s.node, of.Namespace, of.Name) // never fails
	o := v1beta1.ServiceL2Status{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("l2-%x", h.Sum64()), Namespace: s.namespace,
			Labels: map[string]string{
				v1beta1.LabelNode: labelOf(s.node), v1beta1.LabelServiceName: of.Name, v1beta1.LabelServiceNamespace: of.Namespace,
			},
		},
		Status: v1beta1.ServiceL2StatusStatus{
			Node: s.node, ServiceName: of.Name, ServiceNamespace: of.Namespace, Interfaces: []v1beta1.InterfaceInfo{},
		},
	}
	if s.owner != nil {
		o.OwnerReferences = []metav1.OwnerReference{*s.owner}
	}
	for _, i := range interfaces {
		o.Status.Interfaces = append(o.Status.Interfaces, v1beta1.InterfaceInfo{Name: i})
	}
	return o
}

// serviceAbout is the Service that an object is about.
func serviceAbout(o v1beta1.ServiceL2Status) name {
	return name{Namespace: o.Labels[v1beta1.LabelServiceNamespace], Name: o.Labels[v1beta1.LabelServiceName]}
}

// labelOf is a node's name as a label: where it is too long for one, only as much
// of it as there is room for.
func labelOf(node string) string {
	if len(node) <= validation.LabelValueMaxLength {
		return node
	}
	h := fnv.New64a()
	fmt.Fprint(h, node) // never fails
	end := fmt.Sprintf("-%x", h.Sum64())
	return node[:validation.LabelValueMaxLength-len(end)] + end
}

// bury removes what nodes that are out of sight say of Services that this node
// answers for now.
func (s *l2status) bury(ctx context.Context, now Announced) error {
	for _, node := range slices.Sorted(maps.Keys(s.absent)) {
		theirs, err := s.list(ctx, node)
		if err != nil {
			return err
		}
		for _, o := range theirs {
			if _, mine := now.Services[serviceAbout(o)]; !mine {
				continue
			}
			if err := s.remove(ctx, o.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *l2status) list(ctx context.Context, node string) ([]v1beta1.ServiceL2Status, error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	var all v1beta1.ServiceL2StatusList
	selector := labels.SelectorFromSet(labels.Set{v1beta1.LabelNode: labelOf(node)})
	err := timed(ctx, s.client.Get()).Namespace(s.namespace).Resource(statusResource).Param("labelSelector", selector.String()).Do(ctx).Into(&all)
	if err != nil {
		return nil, fmt.Errorf("listing the ServiceL2Status objects of node %s: %w", node, err)
	}
	return all.Items, nil
}

func (s *l2status) patch(ctx context.Context, object, sub string, change map[string]any, into *v1beta1.ServiceL2Status) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	r := s.client.Patch(types.MergePatchType).Namespace(s.namespace).Resource(statusResource).Name(object).Body(body)
	if sub != "" {
		r = r.SubResource(sub)
	}
	if err := s.write(ctx, r, into); err != nil {
		return fmt.Errorf("writing ServiceL2Status %s: %w", object, err)
	}
	return nil
}

func (s *l2status) remove(ctx context.Context, object string) error {
	err := s.write(ctx, s.client.Delete().Namespace(s.namespace).Resource(statusResource).Name(object), nil)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing ServiceL2Status %s: %w", object, err)
	}
	return nil
}

// write does one request.
func (s *l2status) write(ctx context.Context, r *rest.Request, into *v1beta1.ServiceL2Status) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	result := timed(ctx, r).Do(ctx)
	err := result.Error()
	if err == nil && into != nil {
		*into = v1beta1.ServiceL2Status{}
		err = result.Into(into)
	}
	s.stats.wrote(statusResource, err)
	return err
}
