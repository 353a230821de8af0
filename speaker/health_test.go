package speaker

import (
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// server answers on a health port of one address, with a status that tests set.
func (p healthPort) serve(t *testing.T, at string) *atomic.Int32 {
	t.Helper()
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(at), p.port)))
	if err != nil {
		t.Fatal(err)
	}
	status := new(atomic.Int32)
	status.Store(http.StatusServiceUnavailable)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return status
}

// kube-proxy programs the families one after the other: each port speaks for its
// own family, and for the other one only where that has no listener for long.
func TestEachFamilySpeaksForItself(t *testing.T) {
	answered := make(chan healthPort, 1000)
	h := newHealth(func(p healthPort) { answered <- p })
	go h.run(t.Context())
	v4, v6 := healthPort{port: 31000}, healthPort{port: 31000, six: true}
	status4, status6 := v4.serve(t, "127.0.0.1"), v6.serve(t, "::1")
	h.want(map[healthPort]bool{v4: true, v6: true})
	expect := func(want healthPort, not healthPort) {
		t.Helper()
		for {
			select {
			case got := <-answered:
				if got == not {
					t.Fatalf("%v is called healthy", got)
				}
				if got == want {
					return
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%v is never called healthy", want)
			}
		}
	}
	status6.Store(http.StatusOK)
	expect(v6, v4)
	status4.Store(http.StatusOK)
	expect(v4, healthPort{})
	lone := healthPort{port: 31001}
	lone.serve(t, "127.0.0.1").Store(http.StatusOK)
	start := time.Now()
	lone.six = true
	h.want(map[healthPort]bool{lone: true})
	expect(lone, healthPort{})
	if waited := time.Since(start); waited < alone {
		t.Errorf("a family without a listener is served after %s", waited)
	}
}

// Many ports share a budget: none is asked more often than there is time for all.
func TestPollsAreRationed(t *testing.T) {
	h := newHealth(func(healthPort) {})
	ports := map[healthPort]bool{}
	for i := range 5000 {
		ports[healthPort{port: uint16(30000 + i)}] = true
	}
	h.want(ports)
	now := time.Now()
	if due, _ := h.due(now); len(due) != len(ports) {
		t.Fatalf("%d are due at first", len(due))
	}
	for _, p := range h.ports {
		p.busy = false
	}
	if due, pause := h.due(now.Add(4 * time.Second)); len(due) != 0 || pause != time.Second {
		t.Errorf("after 4 s %d are due, then for %s none", len(due), pause)
	}
}
