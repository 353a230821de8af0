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
// and then routers that keep the routes for a while do no harm. A node that is
// cordoned, shutting down or excluded from load balancers is about to be away.
func (c *Controller) Ends(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, endsLimit)
	defer cancel()
	node, err := c.rawNode(ctx)
	if err != nil {
		c.Log.Warn("asking whether this copy ends for good: it is taken for a restart", "err", err)
		return ""
	}
	if why := nodeEnds(node, c.IgnoreExcludeLabel); why != "" {
		return why
	}
	why, err := c.ownerEnds(ctx, node)
	if err != nil {
		c.Log.Warn("asking whether this copy ends for good: it is taken for a restart", "err", err)
	}
	return why
}

func (c *Controller) rawNode(ctx context.Context) (*corev1.Node, error) {
	node := &corev1.Node{}
	if err := timed(ctx, c.clients.core.Get()).Resource("nodes").Name(c.Node).Do(ctx).Into(node); err != nil {
		return nil, fmt.Errorf("reading Node %s: %w", c.Node, err)
	}
	return node, nil
}

// nodeEnds tells why a node will not go on, as far as its object says.
func nodeEnds(node *corev1.Node, ignoreExclude bool) string {
	if node.DeletionTimestamp != nil {
		return "the node is being deleted"
	}
	if node.Spec.Unschedulable {
		return "the node is cordoned"
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

// workload is what matters of a DaemonSet.
type workload struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Template struct {
			Spec struct {
				NodeSelector map[string]string `json:"nodeSelector"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// ownerEnds tells why the DaemonSet of this copy's pod will not replace it.
func (c *Controller) ownerEnds(ctx context.Context, node *corev1.Node) (string, error) {
	if c.PodName == "" {
		return "", nil
	}
	var pod workload
	if err := c.rawObject(ctx, "/api/v1/namespaces/"+c.Namespace+"/pods/"+c.PodName, &pod); err != nil {
		return "", fmt.Errorf("reading pod %s: %w", c.PodName, err)
	}
	for _, o := range pod.Metadata.OwnerReferences {
		if o.Kind != "DaemonSet" {
			continue
		}
		var set workload
		err := c.rawObject(ctx, "/apis/apps/v1/namespaces/"+c.Namespace+"/daemonsets/"+o.Name, &set)
		switch {
		case apierrors.IsNotFound(err) || err == nil && (set.Metadata.DeletionTimestamp != nil || set.Metadata.UID != o.UID):
			return "holdfast is being removed: its DaemonSet is deleted", nil
		case err != nil:
			return "", fmt.Errorf("reading DaemonSet %s: %w", o.Name, err)
		}
		for key, value := range set.Spec.Template.Spec.NodeSelector {
			if have, ok := node.Labels[key]; !ok || have != value {
				return fmt.Sprintf("the DaemonSet %s no longer selects the node: its label %s is not %q", o.Name, key, value), nil
			}
		}
	}
	return "", nil
}

// rawObject reads an object whose kind is in no scheme here.
func (c *Controller) rawObject(ctx context.Context, path string, into *workload) error {
	body, err := timed(ctx, c.clients.core.Get()).AbsPath(path).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
