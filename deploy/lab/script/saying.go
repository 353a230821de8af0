package script

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditionType is the type of a condition, of which ours are named without the prefix.
func conditionType(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return "holdfast.dev/" + name
}

// says fails unless a Service's condition has a status, and each text in its message.
func (r *run) says(args []string) error {
	if err := want(3, args, "a Service, a type and True or False"); err != nil {
		return err
	}
	if args[2] != "True" && args[2] != "False" {
		return fmt.Errorf("%q: want True or False", args[2])
	}
	kind := conditionType(args[1])
	c := r.history.Now(full(args[0])).Condition(kind)
	if c.Status != args[2] {
		return claim("%s: condition %s is %q %q (%s), want %s", args[0], kind, c.Status, c.Reason, c.Message, args[2])
	}
	if text := missing(c.Message, args[3:]); text != "" {
		return claim("%s: condition %s %s says %q, not a word of %q", args[0], kind, c.Status, c.Message, text)
	}
	return nil
}

// poolSays fails unless a pool's conditions have each text in their messages.
func (r *run) poolSays(ctx context.Context, args []string) error {
	if err := want(2, args, "a pool and texts"); err != nil {
		return err
	}
	var p struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := r.api.get(ctx, pools, namespace, args[0], &p); err != nil {
		return err
	}
	var all []string
	for _, c := range p.Status.Conditions {
		all = append(all, fmt.Sprintf("%s %s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	said := strings.Join(all, "; ")
	if text := missing(said, args[1:]); text != "" {
		return claim("pool %s says %q, not a word of %q", args[0], said, text)
	}
	return nil
}

// missing returns the first of the texts that is not in what was said, "" if all are.
func missing(said string, texts []string) string {
	for _, text := range texts {
		if !strings.Contains(said, text) {
			return text
		}
	}
	return ""
}
