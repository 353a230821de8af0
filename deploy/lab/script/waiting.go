package script

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func init() {
	add("time", map[string]verb{
		"sleep": {"", "DURATION", "waits", (*run).sleep},
		"mark":  {"", "", "begins the time that claims look at", (*run).setMark},
		"wait":  {"", "WHAT [within=30s]", waitHelp, (*run).wait},
	})
}

const waitHelp = `waits until something is so. WHAT is one of
address SVC...             each has an address of each of its families
no-address SVC...          none has
addresses SVC ADDR...      it has exactly these
endpoints SVC NODE...      its ready endpoints are on exactly these nodes; NODE may be none
condition SVC TYPE REASON  its condition has this reason
says SVC TYPE True|False [TEXT...]  its condition is so, and each TEXT is in the message
pool-says POOL TEXT...     each TEXT is in a message of the pool's conditions
event SVC REASON           an Event about it has this reason
answered TARGET... [from=] each target answers every request for 300 ms
quiet ADDR...              nobody has announced it, unasked, for 5 s
owner ADDR NODE            NODE, and nobody else, answers for it
node NODE ready|notready   the Node's condition
rollout KIND/NAME          kubectl rollout status, in holdfast-system
holdfast                   every holdfast pod is ready and one of them leads
routes ROUTER,... ADDR... nodes=NODE,...
bgp ROUTER,... NODE,... up|down
bfd ROUTER,... NODE,... up|down     these as the claims of the same names`

func (r *run) sleep(ctx context.Context, args []string) error {
	if err := want(1, args, "a duration"); err != nil {
		return err
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.pace.time(d)):
		return nil
	}
}

func (r *run) setMark(context.Context, []string) error {
	r.mark = time.Now()
	return nil
}

func (r *run) wait(ctx context.Context, args []string) error {
	args, o, err := options(args, "within", "from", "nodes")
	if err == nil {
		err = want(1, args, "what to wait for")
	}
	if err != nil {
		return err
	}
	within, err := duration(o, "within", 30*time.Second)
	if err != nil {
		return err
	}
	what, args := args[0], args[1:]
	for _, key := range []string{"from", "nodes"} {
		if value, ok := o[key]; ok {
			args = append(args, key+"="+value)
		}
	}
	ask, ok := waits[what]
	if !ok {
		return fmt.Errorf("wait %s: want one of\n%s", what, waitHelp)
	}
	if err := until(ctx, within, func() error { return ask(r, ctx, args) }); err != nil {
		return errors.New(err.Error()) // no claim: what follows would stand on nothing
	}
	return nil
}

var waits map[string]func(r *run, ctx context.Context, args []string) error

func init() { // not in the declaration, which would go in a circle
	waits = map[string]func(r *run, ctx context.Context, args []string) error{
		"address":    eachArg((*run).hasAddress),
		"no-address": eachArg((*run).hasNoAddress),
		"addresses":  func(r *run, _ context.Context, args []string) error { return r.hasAddresses(args) },
		"endpoints":  (*run).hasEndpoints,
		"condition":  func(r *run, _ context.Context, args []string) error { return r.hasCondition(args) },
		"says":       func(r *run, _ context.Context, args []string) error { return r.says(args) },
		"pool-says":  (*run).poolSays,
		"event":      (*run).hasEvent,
		"answered": func(r *run, ctx context.Context, args []string) error {
			args, o, err := options(args, "from")
			if err != nil {
				return err
			}
			return r.answers(ctx, o["from"], args)
		},
		"quiet": func(r *run, _ context.Context, args []string) error { return r.isQuiet(args) },
		"owner": (*run).isOwner,
		"node":  (*run).nodeIs,
		"rollout": func(r *run, _ context.Context, args []string) error {
			return r.ctl(append([]string{"rollout", "status", "-n", namespace, "--timeout=120s"}, args...)...)
		},
		"holdfast": func(r *run, ctx context.Context, _ []string) error { return holdfastIsWell(ctx, r.lab, r.api) },
		"routes":   (*run).routes,
		"bgp":      (*run).bgp,
		"bfd":      (*run).bfd,
	}
}

func eachArg(ask func(r *run, ctx context.Context, arg string) error) func(*run, context.Context, []string) error {
	return func(r *run, ctx context.Context, args []string) error {
		for _, arg := range args {
			if err := ask(r, ctx, arg); err != nil {
				return err
			}
		}
		return want(1, args, "at least one name")
	}
}

