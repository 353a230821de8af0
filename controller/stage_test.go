package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/lease"
)

// A shop is an API, without a network, that keeps Services and takes Events: a write
// of a status takes effect when the version that it names is the latest, and comes
// back by the watch.
type shop struct {
	t     testing.TB
	takes time.Duration // for each write
	// refuse answers a request in the shop's place, unless the code is 0.
	refuse func(*http.Request) (code int, retryAfter string)

	mu       sync.Mutex
	services map[name]*corev1.Service
	version  int
	writes   []statusWrite
	events   []*corev1.Event
	bytes    int // in the bodies of all requests
	under    int // requests under way
	most     int // the most that were
	watch    func(*corev1.Service)
}

// statusWrite is a write of a Service's status that took effect.
type statusWrite struct {
	at      time.Time
	service name
	patch   patch
}

func (w statusWrite) address() bool { _, ok := w.patch.Status["loadBalancer"]; return ok }

func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	if q := r.URL.Query(); strings.HasPrefix(r.URL.Path, "/apis/metallb.io/") && q.Get("watch") != "" && q.Get("sendInitialEvents") == "" {
		reader, writer := io.Pipe() // nobody reports anything
		context.AfterFunc(r.Context(), func() { writer.Close() })
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: reader, Request: r}, nil
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.mu.Lock()
	s.under++
	s.most = max(s.most, s.under)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.under--; s.mu.Unlock() }()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(s.takes):
	}
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
	text := ""
	if s.refuse != nil {
		if code, after := s.refuse(r); code != 0 {
			answer.StatusCode, text = code, "Too many requests, please try again later."
			answer.Header = http.Header{"Content-Type": {"text/plain"}}
			if after != "" {
				answer.Header.Set("Retry-After", after)
			}
		}
	}
	if text == "" {
		answer.StatusCode, text = s.carryOut(r, body)
	}
	answer.Body = io.NopCloser(strings.NewReader(text))
	return answer, nil
}

