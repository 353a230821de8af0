package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
)

// What a node advertises, judged from outside: the judge knows what the node was
// told and what time it is, and looks at the table only.

var routed = [3]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.129")}

// all that an advertisement may tell a router.
var all = func() (ads []string) {
	for _, ad := range []string{"ad1", "ad2", "ad3"} {
		for _, router := range routers {
			ads = append(ads, ad+"@"+router)
		}
	}
	return ads
}()

const (
	testDwell = 2 * time.Second
	testDrain = 3 * time.Second
)

// routesJudge remembers of each address what matters to its routes.
type routesJudge struct {
	r     *routes
	now   time.Time
	seats map[netip.Addr]allocator.Seat
	since map[netip.Addr]time.Time // eligible without a break
	trust map[netip.Addr]time.Time // from when on it may not wait for proof any more
	rival map[netip.Addr]bool      // others advertised before, and have been eligible since
	ok    map[healthPort]time.Time
	leave map[netip.Addr]map[string]time.Time // what the node may not tell a router any more and did, by "advertisement@router": until when routers are asked to leave
	live  map[netip.Addr]bool                 // advertised, and not to be left
	goers map[netip.Addr]map[string]time.Time // other nodes that serve an address and may not advertise it any more: until when they do
	stand map[netip.Addr]map[string]time.Time // other nodes that may advertise: since when without a break
	soon  map[netip.Addr]time.Time            // from when on what is being left may go: others had their time; zero: not before
	peers map[string][]string                 // that advertisements have been edited to name
	was   map[string]bool                     // what was in the table, by address and "advertisement@router"; true: to stay
	wrong func(r *routes)
}

func newRoutesJudge(wrong func(r *routes)) *routesJudge {
	return &routesJudge{
		r: newRoutes("a", Times{Dwell: testDwell, Drain: testDrain}), now: time.Unix(1_900_000_000, 0), wrong: wrong,
		seats: map[netip.Addr]allocator.Seat{}, since: map[netip.Addr]time.Time{}, trust: map[netip.Addr]time.Time{}, rival: map[netip.Addr]bool{},
		ok: map[healthPort]time.Time{}, leave: map[netip.Addr]map[string]time.Time{}, was: map[string]bool{}, live: map[netip.Addr]bool{}, peers: map[string][]string{}, goers: map[netip.Addr]map[string]time.Time{},
		stand: map[netip.Addr]map[string]time.Time{}, soon: map[netip.Addr]time.Time{},
	}
}

var routers = []string{"t0", "t1"}

// adsOn are the advertisements of a seat for a node, each with each router: "ad1@t0".
func adsOn(seat allocator.Seat, node string) (ads []string) {
	for _, r := range seat.Routes {
		for _, router := range routers {
			if slices.Contains(r.Nodes, node) && (len(r.Peers) == 0 || slices.Contains(r.Peers, router)) {
				ads = append(ads, r.Advertisement+"@"+router)
			}
		}
	}
	return ads
}

func othersIn(seat allocator.Seat) map[string]bool {
	all := map[string]bool{}
	for _, r := range seat.Routes {
		for _, n := range r.Nodes {
			all[n] = n != "a"
		}
	}
	delete(all, "a")
	return all
}

// place gives the node and the judge new seats, with the routers that the
// advertisements name now.
func (j *routesJudge) place(first bool, seats ...allocator.Seat) {
	for i := range seats {
		seats[i].Routes = slices.Clone(seats[i].Routes)
		for k, r := range seats[i].Routes {
			if peers, edited := j.peers[r.Advertisement]; edited {
				seats[i].Routes[k].Peers = peers
			}
		}
	}
	j.r.place(j.now, allocator.Placement{Seats: seats})
	for _, seat := range seats {
		before, a := j.seats[seat.Addr], seat.Addr
		is := adsOn(seat, "a")
		others := othersIn(seat)
		stayed := false
		for n := range othersIn(before) {
			stayed = stayed || others[n]
		}
		switch {
		case len(is) == 0:
			delete(j.since, a)
		case j.since[a].IsZero():
			j.since[a], j.rival[a] = j.now, len(othersIn(before)) > 0 || first && len(others) > 0
			if j.trust[a] = j.now.Add(30 * time.Second); first && !j.r.booted {
				j.trust[a] = j.now.Add(testDwell + time.Second)
			}
		}
		j.rival[a] = j.rival[a] && len(others) > 0
		if j.goers[a] == nil {
			j.goers[a] = map[string]time.Time{}
		}
		for n := range othersIn(before) {
			if j.goers[a][n].IsZero() {
				j.goers[a][n] = j.now.Add(testDrain)
			}
		}
		for n := range j.goers[a] {
			if others[n] || !seat.WorksOn(n) {
				delete(j.goers[a], n)
			}
		}
		gently := seat.WorksOn("a") || len(seat.Routes) > 0 && !stayed
		j.stays(first, seat)
		if j.leave[a] == nil {
			j.leave[a] = map[string]time.Time{}
		}
		for _, ad := range all {
			if !slices.Contains(is, ad) && j.was[fmt.Sprint(a, ad)] && j.leave[a][ad].IsZero() {
				for _, router := range routers { // those that are asked already are so a little longer
					if other := ad[:4] + router; other == ad || !j.leave[a][other].IsZero() {
						j.leave[a][other] = j.now.Add(testDrain)
					}
				}
			}
		}
		if earliest := j.earliest(a); seat.Local && seat.WorksOn("a") && !slices.Contains(seat.Full, "a") && !earliest.IsZero() &&
			(j.soon[a].IsZero() || earliest.Before(j.soon[a])) {
			j.soon[a] = earliest
		}
		if !gently {
			delete(j.leave, a)
		}
		for _, ad := range all { // what has gone early is not come back to without proof
			if key := fmt.Sprint(a, ad); !j.was[key] && !j.drained(a, ad) {
				delete(j.was, key)
			}
		}
		j.seats[a] = seat
	}
}

