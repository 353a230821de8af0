package allocator_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

// The words of scripts. A key without a value takes the value away; what a
// "service" line does not name stays as it was.
//
//	pool NAME RANGE… [auto=no] [buggy=avoid] [label=K:V] [priority=N]
//	     [namespaces=A,B] [namespace-label=K:V] [service-label=K:V] [created=N]
//	     [across=yes] [max-per-namespace=N]
//	service NAME [ports=TCP/80,UDP/53] [share=K] [address=A,B] [pool=P] [spec-ip=A]
//	     [old:share=K …] [families=IPv4,IPv6] [policy=prefer|require|single]
//	     [local=yes] [announce=Local] [selector=S] [label=K:V] [class=other] [holds=A,B] [uid=U]
//	     [blank=address,pool,share,announce] [record=none|future|past]
//	namespace NAME [K:V]    node NAME [K:V] [excluded] [unreachable] [in-use=A,B]
//	uses A,B by WHO         (by a Service's externalIPs, if WHO is NAMESPACE/NAME)
//	advertisement NAME [pools=P] [pool-label=K:V] [node-label=K:V]
//	     [service-label=K:V] [interfaces=A,B] [prefer=K:V*WEIGHT]
//	bgp NAME [pools=P] [node-label=K:V] [service-label=K:V] [length=N] [length6=N]
//	     [peers=A,B] [pref=N] [weighted=yes] [created=N]
//	endpoints SERVICE [NODE=READY] [NODE=TERMINATINGt]
//	drop KIND NAME      settings settle=30s|never overlap=30s [across=yes]
//	accept      (pools that are accepted say so)      new leader
func (s *script) command(f []string) error {
	args := map[string]string{}
	var plain []string
	for _, a := range f[1:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			args[k] = v
		} else {
			plain = append(plain, a)
		}
	}
	name := ""
	if len(plain) > 0 {
		name = plain[0]
	}
	switch f[0] {
	case "pool":
		s.change(PutPool{poolOf(name, plain[1:], args)})
	case "service":
		return s.service(serviceName(name), args)
	case "namespace":
		s.change(PutNamespace{Namespace{name, labels(strings.Join(plain[1:], ""))}})
	case "node":
		n := Node{Name: name, Labels: map[string]string{}, InUse: addresses(args["in-use"])}
		for _, word := range plain[1:] {
			switch word {
			case "excluded":
				n.Excluded = true
			case "unreachable":
				n.Unreachable = true
			default:
				n.Labels = labels(word)
			}
		}
		s.change(PutNode{n})
	case "advertisement":
		s.change(PutAdvertisement{advertisementOf(name, args)})
	case "bgp":
		s.change(PutBGPAdvertisement{routeOf(name, args)})
	case "endpoints":
		e := Endpoints{Service: serviceName(name), Slice: "e"}
		for node, count := range args {
			n, err := strconv.Atoi(strings.TrimSuffix(count, "t"))
			if err != nil {
				return err
			}
			at := NodeEndpoints{Node: node, Ready: n}
			if strings.HasSuffix(count, "t") {
				at = NodeEndpoints{Node: node, Terminating: n}
			}
			e.Nodes = append(e.Nodes, at)
		}
		s.change(PutEndpoints{e})
	case "uses":
		s.change(PutInUse{useOf(plain[2], addresses(name))})
	case "drop":
		return s.drop(name, plain[1])
	case "settings":
		set := Settings{Settle: Never, AcrossNamespaces: args["across"] == "yes", LedSince: s.settings.LedSince}
		set.Settle, _ = time.ParseDuration(args["settle"])
		if args["settle"] == "never" {
			set.Settle = Never
		}
		set.Overlap, _ = time.ParseDuration(args["overlap"])
		s.change(PutSettings{set})
	case "accept":
		s.accept()
	case "new":
		s.newLeader()
	default:
		return fmt.Errorf("no such word: %s", f[0])
	}
	return nil
}

func (s *script) drop(kind, name string) error {
	switch kind {
	case "pool":
		s.change(DropPool{name})
	case "service":
		s.change(DropService{serviceName(name)})
	case "namespace":
		s.change(DropNamespace{name})
	case "node":
		s.change(DropNode{name})
	case "advertisement":
		s.change(DropAdvertisement{name})
	case "bgp":
		s.change(DropBGPAdvertisement{name})
	case "use":
		s.change(DropInUse{name})
	case "endpoints":
		s.change(DropEndpoints{serviceName(name), "e"})
	default:
		return fmt.Errorf("no such kind: %s", kind)
	}
	return nil
}

func serviceName(text string) ServiceName {
	if ns, n, ok := strings.Cut(text, "/"); ok {
		return ServiceName{ns, n}
	}
	return ServiceName{"default", text}
}

func labels(text string) map[string]string {
	if k, v, ok := strings.Cut(text, ":"); ok {
		return map[string]string{k: v}
	}
	return nil
}

// selectors reads K:V.
func selectors(text string) []Selector {
	k, v, ok := strings.Cut(text, ":")
	if !ok {
		return nil
	}
	return []Selector{{{Key: k, Operator: In, Values: []string{v}}}}
}

