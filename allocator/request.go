package allocator

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A request is what a Service asks for by annotations and spec.
type request struct {
	addrs [2]netip.Addr // IPv4, IPv6; invalid where none is named
	pool  string        // "" when any will do
	share string        // sharing key, "" for none; a digest of one that is long
	err   error         // malformed or contradictory: nothing new is given until it is mended
}

// annotation returns the value of one of MetalLB's annotations, without white space
// around it, and the name under which the Service carries it. A blank one says nothing.
func (s *Service) annotation(name string) (value, as string) {
	for _, as := range []string{PrefixMetalLB + name, PrefixMetalLBOld + name} {
		if value, there := s.Annotations[as]; there {
			return strings.TrimSpace(value), as
		}
	}
	return "", PrefixMetalLB + name
}

func parseRequest(s *Service) (r request) {
	r.share, _ = s.annotation(AnnotationShare)
	r.share = digest(r.share)
	r.pool, _ = s.annotation(AnnotationPool)
	list, source := s.annotation(AnnotationAddresses)
	source = "annotation " + source
	only := strings.TrimSpace(s.LoadBalancerIP)
	switch {
	case list != "" && only != "":
		r.err = fmt.Errorf("%s and spec.loadBalancerIP are both set: remove one", source)
		return r
	case only != "":
		list, source = only, "spec.loadBalancerIP"
	case list == "":
		return r
	}
	for _, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			r.err = fmt.Errorf("%s: %q is not an IP address", source, excerpt(text))
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

// The longest sharing key that is kept as it is, and the longest excerpt of what a
// user wrote, in bytes: what others must read, or store, is bounded.
const (
	longestKey     = 63
	longestExcerpt = 60
)

// digest returns a sharing key, or, for a long one, what stands for it.
func digest(key string) string {
	if len(key) <= longestKey {
		return key
	}
	return fmt.Sprintf("sha256:%.20x", sha256.Sum256([]byte(key)))
}

// excerpt returns the beginning of a text.
func excerpt(text string) string {
	if len(text) <= longestExcerpt {
		return text
	}
	return strings.ToValidUTF8(text[:longestExcerpt], "") + "…"
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
