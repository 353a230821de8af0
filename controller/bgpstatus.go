package controller

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// A Session is a BGP session of this node that is established.
type Session struct {
	Peer       string // name of the BGPPeer
	IPv4, IPv6 bool   // the families that it is for
}

// newBGPStatus keeps the ServiceBGPStatus objects. Each node speaks for itself: what a
// dead one said goes with its pod.
func newBGPStatus(c Config, client rest.Interface, stats *counters) *statuses[*v1beta1.ServiceBGPStatus] {
	s := newStatuses(c, statusKind[*v1beta1.ServiceBGPStatus]{
		title: "ServiceBGPStatus", resource: "servicebgpstatuses", prefix: prefixBGP,
		empty: func() *v1beta1.ServiceBGPStatus { return &v1beta1.ServiceBGPStatus{} },
		about: func(m metav1.ObjectMeta, node string, of name, peers []string) *v1beta1.ServiceBGPStatus {
			return &v1beta1.ServiceBGPStatus{ObjectMeta: m, Status: v1beta1.ServiceBGPStatusStatus{
				Node: node, ServiceName: of.Name, ServiceNamespace: of.Namespace, Peers: append([]string{}, peers...),
			}}
		},
		said: func(o *v1beta1.ServiceBGPStatus) (node string, peers []string) { return o.Status.Node, o.Status.Peers },
		body: func(o *v1beta1.ServiceBGPStatus) any {
			return map[string]any{
				"node": o.Status.Node, "serviceName": o.Status.ServiceName, "serviceNamespace": o.Status.ServiceNamespace, "peers": o.Status.Peers,
			}
		},
		list: func(r rest.Result) (out []*v1beta1.ServiceBGPStatus, err error) {
			var all v1beta1.ServiceBGPStatusList
			err = r.Into(&all)
			for i := range all.Items {
				out = append(out, &all.Items[i])
			}
			return out, err
		},
	}, client, stats)
	if c.Advertised != nil {
		s.now = func(whole bool) (map[name]allocator.Report, map[string]bool) { return c.Advertised(whole), nil }
		s.sessions = c.Established
	}
	return s
}
