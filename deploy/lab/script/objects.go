package script

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func init() {
	add("objects", map[string]verb{
		"pool": {"", "NAME ADDRESSES... [auto=false] [avoid=buggy] [priority=N] [namespaces=A,B] [namespace-label=K=V] [service-label=K=V]\n        [across-namespaces=true] [max-per-namespace=N]",
			"creates or changes an IPAddressPool; ADDRESSES is a CIDR or a range", (*run).pool},
		"advertise": {"", "[NAME] [pools=A,B] [node-label=K=V] [interfaces=A,B] [service-label=K=V]",
			"creates or changes an L2Advertisement, by default one for all pools", (*run).advertise},
		"backend": {"", "NAME [on=NODE,NODE] [replicas=N]",
			"creates or changes a Deployment of the echo workload (NAMESPACE/NAME; else in default), label app=NAME, one pod on each\nnode (or each named one), that ends gracefully; waits until they are ready", (*run).backend},
		"service": {"", "SVC PORT... " + serviceOptions,
			"creates a Service of type LoadBalancer; a PORT is tcp/80. Families dual (default),\nprefer, v4 or v6. app is the backend (default web)", (*run).service},
		"edit": {"", "SVC[,SVC...] [PORT...] " + serviceOptions,
			"changes a Service in one write each; an empty value removes", (*run).edit},
		"namespace": {"", "NAME [K=V...]", "creates a namespace or changes its labels; K= removes one", (*run).namespace},
		"apply":     {"", "FILE... [as=USER]", "kubectl apply of files of the scenario", (*run).apply},
		"replace":   {"", "FILE... [as=USER]", "kubectl replace: the object becomes what the file says, and loses what it does not say", (*run).replaceWith},
		"overwrite": {"", "SVC ADDR... [times=1] [for=30s]", "does as another load balancer does: whenever the status of a Service holds other\naddresses, writes these, so many times, or for so long", (*run).overwrite},
		"delete":    {"", "KIND NAME...", "deletes objects (service, pool, advertisement, backend, namespace) and waits until\nthey are gone", (*run).delete},
		"kubectl":   {"", "ARGS...", "anything else that kubectl does; its output is kept in $OUTPUT", (*run).kubectl},
		"set":       {"", "NAME VALUE | NAME leader | NAME owner ADDR | NAME address SVC [4|6]", "sets a variable", (*run).set},
	})
}

func (r *run) pool(ctx context.Context, args []string) error {
	p, err := poolObject(args)
	if err != nil {
		return err
	}
	return r.api.put(ctx, pools, p)
}

// poolObject reads a name, addresses and options.
func poolObject(args []string) (object, error) {
	args, o, err := options(args, "auto", "avoid", "priority", "namespaces", "namespace-label", "service-label", "across-namespaces", "max-per-namespace")
	if err == nil {
		err = want(2, args, "a name and addresses")
	}
	if err != nil {
		return nil, err
	}
	spec := object{"addresses": args[1:]}
	if o["auto"] == "false" {
		spec["autoAssign"] = false
	}
	if o["avoid"] == "buggy" {
		spec["avoidBuggyIPs"] = true
	}
	allocation := object{}
	if text, ok := o["priority"]; ok {
		if allocation["priority"], err = number(text); err != nil {
			return nil, err
		}
	}
	if names := commas(o["namespaces"]); names != nil {
		allocation["namespaces"] = names
	}
	if l := o["namespace-label"]; l != "" {
		allocation["namespaceSelectors"] = []object{selector(l)}
	}
	if l := o["service-label"]; l != "" {
		allocation["serviceSelectors"] = []object{selector(l)}
	}
	if len(allocation) > 0 {
		spec["serviceAllocation"] = allocation
	}
	annotations := object{}
	for option, name := range poolAnnotations {
		if v := o[option]; v != "" {
			annotations[name] = v
		}
	}
	return object{"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
		"metadata": object{"name": args[0], "namespace": namespace, "annotations": annotations}, "spec": spec}, nil
}

// poolAnnotations are what the options of the verb pool are called in the API.
var poolAnnotations = map[string]string{
	"across-namespaces": "holdfast.dev/share-across-namespaces",
	"max-per-namespace": "holdfast.dev/max-per-namespace",
}

