package controller

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// The annotation that tells users which pool an address came from. The one with
// the old prefix is never written, only removed.
const (
	fromPoolAnnotation    = allocator.PrefixMetalLB + allocator.AnnotationFromPool
	fromPoolAnnotationOld = allocator.PrefixMetalLBOld + allocator.AnnotationFromPool
)

// Conditions that this project writes on a Service.
const (
	conditionHeld      = "holdfast.dev/AddressHeld"
	conditionAnnounced = "holdfast.dev/Announced"
)

// A service is what is believed of one Service that matters: it is of type
// LoadBalancer, or it was and still carries marks of ours, or it has
// spec.externalIPs. Values are not changed once made.
type service struct {
	name    allocator.ServiceName
	uid     string
	version string // metadata.resourceVersion

	fact *allocator.Service // nil when the Service is not of type LoadBalancer

	externalIPs []netip.Addr // of a Service of any type

	// What is published beside the fact.
	odd         bool               // status.loadBalancer.ingress says more than the addresses
	conditions  []metav1.Condition // all but the record, others' too
	recorded    bool               // there is a record
	fromPool    string
	fromPoolOld bool
	oldRecord   bool   // the annotation of an earlier version is there
	writer      string // who wrote the status last, as writerOf names it
}

// ours tells whether addresses of the Service are for us to decide.
func (s *service) ours() bool { return s != nil && s.fact != nil && !s.fact.Foreign }

// serviceOf reads a Service; nil when it does not matter to us.
func serviceOf(in *corev1.Service, class string) *service {
	out := &service{
		name:        allocator.ServiceName{Namespace: in.Namespace, Name: in.Name},
		uid:         string(in.UID),
		version:     in.ResourceVersion,
		odd:         odd(in.Status.LoadBalancer.Ingress),
		recorded:    conditionOf(in.Status.Conditions, conditionRecord) != nil,
		fromPool:    in.Annotations[fromPoolAnnotation],
		externalIPs: addressesOf(in.Spec.ExternalIPs),
		writer:      writerOf(in.ManagedFields),
	}
	out.conditions = slices.DeleteFunc(slices.Clone(in.Status.Conditions), func(c metav1.Condition) bool { return c.Type == conditionRecord })
	_, out.fromPoolOld = in.Annotations[fromPoolAnnotationOld]
	_, out.oldRecord = in.Annotations[oldRecordAnnotation]
	if in.Spec.Type != corev1.ServiceTypeLoadBalancer {
		if !out.recorded && !out.oldRecord && len(out.externalIPs) == 0 && conditionOf(out.conditions, conditionHeld) == nil && conditionOf(out.conditions, conditionAnnounced) == nil {
			return nil
		}
		return out
	}
	out.fact = serviceFact(in, class)
	if out.fact.Foreign && len(out.fact.Holds)+len(out.externalIPs) == 0 {
		return nil
	}
	return out
}

// odd tells whether entries of status.loadBalancer.ingress are others than we write:
// one a plain address, each once.
func odd(ingress []corev1.LoadBalancerIngress) bool {
	seen := map[netip.Addr]bool{}
	for _, i := range ingress {
		a, err := netip.ParseAddr(i.IP)
		if err != nil || seen[a] || i.Hostname != "" || len(i.Ports) > 0 || i.IPMode != nil && *i.IPMode != corev1.LoadBalancerIPModeVIP {
			return true
		}
		seen[a] = true
	}
	return false
}

// serviceFact translates a Service of type LoadBalancer.
func serviceFact(in *corev1.Service, class string) *allocator.Service {
	out := &allocator.Service{
		Name:           allocator.ServiceName{Namespace: in.Namespace, Name: in.Name},
		UID:            string(in.UID),
		Created:        in.CreationTimestamp.UTC(),
		Foreign:        foreign(in.Spec.LoadBalancerClass, class),
		Labels:         in.Labels,
		Annotations:    requests(in.Annotations),
		LoadBalancerIP: strings.TrimSpace(in.Spec.LoadBalancerIP),
		FamilyPolicy:   familyPolicy(in.Spec.IPFamilyPolicy),
		Families:       families(&in.Spec),
		Local:          in.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Selector:       canonical(in.Spec.Selector),
	}
	if out.Local {
		out.HealthPort = uint16(in.Spec.HealthCheckNodePort)
	}
	for _, p := range in.Spec.Ports {
		protocol := string(p.Protocol)
		if protocol == "" {
			protocol = string(corev1.ProtocolTCP)
		}
		out.Ports = append(out.Ports, allocator.Port{Protocol: protocol, Number: uint16(p.Port)})
	}
	for _, i := range in.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(i.IP); err == nil && !slices.Contains(out.Holds, a.Unmap()) {
			out.Holds = append(out.Holds, a.Unmap())
		}
	}
	if out.Record = recordIn(in.Status.Conditions); out.Record.IsZero() && out.Record.Written.IsZero() {
		out.Record = oldRecord(in.Annotations[oldRecordAnnotation], out.Holds)
	}
	return out
}

// foreign tells whether a Service with this spec.loadBalancerClass is for
// another load balancer. With an empty class of ours, Services without a class
// are ours; else only those with our class are.
func foreign(of *string, ours string) bool {
	if of == nil {
		return ours != ""
	}
	return *of != ours
}

// requests returns the annotations that say what the user wants.
func requests(in map[string]string) map[string]string {
	var out map[string]string
	for _, prefix := range []string{allocator.PrefixMetalLB, allocator.PrefixMetalLBOld} {
		for _, name := range []string{allocator.AnnotationAddresses, allocator.AnnotationPool, allocator.AnnotationShare} {
			if v, ok := in[prefix+name]; ok {
				if out == nil {
					out = map[string]string{}
				}
				out[prefix+name] = v
			}
		}
	}
	if v, ok := in[allocator.AnnotationAnnounceAs]; ok {
		if out == nil {
			out = map[string]string{}
		}
		out[allocator.AnnotationAnnounceAs] = v
	}
	return out
}

func familyPolicy(in *corev1.IPFamilyPolicy) allocator.FamilyPolicy {
	switch {
	case in == nil:
		return allocator.SingleStack
	case *in == corev1.IPFamilyPolicyPreferDualStack:
		return allocator.PreferDualStack
	case *in == corev1.IPFamilyPolicyRequireDualStack:
		return allocator.RequireDualStack
	}
	return allocator.SingleStack
}

// families returns the families of the cluster IPs, the primary one first.
func families(spec *corev1.ServiceSpec) (out []allocator.Family) {
	ips := spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{spec.ClusterIP}
	}
	for _, ip := range ips {
		if a, err := netip.ParseAddr(ip); err == nil {
			out = append(out, allocator.FamilyOf(a.Unmap()))
		}
	}
	return out
}

// canonical writes a set of labels in one way only.
func canonical(labels map[string]string) string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + labels[k])
	}
	return b.String()
}
