package controller

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

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
}

func (b *statusBench) say(services map[name][]string) {
	b.mu.Lock()
	b.services = services
	b.mu.Unlock()
	b.wake()
}

func withStatuses(t *testing.T, do func(t *testing.T, b *statusBench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &statusBench{statusAPI: &statusAPI{objects: map[string]*v1beta1.ServiceBGPStatus{}}}
		clients, err := newClients(&rest.Config{Host: "http://api", Transport: b.statusAPI})
		if err != nil {
			t.Fatal(err)
		}
		b.statuses = newBGPStatus(Config{Node: "n1", Namespace: "ours", Log: quiet, Advertised: func() Advertised {
			b.mu.Lock()
			defer b.mu.Unlock()
			return Advertised{Services: b.services}
		}}, clients.metallb, newCounters())
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

// manyStatuses says of as many Services that two peers are told of them, and has
// written so.
func manyStatuses(t testing.TB, n int) (api *statusAPI, s *statuses[*v1beta1.ServiceBGPStatus], services map[name][]string) {
	api = &statusAPI{objects: map[string]*v1beta1.ServiceBGPStatus{}}
	clients, err := newClients(&rest.Config{Host: "http://api", Transport: api})
	if err != nil {
		t.Fatal(err)
	}
	services = map[name][]string{}
	for i := range n {
		services[name{Namespace: fmt.Sprint("team", i%50), Name: fmt.Sprint("web", i)}] = []string{"tor1", "tor2"}
	}
	s = newBGPStatus(Config{
		Node: "n1", Namespace: "ours", Log: quiet, PodName: "holdfast-x", PodUID: "7", Advertised: func() Advertised { return Advertised{Services: services} },
	}, clients.metallb, newCounters())
	if err := s.round(t.Context()); err != nil || len(api.objects) != n {
		t.Fatal(len(api.objects), err)
	}
	return api, s, services
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
	api, s, services := manyStatuses(b, 10_000)
	one, writes := name{Namespace: "team7", Name: "web7"}, api.writes
	before, n := cpuTime(b), 0
	for b.Loop() {
		n++
		services[one] = []string{"tor1", "tor2"}[:2-n%2]
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
