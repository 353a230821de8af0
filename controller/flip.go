package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// A Flip is a change of a Service's externalTrafficPolicy in an order that loses
// nothing. A node without endpoints drops what comes in the moment in which
// kube-proxy learns that the policy is Local, and a router takes longer than that
// to learn that the node is out. So the node goes first: the Service is announced
// as if it were Local, and becomes so when nobody else announces it any more. The
// way back needs no such care: nodes that are new announce late.
type Flip struct {
	REST      *rest.Config
	Namespace string                // holdfast's own: the statuses are there
	Service   allocator.ServiceName // of type LoadBalancer
	Policy    string                // Cluster or Local
	Routers   time.Duration         // how long routers have to act on what the nodes told them last
	Say       func(string, ...any)  // is told what is done, a sentence at a time
	clients   *clients
}

// flipPoll is the pace at which it is looked who announces.
const flipPoll = 200 * time.Millisecond

// Run does it. If it cannot be completed, or the context ends before the policy is
// changed, the Service is announced as before, and the error says so.
func (f *Flip) Run(ctx context.Context) error {
	if f.Policy != string(corev1.ServiceExternalTrafficPolicyCluster) && f.Policy != string(corev1.ServiceExternalTrafficPolicyLocal) {
		return fmt.Errorf("the policy is %q: it can be Cluster or Local", f.Policy)
	}
	var err error
	if f.clients, err = newClients(f.REST); err != nil {
		return err
	}
	s := &corev1.Service{}
	if err := f.get(ctx, f.clients.core.Get().Namespace(f.Service.Namespace).Resource("services").Name(f.Service.Name), s); err != nil {
		return fmt.Errorf("reading Service %s: %w", f.Service, err)
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return fmt.Errorf("the Service %s is of type %s: only one of type LoadBalancer is announced", f.Service, s.Spec.Type)
	}
	_, narrowed := s.Annotations[allocator.AnnotationAnnounceAs]
	if string(s.Spec.ExternalTrafficPolicy) == f.Policy && !narrowed {
		f.Say("%s has externalTrafficPolicy %s already", f.Service, f.Policy)
		return nil
	}
	if f.Policy == string(corev1.ServiceExternalTrafficPolicyCluster) {
		if err := f.patch(ctx, f.change(f.Policy, nil)); err != nil {
			return err
		}
		f.Say("%s has externalTrafficPolicy Cluster: nodes without endpoints announce it once they serve it", f.Service)
		return nil
	}
	return f.narrow(ctx)
}

// narrow leads from Cluster to Local.
func (f *Flip) narrow(ctx context.Context) error {
	with, err := f.endpoints(ctx)
	if err != nil {
		return err
	}
	if len(with) == 0 {
		return fmt.Errorf("the Service %s has no ready endpoint: with Local nobody would announce it", f.Service)
	}
	local := "Local"
	if err := f.patch(ctx, f.change("", &local)); err != nil {
		return err
	}
	f.Say("%s is announced as if it were Local: from %s", f.Service, strings.Join(with, ", "))
	if err := f.wait(ctx); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
		defer cancel()
		return errors.Join(fmt.Errorf("the policy of %s is as it was, and it is announced as before: %w", f.Service, err), f.patch(undo, f.change("", nil)))
	}
	if err := f.patch(ctx, f.change(f.Policy, nil)); err != nil {
		return err
	}
	f.Say("%s has externalTrafficPolicy Local", f.Service)
	return nil
}

// wait returns when only nodes with endpoints announce, and routers had time to see it.
func (f *Flip) wait(ctx context.Context) error {
	said := ""
	for {
		with, err := f.endpoints(ctx)
		if err != nil {
			return err
		}
		announcing, err := f.announcing(ctx)
		if err != nil {
			return err
		}
		others := slices.DeleteFunc(announcing, func(n string) bool { return slices.Contains(with, n) })
		if len(others) == 0 {
			f.Say("nobody else announces it; routers have %s to see it", f.Routers)
			return pause(ctx, f.Routers)
		}
		if text := strings.Join(others, ", "); text != said {
			f.Say("still announced by %s", text)
			said = text
		}
		if err := pause(ctx, flipPoll); err != nil {
			return fmt.Errorf("waiting for %s to withdraw it: %w", said, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// endpoints are the nodes with an endpoint that takes traffic, sorted.
func (f *Flip) endpoints(ctx context.Context) ([]string, error) {
	var list discoveryv1.EndpointSliceList
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: f.Service.Name})
	err := f.get(ctx, f.clients.discovery.Get().Namespace(f.Service.Namespace).Resource("endpointslices").Param("labelSelector", selector.String()), &list)
	if err != nil {
		return nil, fmt.Errorf("listing the endpoints of %s: %w", f.Service, err)
	}
	nodes := map[string]bool{}
	for i := range list.Items {
		fact, matters := endpointsFact(&list.Items[i])
		if !matters {
			continue
		}
		for _, at := range fact.Nodes {
			if at.Ready > 0 && at.Node != "" {
				nodes[at.Node] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(nodes)), nil
}

// announcing are the nodes that say that they announce the Service, sorted.
func (f *Flip) announcing(ctx context.Context) ([]string, error) {
	of := labels.SelectorFromSet(labels.Set{
		v1beta1.LabelServiceNamespace: f.Service.Namespace, v1beta1.LabelServiceName: f.Service.Name,
	}).String()
	var bgp v1beta1.ServiceBGPStatusList
	if err := f.get(ctx, f.clients.metallb.Get().Namespace(f.Namespace).Resource("servicebgpstatuses").Param("labelSelector", of), &bgp); err != nil {
		return nil, fmt.Errorf("listing the ServiceBGPStatus objects of %s: %w", f.Service, err)
	}
	var layer2 v1beta1.ServiceL2StatusList
	if err := f.get(ctx, f.clients.metallb.Get().Namespace(f.Namespace).Resource("servicel2statuses").Param("labelSelector", of), &layer2); err != nil {
		return nil, fmt.Errorf("listing the ServiceL2Status objects of %s: %w", f.Service, err)
	}
	nodes := map[string]bool{}
	for _, o := range bgp.Items {
		nodes[o.Status.Node] = true
	}
	for _, o := range layer2.Items {
		nodes[o.Status.Node] = true
	}
	return slices.Sorted(maps.Keys(nodes)), nil
}

func (f *Flip) get(ctx context.Context, r *rest.Request, into runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	return timed(ctx, r).Do(ctx).Into(into)
}

// change is a patch of the policy, if one is given, and of the annotation.
func (f *Flip) change(policy string, as *string) map[string]any {
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{allocator.AnnotationAnnounceAs: as}}}
	if policy != "" {
		patch["spec"] = map[string]any{"externalTrafficPolicy": policy}
	}
	return patch
}

func (f *Flip) patch(ctx context.Context, change map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	r := f.clients.core.Patch(types.MergePatchType).Namespace(f.Service.Namespace).Resource("services").Name(f.Service.Name).Body(body)
	if err := timed(ctx, r).Do(ctx).Error(); err != nil {
		return fmt.Errorf("changing Service %s: %w", f.Service, err)
	}
	return nil
}
