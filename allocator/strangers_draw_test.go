package allocator_test

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

// This file draws what a stranger does, and the world in which he does it.

var (
	neighbours = []ServiceName{{"n0", "s0"}, {"n0", "s1"}, {"n0", "s2"}, {"n1", "s3"}, {"n1", "s4"}}
	his        = []ServiceName{{hostile, "x0"}, {hostile, "x1"}, {hostile, "x2"}}
	someNodes  = []string{"m0", "m1", "m2"}
	morePorts  = append(slices.Clone(allPorts), Port{"TCP", 1001}, Port{"TCP", 1002})
)

// drawTarget draws an address that others may hold.
func drawTarget(t *rapid.T) netip.Addr {
	if often(t, 1, "elsewhere") {
		return netip.MustParseAddr(drawAddress(t, pick(t, "family", IPv4, IPv6)))
	}
	return netip.MustParseAddr(pick(t, "target", "10.0.0.250", "10.0.0.250", "10.0.0.251", "10.0.0.252", "fd00::"))
}

func drawPorts(t *rapid.T, most int) []Port {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(morePorts), 1, most, rapid.ID[Port]).Draw(t, "ports")
}

func drawKey(t *rapid.T) string { return pick(t, "key", "k", "k", "k", "l", "m", "", " ") }

func drawEndpoints(t *rapid.T, n ServiceName) step {
	e := Endpoints{Service: n, Slice: pick(t, "slice", "e0", "e0", "e1")}
	for range rapid.IntRange(0, 2).Draw(t, "endpoints") {
		e.Nodes = append(e.Nodes, NodeEndpoints{pick(t, "node", append(someNodes, "")...), rapid.IntRange(0, 2).Draw(t, "ready"), rapid.IntRange(0, 1).Draw(t, "terminating")})
	}
	return change(fmt.Sprintf("endpoints %+v", e), PutEndpoints{e})
}

// drawService draws a Service, new or written anew, or an edit of what is there, by
// the one whose it is. Its status and its record are not his to write.
func drawService(t *rapid.T, n ServiceName) step {
	kind := rapid.IntRange(0, 11).Draw(t, "kind")
	if kind == 0 {
		return step{fmt.Sprint("delete ", n), func(w *world) { w.change(DropService{n}) }}
	}
	key, ports, local, selector := drawKey(t), drawPorts(t, 2), often(t, 4, "local"), pick(t, "selector", "app=a", "app=b", "")
	address, named := drawTarget(t).String(), often(t, 5, "named")
	announce, tier := pick(t, "announce", "", "", "", "Local", "Remote", " "), pick(t, "tier", "x", "y")
	text, set := drawSpec(t)
	if kind < 6 {
		text = fmt.Sprint("key ", key, " ports ", ports, " local ", local, " ", selector, " address ", address, " ", named, " announce ", announce, " ", tier)
		set = func(v *Service) {
			v.Annotations = map[string]string{PrefixMetalLB + AnnotationShare: key, AnnotationAnnounceAs: announce}
			if named {
				v.Annotations[PrefixMetalLB+AnnotationAddresses] = address
			}
			v.LoadBalancerIP, v.Ports, v.Local, v.Selector, v.Labels = "", ports, local, selector, map[string]string{"tier": tier}
		}
	}
	switch kind {
	case 9, 10: // another address, or none
		text, set = fmt.Sprint("address ", address, " ", named), func(v *Service) {
			v.Annotations = maps2(v.Annotations, PrefixMetalLB+AnnotationAddresses, map[bool]string{true: address}[named])
		}
	case 6, 7: // the other half of what often goes together
		text, set = "key "+key, func(v *Service) { v.Annotations = maps2(v.Annotations, PrefixMetalLB+AnnotationShare, key) }
	case 8:
		text, set = fmt.Sprint("ports ", ports), func(v *Service) { v.Ports = ports }
	}
	return step{fmt.Sprint("write ", kind, " ", n, ": ", text), func(w *world) {
		v, ok := w.services[n]
		if !ok || kind == 1 {
			v = Service{
				Name: n, UID: fmt.Sprint(n, " ", w.now.Sub(noon), " ", len(w.log)), Created: w.now, Families: []Family{IPv4},
				Ports: ports, Selector: "app=a", Annotations: map[string]string{PrefixMetalLB + AnnotationShare: key},
			}
		}
		set(&v)
		v.HealthPort = 0
		if v.Local {
			v.HealthPort = 30000 + uint16(n.Name[1])
		}
		w.change(PutService{v})
	}}
}

// drawExternal draws spec.externalIPs of a Service.
func drawExternal(t *rapid.T, n ServiceName) step {
	use := InUse{By: "externalIPs of " + n.String(), Service: n, Addrs: []netip.Addr{drawTarget(t), drawTarget(t)}}
	if often(t, 3, "none") {
		return change("no "+use.By, DropInUse{use.By})
	}
	return change(fmt.Sprint(use.By, ": ", use.Addrs), PutInUse{use})
}