// stays notes which other nodes may advertise an address, and since when.
func (j *routesJudge) stays(first bool, seat allocator.Seat) {
	others, now := othersIn(seat), j.now
	if first {
		now = now.Add(-time.Hour) // nobody knows
	}
	if j.stand[seat.Addr] == nil {
		j.stand[seat.Addr] = map[string]time.Time{}
	}
	stand := j.stand[seat.Addr]
	for n := range others {
		if stand[n].IsZero() {
			stand[n] = now
		}
	}
	for n := range stand {
		if !others[n] {
			delete(stand, n)
		}
	}
}

// earliest is when the first other node has had the time in which it advertises;
// the zero time if there is none.
func (j *routesJudge) earliest(a netip.Addr) (t time.Time) {
	for _, since := range j.stand[a] {
		if end := since.Add(testDrain); t.IsZero() || end.Before(t) {
			t = end
		}
	}
	return t
}

func (j *routesJudge) decide() {
	if j.wrong != nil {
		j.wrong(j.r)
	}
	j.r.decide(j.now)
}

// proven tells whether the node's data path for an address is known to serve.
func (j *routesJudge) proven(a netip.Addr) bool {
	seat := j.seats[a]
	for _, port := range seat.HealthPorts {
		if j.ok[healthPort{port, a.Is6()}].Before(j.since[a]) {
			return false
		}
	}
	return !seat.Dwell || j.now.Sub(j.since[a]) >= testDwell
}

// check compares the table with what it should be.
func (j *routesJudge) check() error {
	live, going, table := map[string]bool{}, map[string]bool{}, j.table()
	now := map[string]bool{}
	for _, a := range routed {
		ads := adsOn(j.seats[a], "a")
		told := j.live[a] && len(ads) > 0
		for _, ad := range ads { // or is still being left
			_, was := j.was[fmt.Sprint(a, ad)]
			told = told || was
		}
		served := j.rival[a]
		for _, end := range j.goers[a] {
			served = served || j.now.Before(end)
		}
		j.live[a] = len(ads) > 0 && (told || !served || j.proven(a) || !j.now.Before(j.trust[a]))
		for _, ad := range ads {
			delete(j.leave[a], ad)
			if j.live[a] {
				live[fmt.Sprint(prefixOf(a, ad), " ", ad)] = true
				now[fmt.Sprint(a, ad)] = true
			}
		}
		for ad, until := range j.leave[a] {
			early := !j.soon[a].IsZero() && !j.now.Before(j.soon[a]) && !j.drained(a, ad)
			if early || !j.now.Before(until) {
				delete(j.leave[a], ad)
				continue
			}
			going[fmt.Sprint(prefixOf(a, ad), " ", ad)] = true
			if !now[fmt.Sprint(a, ad)] {
				now[fmt.Sprint(a, ad)] = false
			}
		}
	}
	for _, a := range routed {
		if len(j.leave[a]) == 0 {
			delete(j.soon, a)
		}
	}
	j.was = now
	want := []string{}
	stays := map[string]bool{} // "prefix@router"
	for key := range live {
		want = append(want, key)
		prefix, _, _ := strings.Cut(key, " ")
		_, router, _ := strings.Cut(key, "@")
		stays[prefix+"@"+router] = true
	}
	for key := range going {
		prefix, _, _ := strings.Cut(key, " ")
		_, router, _ := strings.Cut(key, "@")
		if !live[key] && !stays[prefix+"@"+router] {
			want = append(want, key+" going")
		}
	}
	slices.Sort(want)
	if !slices.Equal(table, want) {
		return fmt.Errorf("advertises %q, and should %q", table, want)
	}
	return nil
}

