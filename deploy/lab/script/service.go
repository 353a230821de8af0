package script

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const serviceOptions = "[key=] [policy=Cluster|Local] [app=] [addresses=] [pool=] [families=] [class=] [type=] [labels=K=V] [ip=]"

var serviceKeys = []string{"key", "policy", "app", "addresses", "pool", "families", "class", "type", "labels", "ip"}

func (r *run) service(ctx context.Context, args []string) error {
	patch, err := servicePatch(args, true)
	if err != nil {
		return err
	}
	ns, name := splitName(args[0])
	patch["apiVersion"], patch["kind"] = "v1", "Service"
	meta := patch["metadata"].(object)
	meta["name"], meta["namespace"] = name, ns
	_, err = r.api.Resource(services).Namespace(ns).Create(ctx, toUnstructured(patch), metav1.CreateOptions{})
	return err
}

func (r *run) edit(ctx context.Context, args []string) error {
	patch, err := servicePatch(args, false)
	if err != nil {
		return err
	}
	for _, name := range commas(args[0]) {
		r.history.Asked(full(name), time.Now())
		if err := r.api.merge(ctx, services, name, patch); err != nil {
			return err
		}
	}
	return nil
}

// servicePatch reads SVC, ports and options.
func servicePatch(args []string, create bool) (object, error) {
	plain, o, err := options(args, serviceKeys...)
	if err == nil {
		err = want(1, plain, "the name of a Service")
	}
	if err != nil {
		return nil, err
	}
	spec, annotations, labels := object{}, object{}, object{}
	if create {
		spec["type"], spec["selector"] = "LoadBalancer", object{"app": "web"}
		spec["ipFamilyPolicy"] = "RequireDualStack"
	}
	if ports, err := servicePorts(plain[1:]); err != nil {
		return nil, err
	} else if len(ports) > 0 {
		spec["ports"] = ports
	}
	for key, value := range o {
		var v any = value
		if value == "" {
			v = nil
		}
		switch key {
		case "key":
			annotations["metallb.io/allow-shared-ip"] = v
		case "addresses":
			annotations["metallb.io/loadBalancerIPs"] = v
		case "pool":
			annotations["metallb.io/address-pool"] = v
		case "policy":
			spec["externalTrafficPolicy"] = v
		case "app":
			spec["selector"] = object{"app": v}
		case "class":
			spec["loadBalancerClass"] = v
		case "type":
			spec["type"] = v
		case "ip":
			spec["loadBalancerIP"] = v
		case "labels":
			k, text, _ := strings.Cut(value, "=")
			labels[k] = text
		case "families":
			if err := families(spec, value, create); err != nil {
				return nil, err
			}
		}
	}
	if create {
		clear := func(m object) {
			for k, v := range m {
				if v == nil {
					delete(m, k)
				}
			}
		}
		clear(annotations)
		clear(spec)
	}
	return object{"metadata": object{"annotations": annotations, "labels": labels}, "spec": spec}, nil
}

func families(spec object, value string, create bool) error {
	policy, ok := map[string]string{"dual": "RequireDualStack", "prefer": "PreferDualStack", "v4": "SingleStack", "v6": "SingleStack"}[value]
	if !ok {
		return fmt.Errorf("families=%s: want dual, prefer, v4 or v6", value)
	}
	spec["ipFamilyPolicy"] = policy
	if family := map[string]string{"v4": "IPv4", "v6": "IPv6"}[value]; create && family != "" {
		spec["ipFamilies"] = []any{family}
	}
	return nil
}

// servicePorts reads tcp/80: the workload listens on 8080 for it.
func servicePorts(args []string) (ports []any, err error) {
	for _, arg := range args {
		protocol, text, _ := strings.Cut(arg, "/")
		n, err := number(text)
		if err != nil || !slices.Contains([]string{"tcp", "udp"}, protocol) || n < 1 || n > 999 {
			return nil, fmt.Errorf("port %q: want tcp/80 or udp/80, up to 999", arg)
		}
		ports = append(ports, object{"name": protocol + "-" + text, "protocol": strings.ToUpper(protocol), "port": int64(n), "targetPort": int64(8000 + n)})
	}
	return ports, nil
}