// drawHis draws what the stranger may write, mostly to one of his Services.
func drawHis(t *rapid.T, most ServiceName) step {
	n := pick(t, "his", append(slices.Clone(his), most, most, most)...)
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		return drawExternal(t, n)
	case 1, 2:
		return drawEndpoints(t, n)
	}
	return drawService(t, n)
}

// drawBetween draws what the leader and time do between two acts of a burst. It does
// the same to the Services of others, whatever the stranger's are.
func drawBetween(t *rapid.T) act {
	switch rapid.IntRange(0, 9).Draw(t, "between") {
	case 0:
		return act{step: step{"a new leader", (*world).newLeader}}
	case 1, 2:
		wait := pick(t, "wait", time.Millisecond, 5*time.Second, 30*time.Second, time.Minute)
		return act{step: step{fmt.Sprint("wait ", wait), func(w *world) { w.now = w.now.Add(wait) }}}
	case 3:
		half := byte(rapid.IntRange(0, 7).Draw(t, "half"))
		return act{step: step{fmt.Sprint("write some ", half), func(w *world) {
			for _, d := range w.pending() {
				h := fnv.New32()
				h.Write(append([]byte(d.Service.String()), half))
				if h.Sum32()%2 == 0 {
					w.write(d)
				}
			}
		}}}
	}
	return act{step: step{"write all", (*world).writePending}}
}

func (w *world) writePending() {
	for _, d := range w.pending() {
		w.write(d)
	}
}

func drawBurst(t *rapid.T) burst {
	most := pick(t, "most", his...)
	b := burst{{step: drawHis(t, most), his: true}}
	for range rapid.IntRange(0, 5).Draw(t, "more") {
		if often(t, 7, "between") {
			b = append(b, drawBetween(t))
		}
		next := act{step: drawHis(t, most), his: true}
		if often(t, 1, "gap") {
			next.pause = pick(t, "pause", time.Second, time.Hour)
		}
		b = append(b, next)
	}
	if often(t, 7, "between") {
		b = append(b, drawBetween(t))
	}
	return b
}

// drawOrdinary draws what everybody else does.
func drawOrdinary(t *rapid.T) step {
	n := pick(t, "service", neighbours...)
	switch rapid.IntRange(0, 11).Draw(t, "who") {
	case 0:
		return drawEndpoints(t, n)
	case 1:
		return drawExternal(t, n)
	case 2:
		return drawMeddling(t, n)
	case 3:
		return drawPoolEdit(t)
	case 4:
		return drawPlaceEdit(t)
	case 5:
		return drawGap(t, drawOrdinary)
	case 6:
		return drawHis(t, his[0])
	case 7, 8:
		return drawService(t, n)
	}
	return drawBetween(t).step
}

// drawClash draws a port that one of the neighbours takes from another on its address:
// it must leave, and its seat is kept.
func drawClash(t *rapid.T) step {
	n, only := pick(t, "service", neighbours...), rapid.Bool().Draw(t, "only")
	return step{fmt.Sprint("clash of ", n), func(w *world) {
		v, j := w.services[n], w.judge()
		for _, a := range v.Holds {
			for _, r := range j.residents(a) {
				if ofStranger(r.Name) || r.Name == n {
					continue
				}
				if own := v.Ports; only {
					v.Ports = r.Ports
				} else {
					v.Ports = slices.Concat(own, r.Ports)
				}
				w.change(PutService{v})
				w.writeAll()
				return
			}
		}
	}}
}

// drawTown draws a cluster in which the neighbours and the stranger have Services:
// most of them on one address, in any order of arrival.
func drawTown(t *rapid.T) (steps []step) {
	add := func(what string, c Change) { steps = append(steps, change(what, c)) }
	for _, n := range []string{"n0", "n1", hostile} {
		add("namespace "+n, PutNamespace{Namespace{n, map[string]string{"team": "x"}}})
	}
	p := Pool{
		Name: "p0", Created: noon, Addresses: []string{"10.0.0.250-10.0.0.252", "fd00::0-fd00::1"}, AutoAssign: true,
		AcrossNamespaces: often(t, 7, "across"), MaxPerNamespace: pick(t, "most", 0, 0, 0, 1, 2),
	}
	add(fmt.Sprintf("pool %+v", p), PutPool{p})
	add("pool p1", PutPool{Pool{Name: "p1", Created: noon.Add(time.Minute), Addresses: []string{"10.0.0.253-10.0.0.255"}, AutoAssign: often(t, 7, "auto")}})
	add("advertisement", PutAdvertisement{Advertisement{Name: "a0"}})
	if often(t, 3, "more") {
		ad := drawAdvertisement(t)
		add(fmt.Sprintf("advertisement %+v", ad), PutAdvertisement{ad})
	}
	if often(t, 5, "BGP") {
		ad := drawBGPAdvertisement(t)
		add(fmt.Sprintf("BGP advertisement %+v", ad), PutBGPAdvertisement{ad})
	}
	for i, m := range someNodes {
		add("node "+m, PutNode{Node{Name: m, Labels: map[string]string{"rack": []string{"x", "x", "y"}[i]}}})
	}
	all := rapid.Permutation(slices.Concat(neighbours, his)).Draw(t, "order")
	for i, n := range all[:rapid.IntRange(2, len(all)).Draw(t, "services")] {
		v := Service{
			Name: n, UID: fmt.Sprint("u", i), Created: noon.Add(time.Duration(-rapid.IntRange(0, 3).Draw(t, "age")) * time.Second), Families: []Family{IPv4},
			Ports: []Port{pick(t, "port", morePorts...)}, Selector: pick(t, "selector", "app=a", "app=b"), Local: rapid.Bool().Draw(t, "local"),
			Annotations: map[string]string{PrefixMetalLB + AnnotationShare: pick(t, "key", "k", "k", "k", "l")},
		}
		if v.Local {
			v.HealthPort = 30000 + uint16(n.Name[1])
		}
		if often(t, 6, "named") {
			v.Annotations[PrefixMetalLB+AnnotationAddresses] = "10.0.0.250"
		}
		add(fmt.Sprintf("service %+v", v), PutService{v})
		steps = append(steps, drawEndpoints(t, n))
		if often(t, 8, "write") {
			steps = append(steps, step{"write all", (*world).writeAll}, step{"wait 1ms", func(w *world) { w.now = w.now.Add(time.Millisecond) }})
		}
	}
	return append(steps, step{"write all", (*world).writeAll})
}

