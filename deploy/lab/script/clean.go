package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// clean makes the state that every scenario begins with.
func clean(ctx context.Context, lab Lab, a *api, n Needs) error {
	if len(lab.Nodes()) < n.Nodes {
		return fmt.Errorf("the scenario needs %d nodes and the lab has %d: lab up --nodes %d", n.Nodes, len(lab.Nodes()), n.Nodes)
	}
	for _, name := range commas(n.Routers) {
		if !slices.Contains(lab.Routers(), name) {
			return fmt.Errorf("the scenario needs routers %s and the lab has %s: lab up --routers %s", n.Routers, orNone(lab.Routers()), n.Routers)
		}
	}
	if err := lab.Restore(ctx); err != nil {
		return fmt.Errorf("mending the lab: %w", err)
	}
	for _, step := range []func(context.Context, *api) error{cleanObjects, cleanNodes} {
		if err := step(ctx, a); err != nil {
			return err
		}
	}
	if err := runHoldfast(ctx, lab, a, n.Flags); err != nil {
		return err
	}
	if err := proxiesFollow(ctx, lab, a); err != nil {
		return err
	}
	return cleanNetworks(lab)
}

// runHoldfast gives the lab's holdfast the flags, if it has others, and waits until it
// is well. A lab may be without: then scenarios show what the rest of it does.
func runHoldfast(ctx context.Context, lab Lab, a *api, flags string) error {
	o := lab.Options()
	if !o.Holdfast {
		return nil
	}
	removed := apierrors.IsNotFound(a.get(ctx, daemonSets, namespace, "holdfast", &object{}))
	if o.HoldfastArgs != flags || removed {
		if err := lab.SetHoldfastArgs(ctx, flags); err != nil {
			return fmt.Errorf("running holdfast with %q: %w", flags, err)
		}
	}
	return until(ctx, 90*time.Second, func() error { return holdfastIsWell(ctx, lab, a) })
}

// cleanObjects removes all that a scenario may have made, Services first, so that
// holdfast sees them go while their pools are there.
func cleanObjects(ctx context.Context, a *api) error {
	zero := int64(0)
	for _, r := range []schema.GroupVersionResource{services, deployments, replicaSets, daemonSets, budgets, pods, configMaps, events} {
		err := a.each(ctx, r, "default", func(name string) error { return a.remove(ctx, r, "default", name, &zero) })
		if err != nil {
			return err
		}
	}
	err := a.each(ctx, namespaces, "", func(name string) error { return a.remove(ctx, namespaces, "", name, nil) })
	if err != nil {
		return err
	}
	for _, r := range []schema.GroupVersionResource{advertisements, routed, peers, profiles, communities, pools} {
		err := a.each(ctx, r, namespace, func(name string) error { return a.remove(ctx, r, namespace, name, nil) })
		if err != nil && !strings.Contains(err.Error(), "could not find the requested resource") { // no CRDs: no holdfast
			return err
		}
	}
	return until(ctx, 60*time.Second, func() error {
		// A pod that is left would be a backend of the next scenario's Services.
		if err := a.none(ctx, pods, "default"); err != nil {
			return errors.Join(err, a.each(ctx, pods, "default", func(name string) error { return a.remove(ctx, pods, "default", name, &zero) }))
		}
		return a.none(ctx, namespaces, "")
	})
}

// ours says whether a scenario may have made an object.
func ours(r schema.GroupVersionResource, name string) bool {
	switch r {
	case services:
		return name != "kubernetes"
	case namespaces:
		return name != "default" && name != namespace && !strings.HasPrefix(name, "kube-")
	case configMaps:
		return name != "kube-root-ca.crt"
	}
	return true
}

func (a *api) each(ctx context.Context, r schema.GroupVersionResource, ns string, do func(name string) error) error {
	l, err := a.Resource(r).Namespace(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing %s: %w", r.Resource, err)
	}
	for _, o := range l.Items {
		if name := o.GetName(); ours(r, name) {
			if err := do(name); err != nil {
				return fmt.Errorf("removing %s %s: %w", r.Resource, name, err)
			}
		}
	}
	return nil
}

func (a *api) none(ctx context.Context, r schema.GroupVersionResource, ns string) error {
	return a.each(ctx, r, ns, func(name string) error { return fmt.Errorf("%s is still there", name) })
}

// cleanNodes makes nodes schedulable and takes away labels and taints that Kubernetes did not give.
func cleanNodes(ctx context.Context, a *api) error {
	all, err := list[corev1.Node](ctx, a, nodes, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range all {
		labels := object{}
		for key := range n.Labels {
			domain, _, _ := strings.Cut(key, "/")
			if !strings.HasSuffix(domain, "kubernetes.io") || key == corev1.LabelNodeExcludeBalancers {
				labels[key] = nil
			}
		}
		tainted := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return !strings.HasPrefix(t.Key, "node.kubernetes.io/") })
		if !n.Spec.Unschedulable && len(labels) == 0 && !tainted {
			continue
		}
		patch := object{"metadata": object{"labels": labels}, "spec": object{"unschedulable": nil, "taints": nil}}
		if err := a.merge(ctx, nodes, n.Name, patch); err != nil {
			return fmt.Errorf("resetting node %s: %w", n.Name, err)
		}
	}
	return nil
}

