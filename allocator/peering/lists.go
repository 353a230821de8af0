package peering

import (
	"fmt"
	"slices"
	"strings"

	"holdfast.dev/holdfast/allocator"
)

// This file looks for what is written twice in one list, which is an oversight
// more often than not, and which MetalLB refuses.

// once refuses a list that names something twice.
func once(field string, list []string) error {
	seen := make(map[string]bool, len(list))
	for _, v := range list {
		if seen[v] {
			return fmt.Errorf("%s names %q twice: remove one", field, v)
		}
		seen[v] = true
	}
	return nil
}

// onceSelected refuses selectors of which two are the same, or one says something twice.
func onceSelected(field string, selectors []allocator.Selector) error {
	seen := map[string]bool{}
	for i, s := range selectors {
		if t := canonical(s); seen[t] {
			return fmt.Errorf("%s[%d] is the same as one before: remove one", field, i)
		} else {
			seen[t] = true
		}
		requirements := map[string]bool{}
		for _, r := range s {
			if err := once(fmt.Sprintf("%s[%d]: the values of %s: the list", field, i, r.Key), r.Values); err != nil {
				return err
			}
			if t := requirement(r); requirements[t] {
				return fmt.Errorf("%s[%d] has the same requirement on %s twice: remove one", field, i, r.Key)
			} else {
				requirements[t] = true
			}
		}
	}
	return nil
}

// canonical writes a selector in a form that does not depend on the order in which
// it was written.
func canonical(s allocator.Selector) string {
	texts := make([]string, len(s))
	for i, r := range s {
		texts[i] = requirement(r)
	}
	slices.Sort(texts)
	return strings.Join(texts, "\n")
}

// canonicalList writes selectors, of which one suffices, likewise.
func canonicalList(selectors []allocator.Selector) string {
	texts := make([]string, len(selectors))
	for i, s := range selectors {
		texts[i] = canonical(s)
	}
	slices.Sort(texts)
	return strings.Join(texts, "\n\n")
}

func requirement(r allocator.Requirement) string {
	return fmt.Sprintf("%s %s %q", r.Key, r.Operator, slices.Sorted(slices.Values(r.Values)))
}
