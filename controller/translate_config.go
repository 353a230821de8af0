package controller

import (
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// poolFact translates an IPAddressPool. With an error the pool is refused: the
// fact then has no addresses, so that nobody is given one, and those who hold
// addresses that it gave keep them until it is mended or deleted.
func poolFact(in *v1beta1.IPAddressPool) (allocator.Pool, error) {
	out := allocator.Pool{
		Name:          in.Name,
		Created:       in.CreationTimestamp.UTC(),
		Labels:        in.Labels,
		Accepted:      accepted(in.Status.Conditions, in.Generation),
		Addresses:     in.Spec.Addresses,
		AutoAssign:    in.Spec.AutoAssign == nil || *in.Spec.AutoAssign,
		AvoidBuggyIPs: in.Spec.AvoidBuggyIPs,
	}
	if err := sharing(in.Annotations, &out); err != nil {
		out.Addresses = nil
		return out, err
	}
	allocateTo := in.Spec.AllocateTo
	if allocateTo == nil {
		return out, nil
	}
	out.Allocation = &allocator.Allocation{Priority: allocateTo.Priority, Namespaces: allocateTo.Namespaces}
	const field = "spec.serviceAllocation."
	var err error
	if out.Allocation.NamespaceSelectors, err = selectorsOf(field+"namespaceSelectors", allocateTo.NamespaceSelectors); err != nil {
		out.Addresses = nil
		return out, err
	}
	if out.Allocation.ServiceSelectors, err = selectorsOf(field+"serviceSelectors", allocateTo.ServiceSelectors); err != nil {
		out.Addresses = nil
		return out, err
	}
	return out, nil
}

// sharing reads what a pool's annotations say of how Services share it.
func sharing(annotations map[string]string, out *allocator.Pool) error {
	switch across := strings.TrimSpace(annotations[allocator.AnnotationAcross]); across {
	case "", "false":
	case "true":
		out.AcrossNamespaces = true
	default:
		return fmt.Errorf("annotation %s is %q: it can be \"true\" or \"false\"", allocator.AnnotationAcross, across)
	}
	quota := strings.TrimSpace(annotations[allocator.AnnotationQuota])
	if quota == "" {
		return nil
	}
	n, err := strconv.Atoi(quota)
	if err != nil || n < 1 {
		return fmt.Errorf("annotation %s is %q: it must be a number from 1 on, how many addresses Services of one namespace may be given", allocator.AnnotationQuota, quota)
	}
	out.MaxPerNamespace = n
	return nil
}

// accepted tells whether the published conditions accept this very definition.
func accepted(conditions []metav1.Condition, generation int64) bool {
	c := conditionOf(conditions, v1beta1.ConditionAccepted)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == generation
}

// advertisementFact translates an L2Advertisement. With an error the whole
// object is refused.
func advertisementFact(in *v1beta1.L2Advertisement) (allocator.Advertisement, error) {
	out := allocator.Advertisement{Name: in.Name, Pools: in.Spec.IPAddressPools, Interfaces: in.Spec.Interfaces}
	var err error
	if out.PoolSelectors, err = selectorsOf("spec.ipAddressPoolSelectors", in.Spec.IPAddressPoolSelectors); err != nil {
		return out, err
	}
	if out.NodeSelectors, err = selectorsOf("spec.nodeSelectors", in.Spec.NodeSelectors); err != nil {
		return out, err
	}
	if out.ServiceSelectors, err = selectorsOf("spec.serviceSelectors", in.Spec.ServiceSelectors); err != nil {
		return out, err
	}
	for i := range in.Spec.PreferredNodeSelectors {
		p := &in.Spec.PreferredNodeSelectors[i]
		s, err := selectorOf(&p.Preference)
		if err != nil {
			return out, fmt.Errorf("spec.preferredNodeSelectors[%d].preference: %w", i, err)
		}
		out.Preferences = append(out.Preferences, allocator.Preference{Weight: int(p.Weight), Selector: s})
	}
	return out, nil
}
