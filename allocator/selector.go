package allocator

import "slices"

// A Selector is a Kubernetes label selector (metav1.LabelSelector with
// matchLabels written as In). All requirements must hold; none selects everything.
type Selector []Requirement

// A Requirement is one condition on one label.
type Requirement struct {
	Key      string
	Operator Operator
	Values   []string // sorted
}

// An Operator says how a label relates to the values of a requirement.
type Operator string

// The operators of metav1.LabelSelectorRequirement.
const (
	In           Operator = "In"
	NotIn        Operator = "NotIn"
	Exists       Operator = "Exists"
	DoesNotExist Operator = "DoesNotExist"
)

// Matches tells whether the labels fulfil every requirement.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s {
		if !r.matches(labels) {
			return false
		}
	}
	return true
}

func (r Requirement) matches(labels map[string]string) bool {
	value, present := labels[r.Key]
	switch r.Operator {
	case In:
		return present && slices.Contains(r.Values, value)
	case NotIn:
		return !present || !slices.Contains(r.Values, value)
	case Exists:
		return present
	case DoesNotExist:
		return !present
	}
	return false
}

// anyMatches tells whether one of the selectors matches.
func anyMatches(selectors []Selector, labels map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s Selector) bool { return s.Matches(labels) })
}
