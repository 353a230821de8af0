package controller

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/klog/v2"
)

// scheduling is what a DaemonSet says of the nodes that have a pod of it.
type scheduling struct {
	NodeSelector map[string]string   `json:"nodeSelector"`
	Affinity     *corev1.Affinity    `json:"affinity"`
	Tolerations  []corev1.Toleration `json:"tolerations"`
	HostNetwork  bool                `json:"hostNetwork"`
}

// given are the taints that every DaemonSet's pods are made to tolerate.
var given = []string{
	corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeUnschedulable,
	corev1.TaintNodeDiskPressure, corev1.TaintNodeMemoryPressure, corev1.TaintNodePIDPressure,
}

// leaves tells why a node is to have no pod of the DaemonSet; "" if it is to.
func (s *scheduling) leaves(node *corev1.Node) string {
	for _, key := range slices.Sorted(maps.Keys(s.NodeSelector)) {
		if have, ok := node.Labels[key]; !ok || have != s.NodeSelector[key] {
			return fmt.Sprintf("no longer selects the node: its label %s is not %q", key, s.NodeSelector[key])
		}
	}
	if s.Affinity == nil || s.Affinity.NodeAffinity == nil || s.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	terms := s.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if !slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool { return selectsNode(t, node) }) {
		return "no longer selects the node: its nodeAffinity does not match"
	}
	return ""
}

// repelled names a taint for which a node is given no new pod of the DaemonSet; ""
// if there is none.
func (s *scheduling) repelled(node *corev1.Node) string {
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		switch {
		case taint.Effect != corev1.TaintEffectNoSchedule && taint.Effect != corev1.TaintEffectNoExecute:
		case slices.Contains(given, taint.Key) || s.HostNetwork && taint.Key == corev1.TaintNodeNetworkUnavailable:
		case slices.ContainsFunc(s.Tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(klog.Background(), taint, true) }):
		default:
			return taint.ToString()
		}
	}
	return ""
}

var nodeOperators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

// selectsNode tells whether a term of a node selector matches. One that is empty does
// not; what cannot be read counts as a match, for nothing is known of it.
func selectsNode(t corev1.NodeSelectorTerm, node *corev1.Node) bool {
	matches := func(on labels.Set) func(corev1.NodeSelectorRequirement) bool {
		return func(r corev1.NodeSelectorRequirement) bool {
			q, err := labels.NewRequirement(r.Key, nodeOperators[r.Operator], r.Values)
			return err != nil || q.Matches(on)
		}
	}
	return len(t.MatchExpressions)+len(t.MatchFields) > 0 &&
		all(t.MatchExpressions, matches(node.Labels)) && all(t.MatchFields, matches(labels.Set{"metadata.name": node.Name}))
}

func all[T any](list []T, is func(T) bool) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return !is(x) })
}
