package controller

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

// eventAPI takes Events and nothing else.
type eventAPI struct {
	t     *testing.T
	taken chan *corev1.Event
}

func (a *eventAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	o, _, err := codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil || r.Method != http.MethodPost {
		a.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		return nil, io.ErrUnexpectedEOF
	}
	e := o.(*corev1.Event)
	if want := "/api/v1/namespaces/" + e.InvolvedObject.Namespace + "/events"; r.URL.Path != want {
		a.t.Errorf("posted to %s, the object is at %s", r.URL.Path, want)
	}
	a.taken <- e
	answer, err := json.Marshal(e)
	return &http.Response{
		StatusCode: http.StatusCreated, Request: r, Body: io.NopCloser(bytes.NewReader(answer)), Header: http.Header{"Content-Type": {"application/json"}},
	}, err
}

// What only a node can see of a session is said on the BGPPeer, where kubectl describe
// looks for it: by UID, in the namespace of the object.
func TestSessionsAreSaidOnThePeer(t *testing.T) {
	api := &eventAPI{t, make(chan *corev1.Event, 10)}
	c, err := New(Config{
		REST: &rest.Config{Host: "http://api", Transport: api}, Node: "n1", Namespace: "ours", Log: slog.New(slog.DiscardHandler),
		Placed: func(allocator.Placement, map[string][]netip.Addr) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	go c.events.run(t.Context())
	router := netip.MustParseAddr("10.0.0.1")
	c.SessionUp("tor1", router, 64501) // which is not known yet
	peer := &v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor1", Namespace: "ours", UID: "4711", ResourceVersion: "5"}}
	web := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "4712", ResourceVersion: "6"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	for kind, o := range map[string]any{"bgppeers": peer, "services": web} {
		if err := c.store(kind).Add(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, say := range []struct {
		event               func()
		kind, uid           string
		reason, text, level string
	}{
		{func() { c.SessionUp("tor1", router, 64501) }, "BGPPeer", "4711",
			"SessionUp", `node "n1" has a BGP session with router 10.0.0.1, AS 64501`, "Normal"},
		{func() { c.SessionDown("tor1", router, "hold timer expired: nothing heard for 9s") }, "BGPPeer", "4711",
			"SessionDown", `the BGP session of node "n1" with router 10.0.0.1 has ended: hold timer expired: nothing heard for 9s`, "Warning"},
		{func() { c.SessionFailing("tor1", netip.Addr{}, "no router advertisement heard on eth1") }, "BGPPeer", "4711",
			"SessionFailing", `node "n1" has no BGP session with its router, which has not been found yet, and tries again: no router advertisement heard on eth1`, "Warning"},
		{func() { c.SessionIncomplete("tor1", router, "eth1 has no global IPv6 address") }, "BGPPeer", "4711",
			"SessionIncomplete", `node "n1" does not advertise everything to router 10.0.0.1: eth1 has no global IPv6 address`, "Warning"},
		{func() { c.BFDFailing("tor1", router, "UDP port 3784 is taken") }, "BGPPeer", "4711",
			"BFDFailing", `BFD of node "n1" with router 10.0.0.1 does not work: UDP port 3784 is taken`, "Warning"},
		{func() {
			c.Unproven(netip.MustParseAddr("192.0.2.1"), []allocator.ServiceName{{Namespace: "shop", Name: "web"}}, 30*time.Second)
		}, "Service", "4712",
			"notProvenToServe", `node "n1" advertises 192.0.2.1 by BGP without proof that it serves it: no spec.healthCheckNodePort of the Services there has answered 200 for 30s. ` +
				`Does kube-proxy, or what takes its place, serve that port on the node, and may the node connect to itself?`, "Warning"},
	} {
		say.event()
		e := <-api.taken
		version := map[string]string{"BGPPeer": "metallb.io/v1beta2", "Service": "v1"}[say.kind]
		if o := e.InvolvedObject; o.Kind != say.kind || o.APIVersion != version || string(o.UID) != say.uid {
			t.Errorf("%s: about %+v", say.reason, o)
		}
		if e.Reason != say.reason || e.Message != say.text || e.Type != say.level || e.Source.Host != "n1" {
			t.Errorf("said %s %s by %s: %s\nand should be %s %s: %s", e.Type, e.Reason, e.Source.Host, e.Message, say.level, say.reason, say.text)
		}
	}
}
