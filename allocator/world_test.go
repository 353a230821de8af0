package allocator_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	. "holdfast.dev/holdfast/allocator"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// A world is a cluster as the API shows it, with a leader that plans and writes.
type world struct {
	settings   Settings
	services   map[ServiceName]Service // with what is published for them
	pools      map[string]Pool
	ads        map[string]Advertisement
	routes     map[string]BGPAdvertisement
	nodes      map[string]Node
	endpoints  map[DropEndpoints]Endpoints
	namespaces map[string]Namespace
	inUse      map[string]InUse
	now        time.Time

	snapshot *Snapshot // the leader's
	latest   map[ServiceName]Decision
	wake     time.Time
	seats    map[netip.Addr]Seat
	planner  planner
	placer   placer
	born     Facts                // that the leader's snapshot was made from
	since    []event              // what has happened to the snapshot since; for fork
	written  func(before Service) // told of every write; may be nil
	reel     *reel                // of the plans and writes; may be nil
	edited   ServiceName          // the Service that was changed last

	log []string
}

// A planner answers for a world: Plan itself, or one that is wrong on purpose.
type planner func(w *world) Planned

func rightPlanner(w *world) Planned { return Plan(w.snapshot, w.now) }

// A placer says what has changed of the seats of a world: Place itself, or one that
// is wrong on purpose.
type placer func(w *world) Placement

func rightPlacer(w *world) Placement { return Place(w.snapshot) }

// An event is a change of facts, or work of the leader.
type event struct {
	changes []Change // nil: Plan, then Place
	at      time.Time
}

func newWorld(p planner, settings Settings) *world {
	w := &world{
		settings: settings, now: noon, planner: p, placer: rightPlacer,
		services: map[ServiceName]Service{}, pools: map[string]Pool{}, ads: map[string]Advertisement{},
		routes: map[string]BGPAdvertisement{},
		nodes:  map[string]Node{}, endpoints: map[DropEndpoints]Endpoints{}, namespaces: map[string]Namespace{},
		inUse: map[string]InUse{},
	}
	w.newLeader()
	return w
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%6s  ", w.now.Sub(noon))+fmt.Sprintf(format, args...))
}

// facts are all facts, in the order of names or, with a source, in any order.
func (w *world) facts(shuffle *rand.Rand) Facts {
	f := Facts{
		Settings: w.settings, Services: values(w.services), Pools: values(w.pools), Advertisements: values(w.ads), BGP: values(w.routes),
		Nodes: values(w.nodes), Endpoints: values(w.endpoints), Namespaces: values(w.namespaces), InUse: values(w.inUse),
	}
	if shuffle != nil {
		mix(shuffle, f.Services)
		mix(shuffle, f.Pools)
		mix(shuffle, f.Advertisements)
		mix(shuffle, f.BGP)
		mix(shuffle, f.Nodes)
		mix(shuffle, f.Endpoints)
		mix(shuffle, f.Namespaces)
		mix(shuffle, f.InUse)
	}
	return f
}

func values[K comparable, V any](m map[K]V) []V {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	out := make([]V, len(keys))
	for i, k := range keys {
		out[i] = m[k]
	}
	return out
}

func mix[V any](r *rand.Rand, s []V) { r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] }) }

// newLeader starts from nothing but what is published.
func (w *world) newLeader() {
	w.born, w.since = w.facts(nil), nil
	w.snapshot = NewSnapshot(w.born)
	w.latest = map[ServiceName]Decision{}
	w.seats = map[netip.Addr]Seat{}
}

// unled lets time pass in which nobody leads, then comes a new leader. What happens
// meanwhile, the new one finds done.
func (w *world) unled(pause time.Duration, meanwhile ...step) {
	for _, s := range meanwhile {
		w.note("nobody leads: %s", s.text)
		s.do(w)
	}
	w.now = w.now.Add(pause)
	w.settings.LedSince = w.now
	w.newLeader()
}

