package controller

import (
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// selectorsOf translates the label selectors of one field of an object; the
// error names the field and the entry that is wrong.
func selectorsOf(field string, in []metav1.LabelSelector) ([]allocator.Selector, error) {
	var out []allocator.Selector
	for i := range in {
		s, err := selectorOf(&in[i])
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// selectorOf translates a label selector. An empty one selects everything.
func selectorOf(in *metav1.LabelSelector) (allocator.Selector, error) {
	if _, err := metav1.LabelSelectorAsSelector(in); err != nil {
		return nil, err
	}
	var out allocator.Selector
	for _, key := range slices.Sorted(maps.Keys(in.MatchLabels)) {
		out = append(out, allocator.Requirement{Key: key, Operator: allocator.In, Values: []string{in.MatchLabels[key]}})
	}
	for _, e := range in.MatchExpressions {
		r := allocator.Requirement{Key: e.Key, Operator: allocator.Operator(e.Operator), Values: slices.Clone(e.Values)}
		slices.Sort(r.Values)
		out = append(out, r)
	}
	return out, nil
}
