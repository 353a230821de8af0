package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// This file looks who could announce the Service of a Flip, and who does.

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

// downAfter is how long others than nodes with endpoints may announce before it is
// looked, and every so often, whether they still live. What a dead node said of a
// Service goes with its pod, and that, the pod of a DaemonSet, with the Node. A node
// that is not Ready may have a daemon that lives: it gets this time to withdraw.
const downAfter = 5 * time.Second

// down are the nodes that cannot be expected to withdraw anything.
type down struct {
	after time.Duration // 0: downAfter
	since time.Time     // when others were first seen to announce
	next  time.Time     // when to look again
	nodes map[string]bool
	said  string
}

// heard leaves out of those that announce the nodes that are down, if they have no endpoints.
func (f *Flip) heard(ctx context.Context, announcing, with []string) ([]string, error) {
	d, now := &f.down, time.Now()
	others := without(announcing, with)
	if len(others) == 0 {
		return announcing, nil
	}
	if d.after == 0 {
		d.after = downAfter
	}
	if d.since.IsZero() {
		d.since, d.next = now, now.Add(d.after)
	}
	if !now.Before(d.next) {
		alive, err := f.alive(ctx)
		switch {
		case apierrors.IsForbidden(err):
			f.say("it cannot be told which of them are down: %v", err)
		case err != nil:
			return nil, err
		default:
			d.nodes = map[string]bool{}
			for _, n := range others {
				d.nodes[n] = !alive[n]
			}
		}
		d.next = now.Add(d.after)
	}
	ignored := slices.DeleteFunc(others, func(n string) bool { return !d.nodes[n] })
	if len(ignored) > 0 {
		f.say("ignoring that %s should announce it: not Ready, or not a node any more", strings.Join(ignored, ", "))
	}
	return without(announcing, ignored), nil
}

// say says what is down, if it was not what was said last.
func (f *Flip) say(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != f.down.said {
		f.down.said = text
		f.Say("%s", text)
	}
}

// alive are the nodes that are Ready, or of which nobody says whether they are.
func (f *Flip) alive(ctx context.Context) (map[string]bool, error) {
	var list corev1.NodeList
	if err := f.get(ctx, f.clients.core.Get().Resource("nodes").Param("resourceVersion", "0"), &list); err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	nodes := map[string]bool{}
	for i := range list.Items {
		n := &list.Items[i]
		nodes[n.Name] = !slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
		})
	}
	return nodes, nil
}

// without returns the elements of a list that are not in another one.
func without(list, less []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(n string) bool { return slices.Contains(less, n) })
}
