package allocator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// This file knows which addresses are not free although no Service of ours sits on
// them, and how many of a pool a namespace may have.

// A usage is who uses addresses beside Services of ours.
type usage struct {
	by map[string]InUse
	at map[netip.Addr][]string // names of by, sorted
}

func newUsage() usage { return usage{map[string]InUse{}, map[netip.Addr][]string{}} }

func (c PutInUse) apply(s *Snapshot) {
	old, ok := s.used.by[c.By]
	if ok && old.Service == c.Service && slices.Equal(old.Addrs, c.Addrs) || !ok && len(c.Addrs) == 0 {
		return
	}
	delete(s.used.by, c.By)
	if len(c.Addrs) > 0 {
		s.used.by[c.By] = c.InUse
	}
	s.use(c.By, old.Addrs, c.Addrs)
}

func (c DropInUse) apply(s *Snapshot) { PutInUse{InUse{By: c.By}}.apply(s) }

// use makes the addresses that something uses others than they were.
func (s *Snapshot) use(by string, was, now []netip.Addr) {
	uses := make(map[netip.Addr]bool, len(was)+len(now)) // whether it still does
	for _, a := range was {
		uses[a] = false
	}
	for _, a := range now {
		uses[a] = true
	}
	for a, still := range uses {
		old := s.used.at[a]
		names := slices.DeleteFunc(slices.Clone(old), func(n string) bool { return n == by })
		if still {
			i, _ := slices.BinarySearch(names, by)
			names = slices.Insert(names, i, by)
		}
		if s.used.at[a] = names; len(names) == 0 {
			delete(s.used.at, a)
		}
		p, g := s.poolOf(a), s.groups[a]
		if p != nil && g == nil && (len(old) == 0) != (len(names) == 0) {
			if len(names) > 0 {
				p.count(a, 0, 1)
			} else {
				p.count(a, 0, -1)
				s.freed(p, a)
			}
		}
		if g != nil {
			g.all(func(v *service) bool { s.touch(v); return true })
		}
		s.stir(a)
	}
}

// taken tells whether an address is not to be given to somebody who does not name it.
func (s *Snapshot) taken(a netip.Addr) bool {
	return s.groups[a] != nil || len(s.used.at[a]) > 0
}

// inUse says what uses an address that v holds or is to hold; "": nothing does but
// Services of ours, and v itself.
func (s *Snapshot) inUse(v *service, a netip.Addr) string {
	return s.unfit(a, func(by ServiceName) bool { return by != v.Name })
}

// barsReturn says what keeps v from an address that is recorded for it: what another
// Service names in its spec.externalIPs does not, for anybody might write that.
func (s *Snapshot) barsReturn(a netip.Addr) string {
	return s.unfit(a, func(by ServiceName) bool { return by == ServiceName{} })
}

// unfit says what uses an address, of those that count by the Service that names it, or
// why no host can; "": nothing does, and one can.
func (s *Snapshot) unfit(a netip.Addr, counts func(ServiceName) bool) string {
	for _, by := range s.used.at[a] {
		if counts(s.used.by[by].Service) {
			return "it is used by " + by
		}
	}
	if as := uselessAs(a); as != "" {
		return "no host can use it; it is of " + as
	}
	return ""
}

