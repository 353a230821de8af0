package allocator_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"time"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

func change(text string, c ...Change) step {
	return step{text, func(w *world) { w.change(c...) }}
}

// drawPoolEdit draws a change of pools or namespaces.
func drawPoolEdit(t *rapid.T) step {
	switch rapid.IntRange(0, 8).Draw(t, "edit") {
	case 7:
		return drawUse(t)
	case 0:
		name := pick(t, "pool", poolNames...)
		return change("delete pool "+name, DropPool{name})
	case 1:
		n := Namespace{pick(t, "namespace", "n0", "n1"), map[string]string{"team": pick(t, "team", "x", "y")}}
		return change(fmt.Sprint("namespace ", n), PutNamespace{n})
	case 2:
		name := pick(t, "namespace", "n0", "n1")
		return change("delete namespace "+name, DropNamespace{name})
	case 3:
		return step{"accept pools", (*world).accept}
	}
	p := drawPool(t)
	return change(fmt.Sprintf("pool %+v %+v", p, p.Allocation), PutPool{p})
}

// drawUse draws a use of addresses by a node, by a Service's externalIPs, or by the
// API server.
func drawUse(t *rapid.T) step {
	addrs := []netip.Addr{netip.MustParseAddr(drawAddress(t, pick(t, "family", IPv4, IPv4, IPv6)))}
	if often(t, 5, "two") {
		addrs = append(addrs, netip.MustParseAddr(drawAddress(t, IPv4)))
	}
	use := InUse{By: "api", Addrs: addrs}
	switch rapid.IntRange(0, 7).Draw(t, "use") {
	case 0:
		return change("the API server moves away", DropInUse{use.By})
	case 1:
		return change(fmt.Sprint("used by the API server: ", addrs), PutInUse{use})
	case 2: // not a node that drawPlaceEdit draws
		return change(fmt.Sprint("used by a node: ", addrs), PutNode{Node{Name: "x0", Excluded: true, InUse: addrs}})
	case 3:
		return change("a node goes", DropNode{"x0"})
	}
	use.Service = pick(t, "service", serviceNames...)
	use.By = use.Service.String()
	if rapid.Bool().Draw(t, "drop") {
		return change(fmt.Sprint("no externalIPs of ", use.By), DropInUse{use.By})
	}
	return change(fmt.Sprint("externalIPs of ", use.By, ": ", addrs), PutInUse{use})
}

func drawAdvertisement(t *rapid.T) Advertisement {
	ad := Advertisement{
		Name:             pick(t, "advertisement", "a0", "a1", "a2"),
		NodeSelectors:    drawSelectors(t, "rack", "x", "y"),
		ServiceSelectors: drawSelectors(t, "tier", "x", "y"),
	}
	if often(t, 3, "pools") {
		ad.Pools = []string{pick(t, "pool", "p0", "p1", "p9")}
	}
	if often(t, 2, "pool selectors") {
		ad.PoolSelectors = drawSelectors(t, "zone", "a", "b")
	}
	if often(t, 3, "interfaces") {
		ad.Interfaces = []string{pick(t, "interface", "eth0", "eth1")}
	}
	for _, s := range drawSelectors(t, "rack", "x", "y") {
		ad.Preferences = append(ad.Preferences, Preference{rapid.IntRange(1, 3).Draw(t, "weight"), s})
	}
	return ad
}

func drawBGPAdvertisement(t *rapid.T) BGPAdvertisement {
	like := drawAdvertisement(t)
	ad := BGPAdvertisement{
		Name: like.Name, Created: noon.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "created")) * time.Second),
		Pools: like.Pools, PoolSelectors: like.PoolSelectors, NodeSelectors: like.NodeSelectors, ServiceSelectors: like.ServiceSelectors,
		Length4: pick(t, "length", 32, 32, 24), Length6: pick(t, "length6", 128, 128, 64),
	}
	if often(t, 3, "peers") {
		ad.Peers = []string{pick(t, "peer", "t0", "t1")}
	}
	if often(t, 3, "without") {
		ad.Without = []string{pick(t, "pool", "p0", "p1", "p9")}
	}
	ad.LocalPref = uint32(pick(t, "preference", 0, 100, 200))
	ad.Weighted = often(t, 3, "weighted")
	return ad
}

