package controller

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// statusAPI holds ServiceBGPStatus objects, without a wire, so that time can be made
// to pass.
type statusAPI struct {
	mu      sync.Mutex
	objects map[string]*v1beta1.ServiceBGPStatus
	writes  int  // tried
	away    bool // nothing is accepted
}

func (a *statusAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	code, answer := a.answer(r)
	body, err := json.Marshal(answer)
	return &http.Response{
		StatusCode: code, Request: r, Body: io.NopCloser(strings.NewReader(string(body))),
		Header: http.Header{"Content-Type": {"application/json"}},
	}, err
}

func (a *statusAPI) answer(r *http.Request) (code int, answer any) {
	if r.Method == http.MethodGet {
		list := v1beta1.ServiceBGPStatusList{}
		for _, n := range slices.Sorted(maps.Keys(a.objects)) {
			list.Items = append(list.Items, *a.objects[n])
		}
		return http.StatusOK, list
	}
	a.writes++
	if a.away {
		return http.StatusServiceUnavailable, map[string]any{"kind": "Status", "status": "Failure", "code": 503}
	}
	words := strings.Split(r.URL.Path, "/")
	at := slices.Index(words, "servicebgpstatuses")
	o := &v1beta1.ServiceBGPStatus{}
	if len(words) > at+1 {
		if o = a.objects[words[at+1]]; o == nil {
			return http.StatusNotFound, map[string]any{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
		}
	}
	if r.Method == http.MethodDelete {
		delete(a.objects, o.Name)
		return http.StatusOK, o
	}
	written := o.DeepCopyObject().(*v1beta1.ServiceBGPStatus)
	if err := json.NewDecoder(r.Body).Decode(written); err != nil { // as good as a merge patch here
		return http.StatusBadRequest, nil
	}
	if r.Method == http.MethodPost {
		written.Status = v1beta1.ServiceBGPStatusStatus{} // a subresource
	}
	a.objects[written.Name] = written
	return http.StatusOK, written
}

// seen is what the objects say: SERVICE PEERS.
func (a *statusAPI) seen() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for _, o := range a.objects {
		lines = append(lines, fmt.Sprint(o.Status.ServiceName, o.Status.Peers))
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// statusBench has a node say what the test sets.
type statusBench struct {
	*statusAPI
	*statuses[*v1beta1.ServiceBGPStatus]
	services map[name][]string
	news     map[name]allocator.Report
}

func (b *statusBench) say(services map[name][]string) {
	b.mu.Lock()
	for n := range b.services {
		b.news[n] = allocator.Report{}
	}
	for n, peers := range services {
		b.news[n] = reportOf(peers)
	}
	b.services = services
	b.mu.Unlock()
	b.wake()
}

func reportOf(peers []string) allocator.Report {
	return allocator.Report{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, On: peers}
}

// told is what is new, or all.
func (b *statusBench) told(whole bool) map[name]allocator.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := b.news
	b.news = map[name]allocator.Report{}
	if whole {
		for n, peers := range b.services {
			news[n] = reportOf(peers)
		}
	}
	return news
}

func withStatuses(t *testing.T, do func(t *testing.T, b *statusBench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &statusBench{statusAPI: &statusAPI{objects: map[string]*v1beta1.ServiceBGPStatus{}}, news: map[name]allocator.Report{}}
		clients, err := newClients(&rest.Config{Host: "http://api", Transport: b.statusAPI})
		if err != nil {
			t.Fatal(err)
		}
		b.statuses = newBGPStatus(Config{Node: "n1", Namespace: "ours", Log: quiet, Advertised: b.told}, clients.metallb, newCounters())
		go b.run(t.Context())
		do(t, b)
	})
}

// after lets time pass, and says what is wrong with the objects then.
func (b *statusBench) after(t *testing.T, d time.Duration, want string) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if got := b.seen(); got != want {
		t.Errorf("%s later they say %q, and should say %q", d, got, want)
	}
}

var web, dns = name{Namespace: "shop", Name: "web"}, name{Namespace: "shop", Name: "dns"}

// A Service that joins an address that is advertised already is said, too.
func TestStatusFollowsWhoSharesAnAddress(t *testing.T) {
	withStatuses(t, func(t *testing.T, b *statusBench) {
		b.say(map[name][]string{web: {"r1"}})
		b.after(t, time.Second, "web[r1]")
		b.say(map[name][]string{web: {"r1"}, dns: {"r1"}})
		b.after(t, time.Second, "dns[r1] web[r1]")
		b.say(map[name][]string{dns: {"r1"}})
		b.after(t, time.Second, "dns[r1]")
	})
}