func (r *run) advertise(ctx context.Context, args []string) error {
	args, o, err := options(args, "pools", "node-label", "interfaces", "service-label")
	if err != nil {
		return err
	}
	spec := object{}
	if names := commas(o["pools"]); names != nil {
		spec["ipAddressPools"] = names
	}
	if names := commas(o["interfaces"]); names != nil {
		spec["interfaces"] = names
	}
	if l := o["node-label"]; l != "" {
		spec["nodeSelectors"] = []object{selector(l)}
	}
	if l := o["service-label"]; l != "" {
		spec["serviceSelectors"] = []object{selector(l)}
	}
	name := "all"
	if len(args) > 0 {
		name = args[0]
	}
	return r.api.put(ctx, advertisements, object{"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
		"metadata": object{"name": name, "namespace": namespace}, "spec": spec})
}

func selector(label string) object {
	key, value, _ := strings.Cut(label, "=")
	return object{"matchLabels": object{key: value}}
}

func commas(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func toUnstructured(o object) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON([]byte(mustJSON(o))); err != nil {
		panic(err) // an object made above
	}
	return u
}

func (r *run) namespace(ctx context.Context, args []string) error {
	if err := want(1, args, "a name"); err != nil {
		return err
	}
	labels := object{}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		if labels[key] = value; value == "" {
			labels[key] = nil
		}
	}
	u := toUnstructured(object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": args[0]}})
	if _, err := r.api.Resource(namespaces).Create(ctx, u, metav1.CreateOptions{}); err != nil && !strings.Contains(err.Error(), "already exists") {
		return err
	}
	return r.api.merge(ctx, namespaces, args[0], object{"metadata": object{"labels": labels}})
}

func (r *run) apply(_ context.Context, args []string) error { return r.files("apply", args) }

func (r *run) replaceWith(_ context.Context, args []string) error { return r.files("replace", args) }

// files runs a verb of kubectl on files of the scenario.
func (r *run) files(verb string, args []string) error {
	names, o, err := options(args, "as")
	if err == nil {
		err = want(1, names, "files")
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		argv := []string{verb, "-f", filepath.Join(r.dir, filepath.Base(name))}
		if user := o["as"]; user != "" {
			argv = append(argv, "--as="+user)
		}
		if err := r.ctl(argv...); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) kubectl(_ context.Context, args []string) error { return r.ctl(args...) }

// ctl runs kubectl in the lab.
func (r *run) ctl(args ...string) error {
	out, err := r.lab.Kubectl(args...).CombinedOutput()
	r.vars["OUTPUT"] = string(bytes.TrimSpace(out))
	if err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

func (r *run) delete(ctx context.Context, args []string) error {
	if err := want(2, args, "a kind and names"); err != nil {
		return err
	}
	for _, arg := range args[1:] {
		ns, name := splitName(arg)
		res := services
		switch args[0] {
		case "service":
		case "pool":
			res, ns = pools, namespace
		case "advertisement":
			res, ns = advertisements, namespace
		case "backend":
			res = deployments
		case "namespace":
			res, ns = namespaces, ""
		default:
			return fmt.Errorf("delete %s: want service, pool, advertisement, backend or namespace; else use kubectl delete", args[0])
		}
		if err := r.api.remove(ctx, res, ns, name, nil); err != nil {
			return err
		}
		err := until(ctx, 30*time.Second, func() error {
			if err := r.api.get(ctx, res, ns, name, &object{}); err == nil {
				return fmt.Errorf("%s %s is still there", args[0], arg)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) set(ctx context.Context, args []string) (err error) {
	if err := want(2, args, "a name and a value"); err != nil {
		return err
	}
	switch value := args[1]; {
	case value == "leader":
		r.vars[args[0]], err = leader(ctx, r.lab, r.api)
	case value == "owner" && len(args) == 3:
		r.vars[args[0]], err = r.ownerOf(ctx, args[2])
	case value == "address" && len(args) >= 3:
		family := ""
		if len(args) > 3 {
			family = args[3]
		}
		r.vars[args[0]], err = r.addressOf(args[2], family)
	default:
		r.vars[args[0]] = strings.Join(args[1:], " ")
	}
	return err
}

func (r *run) addressOf(svc, family string) (string, error) {
	for _, a := range r.history.Now(full(svc)).Addresses {
		if family == "" || a.Is4() == (family == "4") {
			return a.String(), nil
		}
	}
	return "", fmt.Errorf("no address %s of Service %s", family, svc)
}
