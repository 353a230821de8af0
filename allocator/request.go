package allocator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A request is what a Service asks for by annotations and spec.
type request struct {
	addrs [2]netip.Addr // IPv4, IPv6; invalid where none is named
	pool  string        // "" when any will do
	share string        // sharing key, "" for none
	err   error         // malformed or contradictory: nothing new is given until it is mended
}

// annotation returns the value of one of MetalLB's annotations.
func (s *Service) annotation(name string) (string, bool) {
	if v, ok := s.Annotations[PrefixMetalLB+name]; ok {
		return v, true
	}
	v, ok := s.Annotations[PrefixMetalLBOld+name]
	return v, ok
}

// annotationName returns the name under which the Service carries the annotation.
func (s *Service) annotationName(name string) string {
	if _, ok := s.Annotations[PrefixMetalLB+name]; ok {
		return PrefixMetalLB + name
	}
	return PrefixMetalLBOld + name
}

func parseRequest(s *Service) (r request) {
	r.share, _ = s.annotation(AnnotationShare)
	r.pool, _ = s.annotation(AnnotationPool)
	r.pool = strings.TrimSpace(r.pool)
	list, listed := s.annotation(AnnotationAddresses)
	source := "annotation " + s.annotationName(AnnotationAddresses)
	switch {
	case listed && s.LoadBalancerIP != "":
		r.err = fmt.Errorf("%s and spec.loadBalancerIP are both set: remove one", source)
		return r
	case s.LoadBalancerIP != "":
		list, listed, source = s.LoadBalancerIP, true, "spec.loadBalancerIP"
	case !listed:
		return r
	}
	for _, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			r.err = fmt.Errorf("%s: %q is not an IP address", source, text)
			return r
		}
		a = a.Unmap()
		at := slot(FamilyOf(a))
		if r.addrs[at].IsValid() {
			r.err = fmt.Errorf("%s names two %s addresses (%s, %s): name one of a family", source, FamilyOf(a), r.addrs[at], a)
			return r
		}
		if !slices.Contains(s.Families, FamilyOf(a)) && len(s.Families) > 0 {
			r.err = fmt.Errorf("%s names %s, but the Service has no %s cluster IP (spec.ipFamilies)", source, a, FamilyOf(a))
			return r
		}
		r.addrs[at] = a
	}
	return r
}

// slot is the index of a family in arrays of two.
func slot(f Family) int {
	if f == IPv4 {
		return 0
	}
	return 1
}

// named tells whether the request names this very address.
func (r request) named(a netip.Addr) bool { return r.err == nil && r.addrs[slot(FamilyOf(a))] == a }

// clash returns the ports that both Services claim.
func clash(a, b []Port) (both []Port) {
	for _, p := range a {
		if slices.Contains(b, p) {
			both = append(both, p)
		}
	}
	return both
}