// drawAfterwards draws what the others do after a burst, knowing the world before it:
// who waits for a seat takes back the ports that keep it off; a status is emptied; and
// where no stranger has been let in, ports are added that nobody else has there.
func drawAfterwards(t *rapid.T) func(bool) func(*world, burst) []step {
	n, port := pick(t, "whose", neighbours...), pick(t, "port", morePorts...)
	added := often(t, 5, "added")
	return func(emptied bool) func(*world, burst) []step { return afterwards(n, port, added && !emptied, emptied) }
}

func afterwards(n ServiceName, port Port, added, emptied bool) func(*world, burst) []step {
	return func(before *world, b burst) (steps []step) {
		j := before.judge()
		taken := func(v Service, p Port) bool { // on one of its addresses, by one of the others
			return slices.ContainsFunc(slices.Concat(v.Record.Pools), func(m PoolMark) bool {
				return slices.ContainsFunc(j.there(v, m.Addr, true), func(r Service) bool { return slices.Contains(r.Ports, p) })
			})
		}
		ports := func(v Service, ports []Port) {
			steps = append(steps, step{fmt.Sprint(v.Name, " has ports ", ports), func(w *world) {
				v := w.services[v.Name]
				v.Ports = ports
				w.change(PutService{v})
			}})
		}
		for _, v := range values(before.services) {
			if ofStranger(v.Name) || v.Foreign || len(v.Record.Kept) == 0 {
				continue
			}
			if free := slices.DeleteFunc(slices.Clone(v.Ports), func(p Port) bool { return taken(v, p) }); len(free) > 0 {
				ports(v, free)
			}
		}
		v, ok := before.services[n]
		if !ok || v.Foreign || len(v.Holds) == 0 || len(v.Record.Kept) > 0 {
			return steps
		}
		closed := !slices.ContainsFunc(v.Holds, func(a netip.Addr) bool {
			return j.consent(v, Service{}, a) || slices.ContainsFunc(j.there(v, a, true), func(r Service) bool { return ofStranger(r.Name) })
		})
		if added && closed && !slices.Contains(v.Ports, port) && !taken(v, port) {
			ports(v, append(slices.Clone(v.Ports), port))
		}
		if emptied && j.current(v) && !b.paused() { // else the status is right, and v as one that waits
			steps = append(steps, step{fmt.Sprint("the status of ", n, " is emptied"), func(w *world) {
				v := w.services[n]
				v.Holds = nil
				w.change(PutService{v})
			}})
		}
		return steps
	}
}

// plots draws histories with bursts of a stranger.
func plots() *rapid.Generator[plot] {
	return rapid.Custom(func(t *rapid.T) plot {
		p := plot{settings: Settings{
			Settle:           pick(t, "settle", 30*time.Second, 30*time.Second, 30*time.Second, 0, Never),
			Overlap:          pick(t, "overlap", 30*time.Second, 30*time.Second, 10*time.Second, 0),
			AcrossNamespaces: often(t, 1, "across"),
		}}
		for _, s := range drawTown(t) {
			p.scenes = append(p.scenes, scene{step: s})
		}
		p.afterwards = drawAfterwards(t)
		for range rapid.IntRange(1, 3).Draw(t, "bursts") {
			for range rapid.IntRange(0, 5).Draw(t, "ordinary") {
				p.scenes = append(p.scenes, scene{step: drawOrdinary(t)})
			}
			if often(t, 2, "clash") {
				p.scenes = append(p.scenes, scene{step: drawClash(t)})
			}
			p.scenes = append(p.scenes, scene{burst: drawBurst(t)})
		}
		return p
	})
}
