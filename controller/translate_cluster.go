package controller

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"holdfast.dev/holdfast/allocator"
)

// nodeFact translates a Node. With ignoreExclude the label that takes a node
// out of external load balancing is not looked at.
func nodeFact(in *corev1.Node, ignoreExclude bool) allocator.Node {
	out := allocator.Node{Name: in.Name, Labels: in.Labels}
	if !ignoreExclude {
		_, out.Excluded = in.Labels[allocator.LabelExclude]
	}
	for _, a := range in.Status.Addresses { // a hostname may be an address, too
		addrs := addressesOf([]string{a.Address})
		out.InUse = append(out.InUse, addrs...)
		if a.Type == corev1.NodeInternalIP {
			out.Addresses = append(out.Addresses, addrs...)
		}
	}
	slices.SortFunc(out.InUse, netip.Addr.Compare)
	out.InUse = slices.Compact(out.InUse)
	for _, c := range in.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable {
			out.Unreachable = c.Status == corev1.ConditionTrue
		}
	}
	return out
}

// endpointsFact counts the usable endpoints of a slice; false when the slice is
// of no Service. An endpoint is ready unless it says otherwise, and one that is
// not may still be serving while its pod ends.
func endpointsFact(in *discoveryv1.EndpointSlice) (allocator.Endpoints, bool) {
	of := in.Labels[discoveryv1.LabelServiceName]
	if of == "" {
		return allocator.Endpoints{}, false
	}
	out := allocator.Endpoints{Service: allocator.ServiceName{Namespace: in.Namespace, Name: of}, Slice: in.Name}
	for i := range in.Endpoints {
		e := &in.Endpoints[i]
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		serving := e.Conditions.Serving != nil && *e.Conditions.Serving
		if !ready && !serving || len(e.Addresses) == 0 {
			continue
		}
		node := ""
		if e.NodeName != nil {
			node = *e.NodeName
		}
		at := slices.IndexFunc(out.Nodes, func(n allocator.NodeEndpoints) bool { return n.Node == node })
		if at < 0 {
			at = len(out.Nodes)
			out.Nodes = append(out.Nodes, allocator.NodeEndpoints{Node: node})
		}
		if ready {
			out.Nodes[at].Ready++
		} else {
			out.Nodes[at].Terminating++
		}
	}
	slices.SortFunc(out.Nodes, func(a, b allocator.NodeEndpoints) int { return cmp.Compare(a.Node, b.Node) })
	return out, true
}

// namespaceFact translates a Namespace.
func namespaceFact(in *corev1.Namespace) allocator.Namespace {
	return allocator.Namespace{Name: in.Name, Labels: in.Labels}
}