// conntrack is how long nodes remember flows. A flow that moved to another node in its
// middle would else stay for days where it was, with the backend that it had, and catch
// the request that comes with the same source port a minute later; and 1,000 new flows a
// second and target would fill the table and the ports of the masquerade.
var conntrack = []string{
	"net.netfilter.nf_conntrack_udp_timeout=5",
	"net.netfilter.nf_conntrack_udp_timeout_stream=5",
	"net.netfilter.nf_conntrack_tcp_timeout_close=2",
	"net.netfilter.nf_conntrack_tcp_timeout_established=30",
	"net.netfilter.nf_conntrack_tcp_timeout_syn_sent=10",
	"net.netfilter.nf_conntrack_tcp_timeout_syn_recv=10",
	"net.netfilter.nf_conntrack_tcp_timeout_fin_wait=10",
	"net.netfilter.nf_conntrack_tcp_timeout_close_wait=10",
	"net.netfilter.nf_conntrack_tcp_timeout_last_ack=10",
	"net.netfilter.nf_conntrack_tcp_timeout_time_wait=10",
	"net.netfilter.nf_conntrack_tcp_timeout_max_retrans=10",
	"net.netfilter.nf_conntrack_tcp_timeout_unacknowledged=10",
}

// cleanNetworks makes the fabric whole, takes what a scenario plugged in, forgets neighbours that a scenario set in the
// clients, and the clients' flows in the nodes: those of the nodes themselves, to the API
// server, must live on.
func cleanNetworks(lab Lab) error {
	if err := setFabric(lab, ""); err != nil {
		return err
	}
	var addresses []byte
	for _, client := range clients(lab) {
		if out, err := lab.Exec(client, "ip", "neigh", "flush", "all", "nud", "all", "dev", "eth0").CombinedOutput(); err != nil {
			return fmt.Errorf("forgetting neighbours: %w: %s", err, out)
		}
		out, err := lab.Exec(client, "ip", "-oneline", "address", "show", "dev", "eth0", "scope", "global").CombinedOutput()
		if err != nil {
			return fmt.Errorf("asking for the addresses of %s: %w: %s", client, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if err := dropAddress(lab, client, strings.Fields(line)); err != nil {
				return err
			}
		}
		addresses = append(addresses, out...)
	}
	for _, node := range lab.Nodes() {
		if err := dropInterfaces(lab, node); err != nil {
			return err
		}
		if out, err := lab.Exec(node, append([]string{"sysctl", "-qw"}, conntrack...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("shortening conntrack's timeouts on %s: %w: %s", node, err, out)
		}
		for line := range strings.Lines(string(addresses)) {
			if err := forgetFlows(lab, node, strings.Fields(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropAddress takes an address of a single host away from a client: a scenario gave it.
func dropAddress(lab Lab, client string, line []string) error {
	if len(line) < 4 || !strings.HasSuffix(line[3], "/32") && !strings.HasSuffix(line[3], "/128") {
		return nil
	}
	if out, err := lab.Exec(client, "ip", "address", "del", line[3], "dev", "eth0").CombinedOutput(); err != nil {
		return fmt.Errorf("taking %s from %s: %w: %s", line[3], client, err, out)
	}
	return nil
}

// dropInterfaces takes the macvlan interfaces from a node: a scenario made them.
func dropInterfaces(lab Lab, node string) error {
	out, err := lab.Exec(node, "ip", "-oneline", "link", "show", "type", "macvlan").CombinedOutput()
	if err != nil {
		return fmt.Errorf("asking for the interfaces of %s: %w: %s", node, err, out)
	}
	for line := range strings.Lines(string(out)) { // 7: mv0@eth0: <...
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "@")
		if out, err := lab.Exec(node, "ip", "link", "del", name).CombinedOutput(); err != nil {
			return fmt.Errorf("taking interface %s from %s: %w: %s", name, node, err, out)
		}
	}
	return nil
}

// forgetFlows makes a node forget the flows from an address, which is a line of ip: an
// index, an interface, inet or inet6, an address with the length of its prefix.
func forgetFlows(lab Lab, node string, line []string) error {
	if len(line) < 4 {
		return nil
	}
	family, addr := "ipv4", strings.Split(line[3], "/")[0]
	if line[2] == "inet6" {
		family = "ipv6"
	}
	for {
		cmd := lab.Exec(node, "conntrack", "-D", "-f", family, "-s", addr)
		var said strings.Builder
		cmd.Stderr = &said
		err := cmd.Run()
		switch {
		case err == nil || strings.Contains(said.String(), " 0 flow entries"): // it is no success to find none
			return nil
		case strings.Contains(said.String(), "such conntrack doesn't exist"): // one ended by itself meanwhile
			continue
		}
		return fmt.Errorf("forgetting the flows of %s on %s: %w: %s", addr, node, err, said.String())
	}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
