package speaker

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	pollUrgent  = 50 * time.Millisecond // a node is due and waits for the port
	pollCalm    = time.Second
	pollTimeout = time.Second
	pollsAtOnce = 16
)

// health asks healthCheckNodePorts on this very node until they answer 200.
// kube-proxy serves them, after it has programmed the node.
type health struct {
	healthy func(port uint16)
	client  http.Client
	change  chan struct{}
	slots   chan struct{}

	mu    sync.Mutex
	ports map[uint16]*poll
	addrs []netip.Addr // where kube-proxy may listen
}

type poll struct {
	urgent bool
	next   time.Time
	busy   bool
}

func newHealth(healthy func(port uint16)) *health {
	return &health{
		healthy: healthy, change: make(chan struct{}, 1), slots: make(chan struct{}, pollsAtOnce),
		ports: map[uint16]*poll{}, addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		client: http.Client{Timeout: pollTimeout, Transport: &http.Transport{
			Proxy: nil, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: pollTimeout}).DialContext,
		}},
	}
}

// at tells the addresses of this node. kube-proxy listens on those or, if so
// told, on loopback alone.
func (h *health) at(addrs []netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addrs = append(append([]netip.Addr(nil), addrs...), netip.MustParseAddr("127.0.0.1"))
}

// want makes ports the whole set of ports to poll.
func (h *health) want(ports map[uint16]bool) {
	h.mu.Lock()
	for port := range h.ports {
		if _, wanted := ports[port]; !wanted {
			delete(h.ports, port)
		}
	}
	for port, urgent := range ports {
		p := h.ports[port]
		if p == nil {
			p = &poll{}
			h.ports[port] = p
		}
		if urgent && !p.urgent {
			p.next = time.Time{}
		}
		p.urgent = urgent
	}
	h.mu.Unlock()
	select {
	case h.change <- struct{}{}:
	default:
	}
}

// run polls until ctx ends.
func (h *health) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.change:
		case <-timer.C:
		}
		for _, port := range h.due(time.Now()) {
			select {
			case h.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go h.poll(ctx, port)
		}
		timer.Reset(h.pause())
	}
}

// due returns the ports whose time has come, and marks them.
func (h *health) due(now time.Time) (ports []uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for port, p := range h.ports {
		if p.busy || now.Before(p.next) {
			continue
		}
		p.busy = true
		p.next = now.Add(pollCalm)
		if p.urgent {
			p.next = now.Add(pollUrgent)
		}
		ports = append(ports, port)
	}
	return ports
}

// pause is how long nothing is due.
func (h *health) pause() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case len(h.ports) == 0:
		return time.Hour
	default:
		return pollUrgent / 2
	}
}

func (h *health) poll(ctx context.Context, port uint16) {
	defer func() { <-h.slots }()
	h.mu.Lock()
	addrs := h.addrs
	h.mu.Unlock()
	ok := false
	for _, addr := range addrs {
		if ok = h.get(ctx, netip.AddrPortFrom(addr, port)); ok {
			break
		}
	}
	h.mu.Lock()
	if p := h.ports[port]; p != nil {
		p.busy = false
	}
	h.mu.Unlock()
	if ok {
		h.healthy(port)
	}
}

// get tells whether a health port answers 200.
func (h *health) get(ctx context.Context, at netip.AddrPort) bool {
	url := "http://" + net.JoinHostPort(at.Addr().String(), strconv.Itoa(int(at.Port()))) + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := h.client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	return response.StatusCode == http.StatusOK
}
