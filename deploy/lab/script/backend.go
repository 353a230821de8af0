package script

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

func (r *run) backend(ctx context.Context, args []string) error {
	args, o, err := options(args, "on", "replicas")
	if err == nil {
		err = want(1, args, "a name")
	}
	if err != nil {
		return err
	}
	on := commas(o["on"])
	if on == nil {
		on = r.lab.Nodes()
	}
	replicas := len(on)
	if text, ok := o["replicas"]; ok {
		if replicas, err = number(text); err != nil {
			return err
		}
	}
	ns, name := splitName(args[0])
	if err := r.api.put(ctx, deployments, deployment(ns, name, on, replicas)); err != nil {
		return err
	}
	return until(ctx, 90*time.Second, func() error { return r.rolledOut(ctx, ns, name) })
}

// deployment spreads the pods over the named nodes, and over those that are left when
// some of them are drained.
func deployment(ns, name string, on []string, replicas int) object {
	labels := object{"app": name}
	match := object{"matchLabels": labels}
	return object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": name, "namespace": ns},
		"spec": object{"replicas": replicas, "selector": match,
			"template": object{"metadata": object{"labels": labels}, "spec": object{
				"terminationGracePeriodSeconds": 10,
				"automountServiceAccountToken":  false,
				"topologySpreadConstraints": []object{{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
					"nodeTaintsPolicy": "Honor", "labelSelector": match}},
				"affinity": object{"nodeAffinity": object{"requiredDuringSchedulingIgnoredDuringExecution": object{"nodeSelectorTerms": []object{
					{"matchExpressions": []object{{"key": "kubernetes.io/hostname", "operator": "In", "values": on}}}}}}},
				"containers": []object{{"name": "echo", "image": "lab.local/echo:v1", "imagePullPolicy": "IfNotPresent",
					"args":           []string{"--tcp=8053,8080-8089", "--udp=8053,8080-8089", "--linger=5s"},
					"resources":      object{"requests": object{"cpu": "200m"}}, // a share of the processor, not what is left
					"readinessProbe": object{"httpGet": object{"path": "/", "port": 8079}, "periodSeconds": 1, "failureThreshold": 1},
				}},
			}}}}
}

func (r *run) rolledOut(ctx context.Context, ns, name string) error {
	var d appsv1.Deployment
	if err := r.api.get(ctx, deployments, ns, name, &d); err != nil {
		return err
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.Replicas > s.UpdatedReplicas || s.ReadyReplicas < *d.Spec.Replicas {
		return fmt.Errorf("backend %s: %d of %d pods are ready", name, s.ReadyReplicas, *d.Spec.Replicas)
	}
	return nil
}
