package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// endsLimit is how long a copy that is told to end asks whether it is for good.
const endsLimit = 2 * time.Second

// Ends tells, to a copy that was told to end, why no other one will follow it on
// this node soon; "" where one will: its pod is replaced, or it cannot be known,
// and then routers that keep the routes for a while do no harm.
//
// That a node is cordoned says nothing by itself: a DaemonSet replaces its pods there
// as everywhere, and a drain leaves them. But where nobody deletes the pod, and it is
// ended all the same, a cordoned node is on its way down.
func (c *Controller) Ends(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, endsLimit)
	defer cancel()
	why, err := c.ends(ctx)
	switch {
	case denied(err):
		// Until now it was allowed: the roles go with the rest.
		return "holdfast is being removed: this copy may not ask any more whether another one follows"
	case err != nil:
		c.Log.Warn("asking whether this copy ends for good: it is taken for a restart", "err", err)
	}
	return why
}

func (c *Controller) ends(ctx context.Context) (string, error) {
	pod, set, podErr := c.workloads(ctx)
	if denied(podErr) {
		return "", podErr
	}
	node := &corev1.Node{}
	err := timed(ctx, c.clients.core.Get()).Resource("nodes").Name(c.Node).Do(ctx).Into(node)
	switch {
	case apierrors.IsNotFound(err):
		return "the node is deleted", nil
	case err != nil:
		return "", fmt.Errorf("reading Node %s: %w", c.Node, err)
	}
	if why := nodeEnds(node, c.IgnoreExcludeLabel); why != "" || podErr != nil || pod == nil {
		return why, podErr
	}
	deleted := pod.Metadata.DeletionTimestamp != nil
	if set != nil {
		if why := set.ends(node, deleted); why != "" {
			return why, nil
		}
	}
	if node.Spec.Unschedulable && !deleted {
		return "the node is cordoned, and ends a pod that nobody deletes: it is going down", nil
	}
	return "", nil
}

// denied tells whether the API no longer knows this copy, or what it may do.
func denied(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }

// nodeEnds tells why a node will not go on, as far as its object says.
func nodeEnds(node *corev1.Node, ignoreExclude bool) string {
	if node.DeletionTimestamp != nil {
		return "the node is being deleted"
	}
	if _, excluded := node.Labels[allocator.LabelExclude]; excluded && !ignoreExclude {
		return "the node is excluded from external load balancers"
	}
	for _, c := range node.Status.Conditions {
		// What kubelet says during a graceful shutdown of the node.
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue && c.Message == "node is shutting down" {
			return "the node is shutting down"
		}
	}
	return ""
}

// ends tells why a DaemonSet makes no other pod on the node, where the one that is
// there is being deleted or, else, only ends.
func (w *workload) ends(node *corev1.Node, deleted bool) string {
	if w.Metadata.DeletionTimestamp != nil {
		return "holdfast is being removed: its DaemonSet is deleted"
	}
	if why := w.Spec.Template.Spec.leaves(node); why != "" {
		return fmt.Sprintf("the DaemonSet %s %s", w.Metadata.Name, why)
	}
	if taint := w.Spec.Template.Spec.repelled(node); taint != "" && deleted {
		return fmt.Sprintf("the DaemonSet %s does not tolerate the node's taint %s", w.Metadata.Name, taint)
	}
	return ""
}

// workload is what matters of a pod and of a DaemonSet.
type workload struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Template struct {
			Spec scheduling `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// workloads reads this copy's pod, and its DaemonSet; one that is not there any more
// counts as being deleted. Either may be nil: the name of the pod is not known, or it
// is of no DaemonSet.
func (c *Controller) workloads(ctx context.Context) (pod, set *workload, err error) {
	if c.PodName == "" {
		return nil, nil, nil
	}
	pod = &workload{}
	if err := c.rawObject(ctx, "/api/v1/namespaces/"+c.Namespace+"/pods/"+c.PodName, pod); err != nil {
		return nil, nil, fmt.Errorf("reading pod %s: %w", c.PodName, err)
	}
	for _, o := range pod.Metadata.OwnerReferences {
		if o.Kind != "DaemonSet" {
			continue
		}
		set = &workload{}
		err := c.rawObject(ctx, "/apis/apps/v1/namespaces/"+c.Namespace+"/daemonsets/"+o.Name, set)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, nil, fmt.Errorf("reading DaemonSet %s: %w", o.Name, err)
		}
		if set.Metadata.UID != o.UID {
			set.Metadata.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		}
		return pod, set, nil
	}
	return pod, nil, nil
}

// rawObject reads an object whose kind is in no scheme here.
func (c *Controller) rawObject(ctx context.Context, path string, into *workload) error {
	body, err := timed(ctx, c.clients.core.Get()).AbsPath(path).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