func (r *run) hasAddress(ctx context.Context, svc string) error {
	ns, name := splitName(svc)
	var s corev1.Service
	if err := r.api.get(ctx, services, ns, name, &s); err != nil {
		return err
	}
	now := r.history.Now(full(svc))
	wanted := len(s.Spec.IPFamilies)
	if p := s.Spec.IPFamilyPolicy; p != nil && *p == corev1.IPFamilyPolicyPreferDualStack {
		wanted = 1
	}
	if len(now.Addresses) < wanted {
		return claim("%s has %v, and %d families", svc, now.Addresses, len(s.Spec.IPFamilies))
	}
	return nil
}

func (r *run) hasNoAddress(_ context.Context, svc string) error {
	if now := r.history.Now(full(svc)); len(now.Addresses) > 0 {
		return claim("%s has %v", svc, now.Addresses)
	}
	return nil
}

func (r *run) hasAddresses(args []string) error {
	if err := want(2, args, "a Service and addresses"); err != nil {
		return err
	}
	wanted, err := r.addrs(args[1:])
	if err != nil {
		return err
	}
	now := r.history.Now(full(args[0]))
	got := slices.Clone(now.Addresses)
	slices.SortFunc(got, netip.Addr.Compare)
	slices.SortFunc(wanted, netip.Addr.Compare)
	if !slices.Equal(got, wanted) {
		return claim("%s has %v, want %v", args[0], got, wanted)
	}
	return nil
}

// addrs reads addresses and Services, which stand for all of theirs.
func (r *run) addrs(args []string) (addrs []netip.Addr, err error) {
	for _, arg := range args {
		if a, err := netip.ParseAddr(arg); err == nil {
			addrs = append(addrs, a)
			continue
		}
		now := r.history.Now(full(arg))
		if len(now.Addresses) == 0 {
			return nil, fmt.Errorf("%s is no address and no Service that has one", arg)
		}
		addrs = append(addrs, now.Addresses...)
	}
	return addrs, want(1, args, "an address or a Service")
}

func (r *run) hasEndpoints(ctx context.Context, args []string) error {
	if err := want(2, args, "a Service and nodes, or none"); err != nil {
		return err
	}
	ns, name := splitName(args[0])
	all, err := list[discoveryv1.EndpointSlice](ctx, r.api, endpointSlices, ns, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + name})
	if err != nil {
		return err
	}
	var on []string
	for _, s := range all {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready && e.NodeName != nil && !slices.Contains(on, *e.NodeName) {
				on = append(on, *e.NodeName)
			}
		}
	}
	wanted := slices.DeleteFunc(slices.Clone(args[1:]), func(s string) bool { return s == "none" })
	slices.Sort(on)
	slices.Sort(wanted)
	if !slices.Equal(on, wanted) {
		return claim("%s has ready endpoints on %v, want %v", args[0], on, wanted)
	}
	return nil
}

func (r *run) hasCondition(args []string) error {
	if err := want(3, args, "a Service, a type and a reason"); err != nil {
		return err
	}
	kind := conditionType(args[1])
	c := r.history.Now(full(args[0])).Condition(kind)
	if c.Reason != args[2] {
		return claim("%s: condition %s is %q %q (%s), want reason %s", args[0], kind, c.Status, c.Reason, c.Message, args[2])
	}
	return nil
}

func (r *run) hasEvent(ctx context.Context, args []string) error {
	if err := want(2, args, "a Service and a reason"); err != nil {
		return err
	}
	ns, name := splitName(args[0])
	all, err := list[corev1.Event](ctx, r.api, events, ns, metav1.ListOptions{FieldSelector: "involvedObject.kind=Service,involvedObject.name=" + name})
	if err != nil {
		return err
	}
	var seen []string
	for _, e := range all {
		if e.Reason == args[1] {
			return nil
		}
		seen = append(seen, e.Reason)
	}
	return claim("no Event %s about %s, but %v", args[1], args[0], seen)
}

func (r *run) isQuiet(args []string) error {
	addrs, err := r.addrs(args)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := r.heard.NoGratuitous(a, time.Now().Add(-5*time.Second)); err != nil {
			return err
		}
	}
	if since := time.Since(r.begun); since < 5*time.Second {
		return fmt.Errorf("heard for %s only", since.Round(time.Second))
	}
	return nil
}

func (r *run) nodeIs(ctx context.Context, args []string) error {
	if err := want(2, args, "a node, and ready or notready"); err != nil {
		return err
	}
	var n corev1.Node
	if err := r.api.get(ctx, nodes, "", args[0], &n); err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && (c.Status == corev1.ConditionTrue) == (args[1] == "ready") {
			return nil
		}
	}
	return claim("%s is not %s", args[0], args[1])
}
