package controller

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// The names of objects begin so.
const (
	prefixLayer2 = "l2-"
	prefixBGP    = "bgp-"
)

// Announced is what a node answers for on its segments.
type Announced struct {
	// Services whose addresses it answers for, all or some, and the interfaces to
	// which advertisements limit that; without addresses: it does not any more.
	Services map[allocator.ServiceName]allocator.Report
	// InSight are the nodes that it can talk to, with itself; nil: as it was told last.
	InSight map[string]bool
}

// newL2Status keeps the ServiceL2Status objects. One node answers for an address: it
// removes what a dead one said.
func newL2Status(c Config, client rest.Interface, stats *counters) *statuses[*v1beta1.ServiceL2Status] {
	s := newStatuses(c, statusKind[*v1beta1.ServiceL2Status]{
		title: "ServiceL2Status", resource: "servicel2statuses", prefix: prefixLayer2,
		empty: func() *v1beta1.ServiceL2Status { return &v1beta1.ServiceL2Status{} },
		about: func(m metav1.ObjectMeta, node string, of name, interfaces []string) *v1beta1.ServiceL2Status {
			o := &v1beta1.ServiceL2Status{ObjectMeta: m, Status: v1beta1.ServiceL2StatusStatus{
				Node: node, ServiceName: of.Name, ServiceNamespace: of.Namespace, Interfaces: []v1beta1.InterfaceInfo{},
			}}
			for _, i := range interfaces {
				o.Status.Interfaces = append(o.Status.Interfaces, v1beta1.InterfaceInfo{Name: i})
			}
			return o
		},
		said: func(o *v1beta1.ServiceL2Status) (node string, interfaces []string) {
			for _, i := range o.Status.Interfaces {
				interfaces = append(interfaces, i.Name)
			}
			return o.Status.Node, interfaces
		},
		body: func(o *v1beta1.ServiceL2Status) any {
			return map[string]any{
				"node": o.Status.Node, "serviceName": o.Status.ServiceName, "serviceNamespace": o.Status.ServiceNamespace, "interfaces": o.Status.Interfaces,
			}
		},
		list: func(r rest.Result) (out []*v1beta1.ServiceL2Status, err error) {
			var all v1beta1.ServiceL2StatusList
			err = r.Into(&all)
			for i := range all.Items {
				out = append(out, &all.Items[i])
			}
			return out, err
		},
	}, client, stats)
	if c.Announced != nil {
		s.now = func(whole bool) (map[name]allocator.Report, map[string]bool) {
			a := c.Announced(whole)
			return a.Services, a.InSight
		}
	}
	return s
}
