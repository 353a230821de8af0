package controller

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

// trim removes from an object what nobody here reads, before it is kept
// anywhere. It changes the object, and trimming twice is trimming once.
func trim(in any) (any, error) {
	switch o := in.(type) {
	case *corev1.Service:
		writer := lastWriter(o.ManagedFields)
		trimMeta(&o.ObjectMeta)
		o.Annotations = keep(o.Annotations, readAnnotations...)
		if o.Spec.Type != corev1.ServiceTypeLoadBalancer {
			o.Labels, o.Spec = nil, corev1.ServiceSpec{Type: o.Spec.Type, ExternalIPs: o.Spec.ExternalIPs}
		} else {
			o.ManagedFields = writer
		}
	case *corev1.Node:
		trimMeta(&o.ObjectMeta)
		o.Annotations, o.Spec = nil, corev1.NodeSpec{}
		o.Status = corev1.NodeStatus{Addresses: o.Status.Addresses, Conditions: o.Status.Conditions}
	case *corev1.Namespace:
		trimMeta(&o.ObjectMeta)
		o.Annotations, o.Spec, o.Status = nil, corev1.NamespaceSpec{}, corev1.NamespaceStatus{}
	case *corev1.Secret:
		trimMeta(&o.ObjectMeta)
		o.Annotations, o.Labels = nil, nil
		data := map[string][]byte{}
		for _, entry := range []string{keyEntry, corev1.BasicAuthPasswordKey} {
			if v, ok := o.Data[entry]; ok {
				data[entry] = v
			}
		}
		o.Data = data
	case *v1beta1.IPAddressPool:
		trimMeta(&o.ObjectMeta)
		o.Annotations = keep(o.Annotations, allocator.AnnotationAcross, allocator.AnnotationQuota)
	case *v1beta1.L2Advertisement:
		trimMeta(&o.ObjectMeta)
		o.Annotations = nil
	case *v1beta2.BGPPeer:
		trimMeta(&o.ObjectMeta)
		o.Annotations = keep(o.Annotations, peering.AnnotationTTLSecurity)
	case *v1beta1.BGPAdvertisement:
		trimMeta(&o.ObjectMeta)
		o.Annotations = keep(o.Annotations, peering.AnnotationWeighted)
	case *v1beta1.BFDProfile:
		trimMeta(&o.ObjectMeta)
		o.Annotations = nil
	case *v1beta1.Community:
		trimMeta(&o.ObjectMeta)
		o.Annotations = nil
	default:
		return nil, fmt.Errorf("trimming an object of type %T, which nobody asked for", in)
	}
	return in, nil
}

func trimMeta(m *metav1.ObjectMeta) {
	m.ManagedFields, m.OwnerReferences, m.Finalizers = nil, nil, nil
	m.GenerateName = ""
}

var readAnnotations = []string{
	allocator.PrefixMetalLB + allocator.AnnotationAddresses, allocator.PrefixMetalLBOld + allocator.AnnotationAddresses,
	allocator.PrefixMetalLB + allocator.AnnotationPool, allocator.PrefixMetalLBOld + allocator.AnnotationPool,
	allocator.PrefixMetalLB + allocator.AnnotationShare, allocator.PrefixMetalLBOld + allocator.AnnotationShare,
	fromPoolAnnotation, fromPoolAnnotationOld, oldRecordAnnotation, allocator.AnnotationAnnounceAs,
}

// keep returns the named entries of a map.
func keep(in map[string]string, names ...string) map[string]string {
	var out map[string]string
	for _, n := range names {
		if v, ok := in[n]; ok {
			if out == nil {
				out = make(map[string]string, len(names))
			}
			out[n] = v
		}
	}
	return out
}