// change makes facts so, and shows them to the leader.
func (w *world) change(changes ...Change) {
	for _, c := range changes {
		switch c := c.(type) {
		case PutService:
			if w.services[c.Name].UID != c.UID {
				delete(w.latest, c.Name)
			}
			w.services[c.Name], w.edited = c.Service, c.Name
		case DropService:
			delete(w.services, c.Name)
			delete(w.latest, c.Name)
		case PutPool:
			w.pools[c.Name] = c.Pool
		case DropPool:
			delete(w.pools, c.Name)
		case PutAdvertisement:
			w.ads[c.Name] = c.Advertisement
		case DropAdvertisement:
			delete(w.ads, c.Name)
		case PutBGPAdvertisement:
			w.routes[c.Name] = c.BGPAdvertisement
		case DropBGPAdvertisement:
			delete(w.routes, c.Name)
		case PutNode:
			w.nodes[c.Name] = c.Node
		case DropNode:
			delete(w.nodes, c.Name)
		case PutEndpoints:
			w.endpoints[DropEndpoints{c.Service, c.Slice}] = c.Endpoints
		case DropEndpoints:
			delete(w.endpoints, c)
		case PutNamespace:
			w.namespaces[c.Name] = c.Namespace
		case DropNamespace:
			delete(w.namespaces, c.Name)
		case PutInUse:
			w.inUse[c.By] = c.InUse
		case DropInUse:
			delete(w.inUse, c.By)
		case PutSettings:
			w.settings = c.Settings
		}
	}
	w.snapshot = w.snapshot.With(changes...)
	w.since = append(w.since, event{changes: changes})
}

// plan has the leader decide, and place.
func (w *world) plan() {
	planned := w.planner(w)
	w.wake = planned.Wake
	for _, d := range planned.Decisions {
		w.latest[d.Service] = d
	}
	placement := w.placer(w)
	w.since = append(w.since, event{at: w.now})
	for _, seat := range placement.Seats {
		w.seats[seat.Addr] = seat
	}
	for _, a := range placement.Gone {
		delete(w.seats, a)
	}
	if w.reel != nil {
		w.reel.frames = append(w.reel.frames, frame{w.still(), true})
	}
}

// pending are the decisions that differ from what is published, by name.
func (w *world) pending() (out []Decision) {
	for n, d := range w.latest {
		if v, ok := w.services[n]; ok && !v.Foreign && (!slices.Equal(v.Holds, d.Holds) || !d.Record.Published(v.Record)) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Decision) int { return a.Service.Compare(b.Service) })
	return out
}

// write publishes one decision.
func (w *world) write(d Decision) {
	v := w.services[d.Service]
	before, edited := v, w.edited
	w.note("write %s %v -> %v", d.Service, v.Holds, d.Holds)
	v.Holds, v.Record = slices.Clone(d.Holds), d.Record
	if !v.Record.IsZero() {
		v.Record.Written = w.now
	}
	w.change(PutService{v})
	w.edited = edited
	if w.written != nil {
		w.written(before)
	}
}

// accept publishes which pools are accepted as they are.
func (w *world) accept() {
	for _, p := range values(w.pools) {
		if ok := w.snapshot.PoolError(p.Name) == nil; ok != p.Accepted {
			p.Accepted = ok
			w.change(PutPool{p})
		}
	}
}

