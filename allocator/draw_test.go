package allocator_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

// This file draws random clusters and histories. A history is values only, so
// that it can be replayed with any planner.

// A step of a history happens to a world. Its text is for failures.
type step struct {
	text string
	do   func(w *world)
}

func (s step) String() string { return s.text }

var (
	serviceNames = []ServiceName{{"n0", "s0"}, {"n0", "s1"}, {"n1", "s2"}, {"n0", "s3"}, {"n1", "s4"}, {"n0", "s5"}}
	poolNames    = []string{"p0", "p1", "p2", "p3"}
	nodeNames    = []string{"m0", "m1", "m2", "m3"}
	allPorts     = []Port{{"TCP", 80}, {"TCP", 443}, {"UDP", 53}, {"UDP", 443}}
)

func pick[T any](t *rapid.T, what string, from ...T) T { return rapid.SampledFrom(from).Draw(t, what) }

// often is true n times in ten.
func often(t *rapid.T, n int, what string) bool { return rapid.IntRange(1, 10).Draw(t, what) <= n }

func drawAddress(t *rapid.T, f Family) string {
	i := rapid.IntRange(0, 13).Draw(t, "address")
	if f == IPv4 {
		return netip.AddrFrom4([4]byte{10, 0, byte((250 + i) / 256), byte(250 + i)}).String()
	}
	return fmt.Sprintf("fd00::%x", i)
}

// drawRange draws an entry of a pool: pools have places of their own, three
// addresses wide, and seldom reach into another's.
func drawRange(t *rapid.T, pool int) string {
	from := 3 * pool
	size := rapid.IntRange(1, 3).Draw(t, "size")
	if often(t, 1, "elsewhere") {
		from = rapid.IntRange(0, 10).Draw(t, "from")
	}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return pick(t, "odd", "10.0.0.252/31", "fd00::4/126", "nonsense", "10.0.1.3-10.0.1.1", "10.0.0.1-fd00::1")
	case 1, 2, 3:
		return fmt.Sprintf("fd00::%x-fd00::%x", from, from+size-1)
	}
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte((250 + i) / 256), byte(250 + i)}) }
	return v4(from).String() + "-" + v4(from+size-1).String()
}

func drawSelectors(t *rapid.T, key string, values ...string) (out []Selector) {
	switch rapid.IntRange(0, 3).Draw(t, "selector") {
	case 0:
		out = []Selector{{{Key: key, Operator: NotIn, Values: []string{values[0]}}}}
	case 1:
		out = []Selector{{{Key: key, Operator: In, Values: []string{pick(t, "value", values...)}}}}
	}
	return out
}

func drawPool(t *rapid.T) Pool {
	i := rapid.IntRange(0, len(poolNames)-1).Draw(t, "pool")
	p := Pool{
		Name: poolNames[i], Created: noon.Add(time.Duration(i) * time.Minute), AutoAssign: often(t, 8, "auto"),
		AvoidBuggyIPs: often(t, 2, "buggy"), Labels: map[string]string{"zone": pick(t, "zone", "a", "b")},
		AcrossNamespaces: often(t, 5, "across"),
	}
	if often(t, 2, "quota") {
		p.MaxPerNamespace = rapid.IntRange(1, 2).Draw(t, "most")
	}
	for range rapid.IntRange(1, 2).Draw(t, "entries") {
		p.Addresses = append(p.Addresses, drawRange(t, i))
	}
	if often(t, 3, "allocation") {
		p.Allocation = &Allocation{
			Priority:           rapid.IntRange(0, 2).Draw(t, "priority"),
			NamespaceSelectors: drawSelectors(t, "team", "x", "y"),
			ServiceSelectors:   drawSelectors(t, "tier", "x", "y"),
		}
		if often(t, 3, "named") {
			p.Allocation.Namespaces = []string{pick(t, "namespace", "n0", "n1")}
		}
	}
	return p
}