// drained tells whether the node says that routers are asked to leave what an
// advertisement makes of an address: in an aggregate it cannot be seen from outside.
func (j *routesJudge) drained(a netip.Addr, ad string) bool {
	p := j.r.paths[a]
	return p != nil && slices.ContainsFunc(p.drains, func(d drain) bool {
		return d.Advertisement == ad[:3] && (len(d.Peers) == 0 || slices.Contains(d.Peers, ad[4:]))
	})
}

// table is what each router would be told, with the names that the attributes carry.
func (j *routesJudge) table() []string {
	out := []string{}
	for _, p := range j.r.table.prefixes(routers, nil) {
		for _, router := range routers {
			if len(p.Peers) > 0 && !slices.Contains(p.Peers, router) {
				continue
			}
			text := fmt.Sprintf("%s ad%d@%s", p.Prefix, p.LocalPref, router)
			if slices.Contains(p.Communities, gracefulShutdown) {
				text += " going"
			}
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// prefixOf is the prefix that an advertisement makes of an address.
func prefixOf(a netip.Addr, ad string) netip.Prefix {
	p, err := a.Prefix(map[string]int{"ad1": 32, "ad2": 25, "ad3": 32}[ad[:3]])
	if err != nil {
		panic(err)
	}
	return p
}

func seatOf(a netip.Addr, local []string, dwell bool, ports []uint16, nodes map[string][]string) allocator.Seat {
	seat := allocator.Seat{Addr: a, Dwell: dwell, HealthPorts: ports, Local: local != nil, LocalNodes: local, Full: local}
	for _, ad := range []string{"ad1", "ad2", "ad3"} {
		if len(nodes[ad]) > 0 {
			r := allocator.Route{Advertisement: ad, Prefix: prefixOf(a, ad), Nodes: nodes[ad]}
			r.LocalPref = uint32(ad[2] - '0')
			seat.Routes = append(seat.Routes, r)
		}
	}
	return seat
}

func drawSeat(t *rapid.T) allocator.Seat {
	var local []string
	if rapid.Bool().Draw(t, "local") {
		local = rapid.SampledFrom([][]string{{}, {"a"}, {"b"}, {"a", "b"}}).Draw(t, "pods on")
	}
	nodes := map[string][]string{}
	for _, ad := range []string{"ad1", "ad2", "ad3"} {
		used := rapid.IntRange(0, 9).Draw(t, "used") < 6
		for _, n := range []string{"a", "b", "c"} {
			if used && rapid.Bool().Draw(t, "on "+n) && (local == nil || slices.Contains(local, n)) {
				nodes[ad] = append(nodes[ad], n)
			}
		}
	}
	ports := rapid.SampledFrom([][]uint16{nil, {30001}}).Draw(t, "ports")
	seat := seatOf(rapid.SampledFrom(routed[:]).Draw(t, "address"), local, ports == nil || rapid.Bool().Draw(t, "dwell"), ports, nodes)
	if ending := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "pods end on"); seat.Local && ending != "" {
		seat.LocalNodes = append(slices.Clone(local), ending)
		slices.Sort(seat.LocalNodes)
		seat.LocalNodes = slices.Compact(seat.LocalNodes)
	}
	return seat
}

// edit names other routers in an advertisement.
func (j *routesJudge) edit(t *rapid.T) {
	ad := rapid.SampledFrom([]string{"ad1", "ad2", "ad3"}).Draw(t, "edited")
	j.peers[ad] = rapid.SampledFrom([][]string{nil, {"t0"}, {"t1"}, routers}).Draw(t, "routers")
	var seats []allocator.Seat
	for _, a := range routed {
		if seat, ok := j.seats[a]; ok {
			seats = append(seats, seat)
		}
	}
	j.place(false, seats...)
}

// history lets a node live through seats, time and answers of health ports.
func (j *routesJudge) history(t *rapid.T) error {
	first := true
	j.r.booted = rapid.Bool().Draw(t, "booted")
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		j.now = j.now.Add(time.Millisecond)
		switch rapid.IntRange(0, 5).Draw(t, "what") {
		case 0, 1: // sometimes another one follows before anything is decided
			for range rapid.IntRange(1, 3).Draw(t, "placements") {
				j.place(first, drawSeat(t))
				first = false
			}
		case 2:
			if !first {
				j.edit(t)
			}
		case 3:
			port := healthPort{30001, false}
			j.r.healthy(j.now, port)
			j.ok[port] = j.now
		default:
			j.now = j.now.Add(rapid.SampledFrom([]time.Duration{10 * time.Millisecond, 700 * time.Millisecond, testDwell, testDrain, 30 * time.Second}).Draw(t, "pass"))
		}
		j.decide()
		if err := j.check(); err != nil {
			return err
		}
	}
	return nil
}