func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func addresses(text string) (out []netip.Addr) {
	for _, a := range words(text) {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func useOf(who string, addrs []netip.Addr) InUse {
	use := InUse{By: who, Addrs: addrs}
	if strings.Contains(who, "/") {
		use.Service = serviceName(who)
	}
	return use
}

func poolOf(name string, ranges []string, args map[string]string) Pool {
	created, _ := strconv.Atoi(args["created"])
	most, _ := strconv.Atoi(args["max-per-namespace"])
	p := Pool{
		Name: name, Addresses: ranges, AutoAssign: args["auto"] != "no", AvoidBuggyIPs: args["buggy"] == "avoid",
		Labels: labels(args["label"]), Created: noon.Add(time.Duration(created) * time.Second),
		AcrossNamespaces: args["across"] == "yes", MaxPerNamespace: most,
	}
	a := Allocation{
		Namespaces: words(args["namespaces"]), NamespaceSelectors: selectors(args["namespace-label"]),
		ServiceSelectors: selectors(args["service-label"]),
	}
	a.Priority, _ = strconv.Atoi(args["priority"])
	if a.Priority > 0 || len(a.Namespaces)+len(a.NamespaceSelectors)+len(a.ServiceSelectors) > 0 {
		p.Allocation = &a
	}
	return p
}

func advertisementOf(name string, args map[string]string) Advertisement {
	ad := Advertisement{
		Name: name, Pools: words(args["pools"]), PoolSelectors: selectors(args["pool-label"]), Interfaces: words(args["interfaces"]),
		NodeSelectors: selectors(args["node-label"]), ServiceSelectors: selectors(args["service-label"]),
	}
	if label, weight, ok := strings.Cut(args["prefer"], "*"); ok {
		n, _ := strconv.Atoi(weight)
		ad.Preferences = []Preference{{n, selectors(label)[0]}}
	}
	return ad
}

func routeOf(name string, args map[string]string) BGPAdvertisement {
	number := func(key string, otherwise int) int {
		if n, err := strconv.Atoi(args[key]); err == nil {
			return n
		}
		return otherwise
	}
	return BGPAdvertisement{
		Name: name, Created: noon.Add(time.Duration(number("created", 0)) * time.Second), Pools: words(args["pools"]),
		NodeSelectors: selectors(args["node-label"]), ServiceSelectors: selectors(args["service-label"]), Peers: words(args["peers"]),
		Length4: number("length", 32), Length6: number("length6", 128),
		Attributes: Attributes{LocalPref: uint32(number("pref", 0)), Weighted: args["weighted"] == "yes"},
	}
}

func (s *script) service(n ServiceName, args map[string]string) error {
	v, ok := s.services[n]
	if !ok || args["uid"] != "" {
		s.created++
		v = Service{
			Name: n, UID: n.Name + args["uid"], Created: noon.Add(time.Duration(s.created)*time.Second - time.Hour), Families: []Family{IPv4},
			Ports: []Port{{"TCP", 80}}, Selector: "app=web", Annotations: map[string]string{},
		}
	}
	for key, value := range args {
		if err := set(&v, key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	v.HealthPort = 0
	if v.Local {
		v.HealthPort = 30000 + uint16(len(n.Name))
	}
	s.change(PutService{v})
	return nil
}

func set(v *Service, key, value string) error {
	prefix, name := PrefixMetalLB, key
	if after, old := strings.CutPrefix(key, "old:"); old {
		prefix, name = PrefixMetalLBOld, after
	}
	if a, ok := map[string]string{"share": AnnotationShare, "address": AnnotationAddresses, "pool": AnnotationPool}[name]; ok {
		v.Annotations = maps2(v.Annotations, prefix+a, value)
		return nil
	}
	switch key {
	case "uid":
	case "announce":
		v.Annotations = maps2(v.Annotations, AnnotationAnnounceAs, value)
	case "spec-ip":
		v.LoadBalancerIP = value
	case "local":
		v.Local = value == "yes"
	case "selector":
		v.Selector = value
	case "label":
		v.Labels = labels(value)
	case "class":
		v.Foreign = value != ""
	case "policy":
		v.FamilyPolicy = map[string]FamilyPolicy{"single": SingleStack, "prefer": PreferDualStack, "require": RequireDualStack}[value]
	case "families":
		v.Families = nil
		for _, f := range words(value) {
			v.Families = append(v.Families, map[string]Family{"IPv4": IPv4, "IPv6": IPv6}[f])
		}
	case "holds":
		v.Holds = addresses(value)
	case "blank":
		for _, key := range words(value) {
			name := map[string]string{
				"address": PrefixMetalLB + AnnotationAddresses, "pool": PrefixMetalLB + AnnotationPool,
				"share": PrefixMetalLB + AnnotationShare, "announce": AnnotationAnnounceAs,
			}[key]
			v.Annotations = maps2(v.Annotations, name, " \t")
		}
	case "record":
		switch value {
		case "none":
			v.Record = Record{}
		case "future":
			v.Record = shifted(v.Record, func(t time.Time) time.Time { return t.AddDate(70, 0, 0) })
		case "past":
			v.Record = shifted(v.Record, func(t time.Time) time.Time { return t.AddDate(-70, 0, 0) })
		}
	case "ports":
		v.Ports = nil
		for _, text := range words(value) {
			protocol, number, _ := strings.Cut(text, "/")
			n, err := strconv.ParseUint(number, 10, 16)
			if err != nil {
				return err
			}
			v.Ports = append(v.Ports, Port{protocol, uint16(n)})
		}
	default:
		return fmt.Errorf("no such key")
	}
	return nil
}