// drawSpec draws what a user may write into one field of a Service.
func drawSpec(t *rapid.T) (string, func(*Service)) {
	annotate := func(name, value string) (string, func(*Service)) {
		prefix := pick(t, "prefix", PrefixMetalLB, PrefixMetalLB, PrefixMetalLBOld)
		return prefix + name + "=" + value, func(v *Service) {
			v.Annotations = maps2(v.Annotations, prefix+name, value)
		}
	}
	switch rapid.IntRange(0, 11).Draw(t, "field") {
	case 0, 1, 2:
		return annotate(AnnotationShare, pick(t, "key", "", "k", "k", "k", "l", "l", " "))
	case 3, 4:
		ports := rapid.SliceOfNDistinct(rapid.SampledFrom(allPorts), 1, 2, rapid.ID[Port]).Draw(t, "ports")
		return fmt.Sprint("ports ", ports), func(v *Service) { v.Ports = ports }
	case 5, 6:
		local, selector := rapid.Bool().Draw(t, "local"), pick(t, "selector", "app=a", "app=a", "app=b", "")
		return fmt.Sprint("local ", local, " ", selector), func(v *Service) { v.Local, v.Selector = local, selector }
	case 7:
		list := drawAddress(t, pick(t, "family", IPv4, IPv4, IPv6))
		switch rapid.IntRange(0, 6).Draw(t, "form") {
		case 0:
			list += ", " + drawAddress(t, pick(t, "family", IPv4, IPv6))
		case 1:
			list = "x"
		case 2:
			return "loadBalancerIP=" + list, func(v *Service) { v.LoadBalancerIP = list }
		case 3:
			list = " "
		}
		return annotate(AnnotationAddresses, list)
	case 8:
		return annotate(AnnotationPool, pick(t, "pool", "p0", "p1", "p2", "p9", " "))
	case 9:
		return "no request", func(v *Service) {
			v.LoadBalancerIP = ""
			for _, name := range []string{AnnotationAddresses, AnnotationPool} {
				v.Annotations = maps2(maps2(v.Annotations, PrefixMetalLB+name, ""), PrefixMetalLBOld+name, "")
			}
		}
	case 10:
		tier := pick(t, "tier", "x", "y")
		return "tier=" + tier, func(v *Service) { v.Labels = map[string]string{"tier": tier} }
	}
	families := pick(t, "families", []Family{IPv4}, []Family{IPv4}, []Family{IPv6}, []Family{IPv4, IPv6}, []Family{IPv6, IPv4})
	policy := pick(t, "policy", PreferDualStack, SingleStack, RequireDualStack)
	if len(families) == 2 {
		policy = pick(t, "policy", PreferDualStack, RequireDualStack)
	}
	return fmt.Sprint("families ", families, policy), func(v *Service) { v.Families, v.FamilyPolicy = families, policy }
}

// maps2 is a copy with one entry changed; "" removes it.
func maps2(in map[string]string, key, value string) map[string]string {
	out := map[string]string{}
	for k, v := range in {
		out[k] = v
	}
	if out[key] = value; value == "" && !strings.HasSuffix(key, AnnotationShare) {
		delete(out, key)
	}
	return out
}

// drawEdit draws what a user may do to one Service.
func drawEdit(t *rapid.T) step {
	i := rapid.IntRange(0, len(serviceNames)-1).Draw(t, "service")
	name := serviceNames[i]
	n := rapid.IntRange(0, 39).Draw(t, "edit")
	if n < 3 {
		return step{fmt.Sprint("delete ", name), func(w *world) { w.change(DropService{name}) }}
	}
	if n < 6 {
		return drawMeddling(t, name)
	}
	text, set := drawSpec(t)
	port, foreign := allPorts[i%len(allPorts)], rapid.IntRange(0, 30).Draw(t, "foreign") == 7
	key := pick(t, "key", "", "k", "k")
	return step{fmt.Sprint("edit ", name, ": ", text), func(w *world) {
		v, ok := w.services[name]
		fresh := Service{
			Name: name, UID: fmt.Sprint(name, " of ", w.now.Sub(noon), " ", len(w.log)), Created: w.now, Foreign: foreign,
			Ports: []Port{port}, Families: []Family{IPv4}, Selector: "app=a",
			Annotations: map[string]string{PrefixMetalLB + AnnotationShare: key},
		}
		switch {
		case !ok || n == 6: // deleted and created again
			v = fresh
		case n == 7: // replaced: what was added to it is gone
			fresh.UID, fresh.Created, fresh.Foreign, fresh.Holds, fresh.Record = v.UID, v.Created, v.Foreign, v.Holds, v.Record
			v = fresh
		}
		set(&v)
		v.HealthPort = 0
		if v.Local {
			v.HealthPort = 30000 + uint16(i)
		}
		w.change(PutService{v})
	}}
}

// drawMeddling draws what nobody should do to a Service's status, and somebody does.
func drawMeddling(t *rapid.T, name ServiceName) step {
	kind := rapid.IntRange(0, 6).Draw(t, "meddling")
	extra := netip.MustParseAddr(drawAddress(t, pick(t, "family", IPv4, IPv4, IPv6)))
	return step{fmt.Sprint("meddle ", kind, " ", name, " ", extra), func(w *world) {
		v, ok := w.services[name]
		switch {
		case !ok:
			return
		case kind == 0:
			v.Holds = nil
		case kind == 1:
			v.Record = Record{}
		case kind == 2 && !slices.Contains(v.Holds, extra):
			v.Holds = append(slices.Clone(v.Holds), extra)
		case kind == 3: // of another type for a moment: the API empties the status
			w.change(DropService{name})
			v.Holds = nil
		case kind == 4:
			v.Holds = []netip.Addr{extra}
		case kind == 5: // times of the future
			v.Record = shifted(v.Record, func(t time.Time) time.Time { return t.AddDate(70, 0, 0) })
		case kind == 6: // came before it was there
			v.Record.Pools = shifted(v.Record, func(t time.Time) time.Time { return noon.AddDate(-1, 0, 0) }).Pools
		}
		w.change(PutService{v})
	}}
}

// shifted is a record with other times.
func shifted(r Record, shift func(time.Time) time.Time) Record {
	r.Pools = slices.Clone(r.Pools)
	for i := range r.Pools {
		r.Pools[i].Since = shift(r.Pools[i].Since)
	}
	for _, timers := range []*[]Timer{&r.Settling, &r.Overlap, &r.Kept} {
		*timers = slices.Clone(*timers)
		for i := range *timers {
			(*timers)[i].Since = shift((*timers)[i].Since)
		}
	}
	return r
}