func (s *shop) carryOut(r *http.Request, body []byte) (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += len(body)
	if strings.HasPrefix(r.URL.Path, "/apis/metallb.io/") {
		if r.URL.Query().Get("watch") != "" { // with all objects first, which the shop does not know how to do
			return http.StatusUnprocessableEntity, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`
		}
		kind := map[bool]string{true: "ServiceL2StatusList", false: "ServiceBGPStatusList"}[strings.HasSuffix(r.URL.Path, "servicel2statuses")]
		return http.StatusOK, `{"kind":"` + kind + `","apiVersion":"metallb.io/v1beta1","metadata":{"resourceVersion":"10"},"items":[]}`
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	switch {
	case strings.HasSuffix(r.URL.Path, "/status") && parts[1] == "services":
		return s.patched(name{Namespace: parts[0], Name: parts[2]}, body)
	case parts[1] == "events" && r.Method == http.MethodPost:
		o, _, err := codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			s.t.Error(err)
		}
		s.events = append(s.events, o.(*corev1.Event))
		return http.StatusCreated, `{"kind":"Event","apiVersion":"v1"}`
	case parts[1] == "events":
		for _, e := range s.events {
			if e.Name == parts[2] && json.Unmarshal(body, e) == nil {
				return http.StatusOK, `{"kind":"Event","apiVersion":"v1"}`
			}
		}
	case r.Method == http.MethodPost:
		return http.StatusCreated, `{"kind":"Secret","apiVersion":"v1"}`
	}
	return http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
}

func (s *shop) patched(n name, body []byte) (int, string) {
	var p patch
	if err := json.Unmarshal(body, &p); err != nil {
		s.t.Error(err)
	}
	old := s.services[n]
	if old == nil || p.Metadata.Version != old.ResourceVersion {
		return http.StatusConflict, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`
	}
	s.writes = append(s.writes, statusWrite{time.Now(), n, p})
	now := apply(s.t, old, p)
	manage(now, fieldManager)
	text, err := json.Marshal(s.put(now))
	if err != nil {
		s.t.Error(err)
	}
	return http.StatusOK, string(text)
}

// manage has a writer own the addresses in the status of a Service.
func manage(s *corev1.Service, manager string) {
	at := metav1.Now()
	s.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: "status", Time: &at,
		FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`),
	}}
}

// put keeps a Service, and has the watch show it.
func (s *shop) put(o *corev1.Service) *corev1.Service {
	s.version++
	o.TypeMeta = metav1.TypeMeta{Kind: "Service", APIVersion: "v1"}
	o.ResourceVersion = fmt.Sprint(s.version)
	s.services[name{Namespace: o.Namespace, Name: o.Name}] = o
	s.watch(o.DeepCopy())
	return o
}

// edit changes a Service, or makes it.
func (s *shop) edit(n name, change func(*corev1.Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.services[n]
	if o == nil {
		o = &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name, UID: "u"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{{Port: 80}}},
		}
	}
	o = o.DeepCopy()
	change(o)
	s.put(o)
}

func (s *shop) service(n name) *corev1.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.services[n].DeepCopy()
}

func (s *shop) written(n name) (out []statusWrite) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.writes {
		if w.service == n {
			out = append(out, w)
		}
	}
	return out
}

// A stage is a copy that leads, with a shop for an API.
type stage struct {
	*Controller
	shop   *shop
	lease  soleLease
	term   *lease.Term
	ended  chan struct{} // closed when what it does as leader has ended
	log    *bytes.Buffer
	mu     sync.Mutex
	placed []netip.Addr
}

func newStage(t testing.TB) *stage {
	st := &stage{shop: &shop{t: t, services: map[name]*corev1.Service{}, version: 10}, ended: make(chan struct{}), log: &bytes.Buffer{}}
	var err error
	st.Controller, err = New(Config{
		REST: &rest.Config{Host: "http://api", Transport: st.shop}, Node: "node1", Namespace: "ours", Log: slog.New(slog.NewTextHandler(st.log, nil)),
		Settings: allocator.Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second},
		Placed: func(p allocator.Placement, _ map[string][]netip.Addr) {
			st.mu.Lock()
			defer st.mu.Unlock()
			for _, s := range p.Seats {
				st.placed = append(st.placed, s.Addr)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	st.listen = func(context.Context) *nodeReports { return silence() } // no node speaks in the shop
	st.shop.watch = func(o *corev1.Service) { st.show("services", o) }
	for i := range st.sources {
		st.sources[i].plans = false // there is nothing to be read from the shop
	}
	return st
}

// show has the watch of a kind bring an object.
func (st *stage) show(kind string, o any) {
	if err := st.store(kind).Add(o); err != nil {
		st.shop.t.Error(err)
	}
}

// begin has every kind listed: a pool of the addresses, and an advertisement.
func (st *stage) begin(addresses string) {
	for _, s := range st.sources {
		var objects []any
		switch s.kind {
		case "ipaddresspools":
			objects = []any{&v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ours", ResourceVersion: "1"},
				Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{addresses}}}}
		case "l2advertisements":
			objects = []any{&v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "l2", Namespace: "ours", ResourceVersion: "1"}}}
		case "nodes":
			objects = []any{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1", ResourceVersion: "1"}}}
		case "namespaces":
			objects = []any{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", ResourceVersion: "1"}}}
		case "services":
			for _, o := range st.shop.services {
				objects = append(objects, o.DeepCopy())
			}
		}
		if err := s.store.Replace(objects, "10"); err != nil {
			st.shop.t.Fatal(err)
		}
	}
}

// slice shows that a Service has an endpoint on a node.
func (st *stage) slice(of name, node string, version int) {
	st.show("endpointslices", &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: of.Namespace, Name: of.Name + "-x", ResourceVersion: fmt.Sprint(version), Labels: map[string]string{discoveryv1.LabelServiceName: of.Name}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}, NodeName: &node}},
	})
}

// onStage runs do while a copy leads, in a bubble of its own. Before it sets the
// stage up.
func onStage(t *testing.T, before func(*stage), do func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t)
		if before != nil {
			before(st)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		st.begin("192.0.2.0/24")
		go st.loop(ctx)
		go st.events.run(ctx)
		leading(t, &st.lease, func(term *lease.Term) {
			st.term = term
			go func() { st.lead(term); close(st.ended) }()
			do(st)
		})
		<-st.ended
	})
}

func shopped(n string) name { return name{Namespace: "shop", Name: n} }

func (st *stage) tells() []netip.Addr {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Clone(st.placed)
}

func conditionFor(kind string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "R"}
}