// useless are the addresses that no host can use as its own, ascending.
var useless = []struct {
	netip.Prefix
	are string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "0.0.0.0/8, which stands for the sender's own network (RFC 1122)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "the loopback addresses"},
	{netip.MustParsePrefix("169.254.0.0/16"), "the link-local addresses, which no router forwards (RFC 3927)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "the multicast addresses"},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
	{netip.MustParsePrefix("::/127"), "the unspecified address and the loopback address"},
	{netip.MustParsePrefix("fe80::/10"), "the link-local addresses, which no router forwards (RFC 4291)"},
	{netip.MustParsePrefix("ff00::/8"), "the multicast addresses"},
}

// uselessAs says as what no host can use an address; "": one can.
func uselessAs(a netip.Addr) string {
	for _, u := range useless {
		if u.Contains(a) {
			return u.are
		}
	}
	return ""
}

// hostsOf returns what of a span hosts can use.
func hostsOf(s span) (out []span) {
	for _, u := range useless {
		first, last := u.Addr(), LastOf(u.Prefix)
		if !s.overlaps(span{first, last}) {
			continue
		}
		if s.first.Less(first) {
			out = append(out, span{s.first, first.Prev()})
		}
		if !last.Less(s.last) {
			return out
		}
		s.first = last.Next()
	}
	return append(out, s)
}

// barred says which addresses of a pool are given to nobody; nil: none is.
func (s *Snapshot) barred(p *pool) error {
	var at []netip.Addr
	for a := range s.used.at {
		if s.poolOf(a) == p {
			at = append(at, a)
		}
	}
	slices.SortFunc(at, netip.Addr.Compare)
	var texts []string
	for i, a := range at {
		if i == 3 {
			texts = append(texts, fmt.Sprintf("and %d more", len(at)-i))
			break
		}
		texts = append(texts, fmt.Sprintf("%s is used by %s", a, s.used.at[a][0]))
	}
	var problems []error
	if len(texts) > 0 {
		problems = append(problems, fmt.Errorf("spec.addresses: no Service is given an address that something else uses: %s; take these out of the pool", strings.Join(texts, ", ")))
	}
	for _, sp := range p.spans {
		for _, u := range useless {
			if sp.overlaps(span{u.Addr(), LastOf(u.Prefix)}) {
				problems = append(problems, fmt.Errorf("spec.addresses: no Service is given what %s has of %s: no host can use these", sp, u.are))
			}
		}
	}
	return errors.Join(problems...)
}

// A tenant is where the Services of a namespace sit: how many of them on each address,
// and on how many addresses of each pool. It is kept only while a pool has a limit.
type tenant struct {
	sits  map[netip.Addr]int
	pools map[string]int
}

// tenant counts one more, or one less, of a namespace who sits on an address.
func (s *Snapshot) tenant(namespace string, a netip.Addr, by int) {
	if !s.limited {
		return
	}
	t, ok := s.tenants[namespace]
	if !ok {
		t = tenant{map[netip.Addr]int{}, map[string]int{}}
		s.tenants[namespace] = t
	}
	n := t.sits[a] + by
	if t.sits[a] = n; n == 0 {
		delete(t.sits, a)
	}
	p := s.poolOf(a)
	if p == nil {
		return
	}
	switch {
	case n == 0:
		t.pools[p.Name]--
	case n == 1 && by > 0:
		t.pools[p.Name]++
	default:
		return
	}
	if n == 0 || !s.agenda.deciding {
		for v := range s.agenda.waits[waited{pool: p.Name, namespace: namespace}] {
			s.touch(v)
		}
	}
}

// recountTenants counts anew, after the pools have changed.
func (s *Snapshot) recountTenants() {
	clear(s.tenants)
	s.limited = slices.ContainsFunc(s.pools, func(p *pool) bool { return p.MaxPerNamespace > 0 })
	for a, g := range s.groups {
		g.all(func(v *service) bool {
			s.tenant(v.Name.Namespace, a, +1)
			return true
		})
	}
}

// overQuota tells whether v's namespace sits, once it has so many more, on as many
// addresses of the pool as it may, and not on a; if that is not valid, on no free one.
func (s *Snapshot) overQuota(v *service, p *pool, a netip.Addr, more int) bool {
	if p.MaxPerNamespace <= 0 {
		return false
	}
	t := s.tenants[v.Name.Namespace]
	return t.pools[p.Name]+more >= p.MaxPerNamespace && t.sits[a] == 0
}

// newTo counts the addresses of a pool on which nobody of v's namespace sits, of those
// that are found for v.
func (s *Snapshot) newTo(v *service, p *pool, found [2]netip.Addr) (n int) {
	if p == nil || p.MaxPerNamespace <= 0 {
		return 0
	}
	for _, a := range found {
		if a.IsValid() && s.poolOf(a) == p && s.tenants[v.Name.Namespace].sits[a] == 0 {
			n++
		}
	}
	return n
}

// quotaText says why v's namespace may not have so many new addresses of a pool.
func (s *Snapshot) quotaText(v *service, p *pool, wanted int) string {
	if have := s.tenants[v.Name.Namespace].pools[p.Name]; have < p.MaxPerNamespace {
		return fmt.Sprintf("Services of namespace %s have %d addresses of pool %s, this one needs %d of it, and one namespace may have %d (annotation %s of the pool)",
			v.Name.Namespace, have, p.Name, wanted, p.MaxPerNamespace, AnnotationQuota)
	}
	return fmt.Sprintf("Services of namespace %s have %d addresses of pool %s already, which is as many as one namespace may have (annotation %s of the pool)",
		v.Name.Namespace, p.MaxPerNamespace, p.Name, AnnotationQuota)
}