// What others change or delete is put right by the next resync, also where changes
// of our own never cease.
func TestStatusIsPutRight(t *testing.T) {
	both := map[name][]string{web: {"r1"}, dns: {"r1"}}
	for what, changes := range map[string]int{"calm": 0, "busy": 10} {
		t.Run(what, func(t *testing.T) {
			withStatuses(t, func(t *testing.T, b *statusBench) {
				b.say(both)
				b.after(t, time.Second, "dns[r1] web[r1]")
				b.mu.Lock()
				for n, o := range b.objects {
					if o.Status.ServiceName == "dns" {
						delete(b.objects, n)
					} else {
						o.Status.Peers = []string{"r9"}
					}
				}
				b.mu.Unlock()
				for range changes {
					time.Sleep(statusResync / 10)
					b.wake()
				}
				b.after(t, statusResync-time.Duration(changes)*statusResync/10+time.Second, "dns[r1] web[r1]")
			})
		})
	}
}

// A change is written soon, however many follow it.
func TestStatusWaitsForNoPauseInChanges(t *testing.T) {
	withStatuses(t, func(t *testing.T, b *statusBench) {
		synctest.Wait()
		for range 3 {
			b.say(map[name][]string{web: {"r1"}})
			time.Sleep(statusDelay / 2)
		}
		b.after(t, 0, "web[r1]")
	})
}

// After a failure nothing is tried before the pause is over.
func TestStatusRetriesAtItsOwnPace(t *testing.T) {
	withStatuses(t, func(t *testing.T, b *statusBench) {
		b.mu.Lock()
		b.away = true
		b.mu.Unlock()
		synctest.Wait()
		for range 20 {
			b.say(map[name][]string{web: {"r1"}})
			time.Sleep(500 * time.Millisecond)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.writes > 4 {
			t.Errorf("%d writes were tried in 10 s, with a pause of %s between them", b.writes, statusRetry)
		}
		b.away = false
	})
}

// A Service that comes to have one address more is said so, in the object that is there.
func TestStatusNamesTheAddresses(t *testing.T) {
	withStatuses(t, func(t *testing.T, b *statusBench) {
		b.say(map[name][]string{web: {"r1"}})
		b.after(t, time.Second, "web[r1]")
		b.mu.Lock()
		b.news[web] = allocator.Report{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, On: []string{"r1"}}
		before := b.writes
		b.mu.Unlock()
		b.wake()
		b.after(t, time.Second, "web[r1]")
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, o := range b.objects {
			if got := o.Annotations[AnnotationAddresses]; got != "192.0.2.1,2001:db8::1" || b.writes != before+1 {
				t.Errorf("%d writes, and it says %q", b.writes-before, got)
			}
		}
	})
}

// manyStatuses says of as many Services that two peers are told of them, and has
// written so.
func manyStatuses(t testing.TB, n int) (api *statusAPI, s *statuses[*v1beta1.ServiceBGPStatus], news *map[name]allocator.Report) {
	api = &statusAPI{objects: map[string]*v1beta1.ServiceBGPStatus{}}
	clients, err := newClients(&rest.Config{Host: "http://api", Transport: api})
	if err != nil {
		t.Fatal(err)
	}
	told := map[name]allocator.Report{}
	for i := range n {
		told[name{Namespace: fmt.Sprint("team", i%50), Name: fmt.Sprint("web", i)}] = reportOf([]string{"tor1", "tor2"})
	}
	s = newBGPStatus(Config{
		Node: "n1", Namespace: "ours", Log: quiet, PodName: "holdfast-x", PodUID: "7", Advertised: func(bool) map[name]allocator.Report { defer func() { told = nil }(); return told },
	}, clients.metallb, newCounters())
	if err := s.round(t.Context()); err != nil || len(api.objects) != n {
		t.Fatal(len(api.objects), err)
	}
	return api, s, &told
}

// Where nothing is to be said anew, nothing is made to find that out.
func TestStatusMakesNothingForWhatIsRight(t *testing.T) {
	_, s, _ := manyStatuses(t, 300)
	if n := testing.AllocsPerRun(5, func() {
		if err := s.round(t.Context()); err != nil {
			t.Error(err)
		}
	}); n > 10 {
		t.Errorf("%.0f allocations for 300 Services of which nothing is new", n)
	}
}

// What one change among 10,000 Services costs. cpu-us/op is of the whole process, with
// the API's part, which is played here; the rest of it is for the comparison.
func BenchmarkOneStatusOf10000(b *testing.B) {
	api, s, news := manyStatuses(b, 10_000)
	one, writes := name{Namespace: "team7", Name: "web7"}, api.writes
	before, n := cpuTime(b), 0
	for b.Loop() {
		n++
		*news = map[name]allocator.Report{one: reportOf([]string{"tor1", "tor2"}[:2-n%2])}
		if err := s.round(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(n), "cpu-us/op")
	if got := api.writes - writes; got != n {
		b.Fatalf("%d writes for %d changes", got, n)
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