// sameAsFromNothing compares the leader's view with that of a snapshot made from
// shuffled facts (invariant 10).
func (w *world) sameAsFromNothing(seed uint64) error {
	scratch := NewSnapshot(w.facts(rand.New(rand.NewPCG(seed, 1))))
	planned := Plan(scratch, w.now)
	if late := planned.Wake.Sub(w.wake); late < 0 || late > 0 && (late >= time.Second || planned.InFlight == 0) {
		return fmt.Errorf("wakes at %v, from nothing at %v", w.wake, planned.Wake)
	}
	if len(planned.Decisions) != len(w.latest) {
		return fmt.Errorf("%d decisions, from nothing %d", len(w.latest), len(planned.Decisions))
	}
	for _, d := range planned.Decisions {
		if got := w.latest[d.Service]; !reflect.DeepEqual(plain(w.recent(got)), plain(w.recent(d))) {
			return fmt.Errorf("%s: decided %+v, from nothing %+v", d.Service, got, d)
		}
	}
	again := NewSnapshot(w.facts(rand.New(rand.NewPCG(seed, 2))))
	if other := Plan(again, w.now); !reflect.DeepEqual(other, planned) {
		return fmt.Errorf("the order of facts matters: %+v and %+v", planned, other)
	}
	placement := Place(scratch)
	if len(placement.Seats) != len(w.seats) {
		return fmt.Errorf("%d seats, from nothing %d", len(w.seats), len(placement.Seats))
	}
	for _, s := range placement.Seats {
		if got := w.seats[s.Addr]; !reflect.DeepEqual(fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", s)) {
			return fmt.Errorf("seat %+v, from nothing %+v", got, s)
		}
	}
	for n := range w.services {
		if a, b := w.snapshot.Remarks(n), scratch.Remarks(n); fmt.Sprint(a) != fmt.Sprint(b) {
			return fmt.Errorf("%s remarks %v, from nothing %v", n, a, b)
		}
	}
	if a, b := w.snapshot.Uses(), scratch.Uses(); !reflect.DeepEqual(a, b) {
		return fmt.Errorf("uses %v, from nothing %v", a, b)
	}
	return nil
}

// recent is a decision of which all that began within the last second began now: so
// old may a decision be that is not published yet.
func (w *world) recent(d Decision) Decision {
	now := func(t *time.Time) {
		if age := w.now.Sub(*t); age > 0 && age < time.Second {
			*t = w.now
		}
	}
	r := &d.Record
	now(&r.Written)
	r.Pools, r.Settling, r.Overlap, r.Kept = slices.Clone(r.Pools), slices.Clone(r.Settling), slices.Clone(r.Overlap), slices.Clone(r.Kept)
	for i := range r.Pools {
		now(&r.Pools[i].Since)
	}
	for _, timers := range [][]Timer{r.Settling, r.Overlap, r.Kept} {
		for i := range timers {
			now(&timers[i].Since)
		}
	}
	for _, reasons := range []*[]Reason{&d.Reasons, &d.Steps} {
		*reasons = slices.Clone(*reasons)
		for i := range *reasons {
			if u := &(*reasons)[i].Until; !u.IsZero() {
				*u = u.Truncate(2 * time.Second)
			}
		}
	}
	return d
}

// plain makes empty and nil lists the same, and leaves out when it is written.
func plain(d Decision) string {
	d.Record.Written = time.Time{}
	return fmt.Sprintf("%+v", d)
}

// rest writes and waits until nothing is left to do: the fixpoint. It fails if
// there is none (invariant 11).
func (w *world) rest(each func() error) error {
	for range 60 {
		w.plan()
		if err := each(); err != nil {
			return err
		}
		pending := w.pending()
		for _, d := range pending {
			w.write(d)
		}
		switch {
		case len(pending) > 0:
		case !w.wake.IsZero():
			w.now = later(w.now, w.wake)
		default:
			w.newLeader()
			w.plan()
			if left := w.pending(); len(left) > 0 || !w.wake.IsZero() {
				return fmt.Errorf("no rest: a new leader would write %+v and wake at %v", left, w.wake)
			}
			return nil
		}
	}
	return fmt.Errorf("no rest: still writing %+v", w.pending())
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// published writes out what is published, for failures.
func (w *world) published() string {
	var b strings.Builder
	for _, v := range slices.SortedFunc(maps.Values(w.services), func(a, b Service) int {
		return cmp.Or(a.Created.Compare(b.Created), a.Name.Compare(b.Name))
	}) {
		fmt.Fprintf(&b, "%+v\n    %v\n", v, w.latest[v.Name].Reasons)
	}
	for _, p := range values(w.pools) {
		fmt.Fprintf(&b, "%+v %v\n", p, w.snapshot.PoolError(p.Name))
	}
	return strings.Join(w.log, "\n") + "\n" + b.String()
}
