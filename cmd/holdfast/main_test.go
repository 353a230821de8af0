package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"holdfast": main})
}

func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// copyOf is a copy on a node that is told nothing: its API server answers nothing.
func copyOf(t *testing.T) *halves {
	t.Helper()
	var f flags
	f.add(pflag.NewFlagSet("", pflag.PanicOnError), func(name string) string { return map[string]string{"NODE_NAME": "n1", "NAMESPACE": "ours"}[name] })
	if err := f.check(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	h, err := join(f, &rest.Config{Host: "127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestMetrics(t *testing.T) {
	r := newRegistry()
	r.MustRegister(collector{copyOf(t)})
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	want := []string{"holdfast_addresses_announced", "holdfast_hand_over_seconds", "holdfast_leader", "holdfast_refused_steps_total",
		"holdfast_layer2_requests_answered_total", "go_goroutines", "process_resident_memory_bytes", "holdfast_build_info"}
	all, _ := r.Gather()
	for _, m := range all {
		want = slices.DeleteFunc(want, func(w string) bool { return w == m.GetName() })
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// What the leader knows shows with its labels.
func TestMetricsOfTheLeader(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(told(controller.Stats{
		Leads: true, Services: 3,
		Pools:   map[string]allocator.Use{"p": {Assigned4: 2, Available4: 5, Available6: 7}},
		Waiting: map[allocator.Code]int{allocator.PoolFull: 1},
		Moves:   map[allocator.Code]uint64{allocator.Given: 2},
		Refused: 1,
	}))
	const want = `
# HELP holdfast_leader 1 on the copy that is elected, 0 elsewhere.
# TYPE holdfast_leader gauge
holdfast_leader 1
# HELP holdfast_moves_total Addresses that Services took or left, by what was done and why.
# TYPE holdfast_moves_total counter
holdfast_moves_total{reason="Given"} 2
# HELP holdfast_pool_addresses_available Addresses of the pool that are left. Leader only.
# TYPE holdfast_pool_addresses_available gauge
holdfast_pool_addresses_available{family="ipv4",pool="p"} 5
holdfast_pool_addresses_available{family="ipv6",pool="p"} 7
# HELP holdfast_pool_addresses_held Addresses of the pool that Services hold. Leader only.
# TYPE holdfast_pool_addresses_held gauge
holdfast_pool_addresses_held{family="ipv4",pool="p"} 2
holdfast_pool_addresses_held{family="ipv6",pool="p"} 0
# HELP holdfast_services_waiting Services that hold no address, by the reason in their condition. Leader only.
# TYPE holdfast_services_waiting gauge
holdfast_services_waiting{reason="PoolFull"} 1
`
	err := testutil.GatherAndCompare(r, strings.NewReader(want), "holdfast_leader", "holdfast_moves_total",
		"holdfast_pool_addresses_available", "holdfast_pool_addresses_held", "holdfast_services_waiting")
	if err != nil {
		t.Error(err)
	}
}

// told collects the figures of a controller.
type told controller.Stats

func (told) Describe(chan<- *prometheus.Desc)       {}
func (s told) Collect(out chan<- prometheus.Metric) { put(out).controller(controller.Stats(s)) }

// A copy whose loops do not turn is not alive, and one that knows nothing is not
// ready, and says what it waits for.
func TestHealth(t *testing.T) {
	h := copyOf(t)
	ask := func(check func(context.Context) error) (int, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		w := httptest.NewRecorder()
		verdict(check)(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		return w.Code, w.Body.String()
	}
	if code, text := ask(h.alive); code != http.StatusServiceUnavailable {
		t.Errorf("does not run, and /healthz says %d %s", code, text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.speaker.Run(ctx) }()
	defer func() { cancel(); <-done }()
	alive, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := h.alive(alive); err != nil {
		t.Errorf("runs, and /healthz says %v", err)
	}
	err := h.ready(alive)
	if err == nil || !strings.Contains(err.Error(), "not listed yet") {
		t.Errorf("knows nothing, and /readyz says %v", err)
	}
}