// drawPlaceEdit draws a change that matters to where addresses are announced.
func drawPlaceEdit(t *rapid.T) step {
	node := Node{
		Name: pick(t, "node", nodeNames...), Labels: map[string]string{"rack": pick(t, "rack", "x", "y", "z")},
		Excluded: often(t, 1, "excluded"), Unreachable: often(t, 1, "unreachable"),
	}
	service, slice := pick(t, "service", serviceNames...), pick(t, "slice", "e0", "e0", "e1")
	switch rapid.IntRange(0, 14).Draw(t, "edit") {
	case 0:
		return change("delete node "+node.Name, DropNode{node.Name})
	case 1, 2:
		return change(fmt.Sprintf("node %+v", node), PutNode{node})
	case 3:
		return change(fmt.Sprint("delete endpoints ", service, slice), DropEndpoints{service, slice})
	case 4:
		name := pick(t, "advertisement", "a0", "a1", "a2")
		return change("delete advertisement "+name, DropAdvertisement{name})
	case 5:
		ad := drawAdvertisement(t)
		return change(fmt.Sprintf("advertisement %+v", ad), PutAdvertisement{ad})
	case 6:
		name := pick(t, "advertisement", "a0", "a1", "a2")
		return change("delete BGP advertisement "+name, DropBGPAdvertisement{name})
	case 7, 8, 9, 10:
		ad := drawBGPAdvertisement(t)
		return change(fmt.Sprintf("BGP advertisement %+v", ad), PutBGPAdvertisement{ad})
	}
	e := Endpoints{Service: service, Slice: slice}
	for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
		e.Nodes = append(e.Nodes, NodeEndpoints{
			pick(t, "node", append(nodeNames, "")...), rapid.IntRange(0, 1).Draw(t, "ready"), rapid.IntRange(0, 1).Draw(t, "terminating"),
		})
	}
	return change(fmt.Sprintf("endpoints %+v", e), PutEndpoints{e})
}

// A history is a start and what happens then.
type history struct {
	settings Settings
	steps    []step
}

// GoString keeps failures short: what happened is in the log of the world.
func (h history) GoString() string { return fmt.Sprint(len(h.steps), " steps") }

// run replays a history with a planner; check is asked after every plan.
func (h history) run(p planner, check func(w *world) error) (*world, error) {
	w := newWorld(p, h.settings)
	for _, s := range h.steps {
		w.note("%s", s.text)
		s.do(w)
		w.plan()
		if err := check(w); err != nil {
			return w, err
		}
	}
	return w, nil
}

// drawWork draws what the leader and time do between edits.
func drawWork(t *rapid.T) step {
	seed := rapid.Uint64().Draw(t, "order")
	switch rapid.IntRange(0, 9).Draw(t, "work") {
	case 0:
		back := pick(t, "back", 0, 0, 10*time.Second)
		return step{fmt.Sprint("a new leader, whose clock is behind by ", back), func(w *world) {
			w.now = w.now.Add(-back)
			w.settings.LedSince = earlier(w.settings.LedSince, w.now)
			w.newLeader()
		}}
	case 1, 2:
		wait := pick(t, "wait", time.Millisecond, 5*time.Second, 29*time.Second, 30*time.Second, time.Minute)
		return step{fmt.Sprint("wait ", wait), func(w *world) { w.now = w.now.Add(wait) }}
	case 3:
		return step{"wait until woken", func(w *world) {
			if !w.wake.IsZero() {
				w.now = later(w.now, w.wake)
			}
		}}
	case 4, 5: // some of what is pending, in any order
		return step{fmt.Sprint("write some ", seed), func(w *world) {
			pending := w.pending()
			mix(rand.New(rand.NewPCG(seed, 0)), pending)
			for _, d := range pending[:len(pending)/2] {
				w.write(d)
			}
		}}
	}
	return step{fmt.Sprint("write all ", seed), func(w *world) {
		pending := w.pending()
		mix(rand.New(rand.NewPCG(seed, 0)), pending)
		for _, d := range pending {
			w.write(d)
		}
	}}
}

// drawRace draws an edit that comes while writes are under way: they still land
// on every Service that is as it was.
func drawRace(t *rapid.T, edit func(*rapid.T) step) step {
	e := edit(t)
	return step{"while writes are under way: " + e.text, func(w *world) {
		pending, before := w.pending(), maps.Clone(w.services)
		e.do(w)
		told := w.written
		w.written = nil // that which is published late is judged by the next plan
		for _, d := range pending {
			if v, ok := w.services[d.Service]; ok && reflect.DeepEqual(v, before[d.Service]) {
				w.write(d)
			}
		}
		w.written = told
	}}
}

