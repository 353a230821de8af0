package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// server is an API server that knows Services and plays connections one after another:
// each is what one watch gets before it breaks.
type server struct {
	items       []corev1.Service
	version     string
	connections chan []string
	asked       chan string // the versions that watches began at
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") == "" {
		list := corev1.ServiceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"},
			ListMeta: metav1.ListMeta{ResourceVersion: s.version}, Items: s.items}
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	s.asked <- r.URL.Query().Get("resourceVersion")
	select {
	case events := <-s.connections:
		for _, e := range events {
			fmt.Fprintln(w, e)
		}
		w.(http.Flusher).Flush()
	case <-r.Context().Done():
	}
}

const tooOld = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"too old"}}`

func event(kind, version, name string, addresses ...string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`, kind, mustEncode(serviceObject(version, name, addresses...)))
}

func serviceObject(version, name string, addresses ...string) corev1.Service {
	s := corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: version},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Protocol: "TCP", Port: 80}}}}
	for _, a := range addresses {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return s
}

func mustEncode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func follow(t *testing.T, s *server) *History {
	t.Helper()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	scheme := runtime.NewScheme()
	must(t, corev1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	client, err := rest.RESTClientFor(&rest.Config{Host: web.URL, APIPath: "/api", ContentConfig: rest.ContentConfig{
		GroupVersion: &corev1.SchemeGroupVersion, NegotiatedSerializer: serializer.NewCodecFactory(scheme).WithoutConversion()}})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	h, listed, ended := &History{}, make(chan bool), make(chan error, 1)
	go func() { ended <- h.Follow(ctx, client, func() { close(listed) }) }()
	t.Cleanup(func() { // before the server is closed, which waits for connections
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-listed
	return h
}

// Invariant 1: a watch goes on where it broke off.
func TestFollowGoesOnWhereItBrokeOff(t *testing.T) {
	s := &server{items: []corev1.Service{serviceObject("5", "a", "10.0.0.1")}, version: "7", connections: make(chan []string, 9), asked: make(chan string, 9)}
	s.connections <- []string{event("MODIFIED", "8", "a"), event("MODIFIED", "9", "a", "10.0.0.1")}
	s.connections <- []string{event("DELETED", "12", "a", "10.0.0.1")}
	from := time.Now().Add(-time.Minute)
	h := follow(t, s)
	for _, want := range []string{"7", "9", "12"} {
		if got := <-s.asked; got != want {
			t.Errorf("watched from version %s, want %s", got, want)
		}
	}
	states := h.States("default/a", from, time.Now())
	if len(states) != 5 || !states[0].Gone || !states[1].Has(netip.MustParseAddr("10.0.0.1")) || len(states[2].Addresses) != 0 ||
		!states[3].Has(netip.MustParseAddr("10.0.0.1")) || !states[4].Gone {
		t.Errorf("%+v", states)
	}
	check(t, h.whole(from, time.Now()), "")
}

// Invariant 1: what cannot be continued is a gap, and nothing is proved over it.
func TestFollowAdmitsAGap(t *testing.T) {
	s := &server{items: []corev1.Service{serviceObject("5", "a", "10.0.0.1")}, version: "7", connections: make(chan []string, 9), asked: make(chan string, 9)}
	s.connections <- []string{tooOld}
	s.connections <- nil
	h := follow(t, s)
	from := time.Now()
	<-s.asked
	<-s.asked // after another list, in which nothing is new
	check(t, h.NeverWithoutAddress("default/a", from, time.Now()), "")
	s.items[0].ResourceVersion = "8"
	<-s.asked // of the connection that broke
	s.connections <- []string{tooOld}
	<-s.asked
	check(t, h.NeverWithoutAddress("default/a", from, time.Now()), "may be missing")
}