// drawGap draws a time in which nobody leads, and what happens meanwhile.
func drawGap(t *rapid.T, edit func(*rapid.T) step) step {
	pause := pick(t, "pause", time.Second, 20*time.Second, time.Hour)
	var meanwhile []step
	for range rapid.IntRange(0, 2).Draw(t, "meanwhile") {
		meanwhile = append(meanwhile, edit(t))
	}
	return step{fmt.Sprint("nobody leads for ", pause), func(w *world) { w.unled(pause, meanwhile...) }}
}

// crowd brings four Services of two namespaces to one address, if keys join across
// them, served by pods on three nodes.
func crowd(across bool) (steps []step) {
	add := func(what string, c Change) { steps = append(steps, change(what, c)) }
	add("pool", PutPool{Pool{Name: "p0", Created: noon, Addresses: []string{"10.0.0.250-10.0.0.252", "fd00::0-fd00::1"}, AutoAssign: true, AcrossNamespaces: across}})
	add("advertisement", PutAdvertisement{Advertisement{Name: "a0", Pools: []string{"p0"}}})
	add("advertisement", PutAdvertisement{Advertisement{Name: "a1", PoolSelectors: []Selector{{{Key: "zone", Operator: In, Values: []string{"b"}}}}, Interfaces: []string{"eth1"}}})
	for i, port := range allPorts {
		n := serviceNames[i]
		add("node", PutNode{Node{Name: nodeNames[i], Labels: map[string]string{"rack": "x"}, Excluded: i == 3}})
		add(fmt.Sprint("endpoints ", n), PutEndpoints{Endpoints{n, "e0", []NodeEndpoints{{nodeNames[i%3], 1, 0}, {nodeNames[1], 1, 0}}}})
		add(fmt.Sprint("service ", n), PutService{Service{
			Name: n, UID: fmt.Sprint("u", i), Created: noon.Add(time.Duration(i%3)*time.Second - time.Minute), Families: []Family{IPv4},
			Ports: []Port{port}, Selector: "app=a", Annotations: map[string]string{PrefixMetalLB + AnnotationShare: "k"},
		}})
	}
	return append(steps, step{"write all", func(w *world) { w.writeAll() }})
}

// drawHistory draws a history with edits of the given kinds.
func drawHistory(steps int, edits ...func(*rapid.T) step) *rapid.Generator[history] {
	return rapid.Custom(func(t *rapid.T) history {
		h := history{settings: Settings{
			Settle:  pick(t, "settle", 30*time.Second, 30*time.Second, 30*time.Second, 0, Never),
			Overlap: pick(t, "overlap", 30*time.Second, 30*time.Second, 10*time.Second, 45*time.Second, 0),
		}}
		for _, n := range []string{"n0", "n1"} {
			if often(t, 8, "known") {
				h.steps = append(h.steps, change("namespace "+n, PutNamespace{Namespace{n, map[string]string{"team": "x"}}}))
			}
		}
		h.settings.AcrossNamespaces = often(t, 2, "across")
		if rapid.Bool().Draw(t, "crowd") {
			h.steps = append(h.steps, crowd(often(t, 7, "across"))...)
		}
		for range rapid.IntRange(1, 3).Draw(t, "pools") {
			p := drawPool(t)
			h.steps = append(h.steps, change(fmt.Sprintf("pool %+v %+v", p, p.Allocation), PutPool{p}))
		}
		for range rapid.IntRange(0, 4).Draw(t, "services") {
			h.steps = append(h.steps, drawEdit(t))
		}
		for range rapid.IntRange(1, steps).Draw(t, "steps") {
			edit := edits[rapid.IntRange(0, len(edits)-1).Draw(t, "kind")]
			switch n := rapid.IntRange(0, 20).Draw(t, "what"); {
			case n < 10:
				h.steps = append(h.steps, drawWork(t))
			case n == 20:
				h.steps = append(h.steps, drawGap(t, edit))
			case n < 18:
				h.steps = append(h.steps, edit(t))
			default:
				h.steps = append(h.steps, drawRace(t, edit))
			}
		}
		return h
	})
}
