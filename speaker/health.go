package speaker

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	pollUrgent  = 10 * time.Millisecond // a node is due and waits for the port
	pollCalm    = time.Second
	pollEach    = time.Millisecond // where there are many ports, between any two
	pollTimeout = time.Second
	pollsAtOnce = 16
	// alone is how long one family's port must have answered until the other one's,
	// on which nobody listens, is taken for served as well: there is one listener
	// for both, or kube-proxy was told to listen on no address of that family.
	alone = 2 * time.Second
)

// A healthPort is a healthCheckNodePort as it is served for one family: kube-proxy
// programs IPv4 and IPv6 one after the other, and answers for each by itself.
type healthPort struct {
	port uint16
	six  bool
}

// health asks healthCheckNodePorts on this very node until they answer 200.
// kube-proxy serves them, after it has programmed the node.
type health struct {
	healthy func(port healthPort)
	client  http.Client
	change  chan struct{}
	slots   chan struct{}

	mu    sync.Mutex
	ports map[healthPort]*poll
	addrs []netip.Addr // where kube-proxy may listen
}

type poll struct {
	urgent bool
	next   time.Time
	busy   bool
	other  time.Time // since when only the other family's port answers; zero: it does not
}

func newHealth(healthy func(port healthPort)) *health {
	h := &health{
		healthy: healthy, change: make(chan struct{}, 1), slots: make(chan struct{}, pollsAtOnce),
		ports: map[healthPort]*poll{},
		client: http.Client{Timeout: pollTimeout, Transport: &http.Transport{
			Proxy: nil, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: pollTimeout}).DialContext,
		}},
	}
	h.at(nil)
	return h
}

// at tells the addresses of this node. kube-proxy listens on those or, if so
// told, on loopback alone.
func (h *health) at(addrs []netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addrs = append(append([]netip.Addr(nil), addrs...), netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback())
}

// want makes ports the whole set of ports to poll.
func (h *health) want(ports map[healthPort]bool) {
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
		due, pause := h.due(time.Now())
		for _, port := range due {
			select {
			case h.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go h.poll(ctx, port)
		}
		timer.Reset(pause)
	}
}

// due returns the ports whose time has come, and marks them; and how long none is.
func (h *health) due(now time.Time) (ports []healthPort, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fair, pause := time.Duration(len(h.ports))*pollEach, time.Hour
	for port, p := range h.ports {
		if !p.busy && !now.Before(p.next) {
			p.busy = true
			p.next = now.Add(max(pollCalm, fair))
			if p.urgent {
				p.next = now.Add(max(pollUrgent, fair))
			}
			ports = append(ports, port)
		}
		pause = min(pause, max(pollUrgent, p.next.Sub(now)))
	}
	return ports, pause
}

func (h *health) poll(ctx context.Context, port healthPort) {
	defer func() { <-h.slots }()
	ok, silent := h.ask(ctx, port)
	other := false
	if silent {
		other, _ = h.ask(ctx, healthPort{port.port, !port.six})
	}
	h.mu.Lock()
	if p := h.ports[port]; p != nil {
		p.busy = false
		switch now := time.Now(); {
		case !other:
			p.other = time.Time{}
		case p.other.IsZero():
			p.other = now
		default:
			ok = now.Sub(p.other) >= alone
		}
	}
	h.mu.Unlock()
	if ok {
		h.healthy(port)
	}
}

// ask tells whether a port answers 200 on an address of its family, and whether
// nobody listens there at all.
func (h *health) ask(ctx context.Context, port healthPort) (ok, silent bool) {
	h.mu.Lock()
	addrs := h.addrs
	h.mu.Unlock()
	silent = true
	for _, addr := range addrs {
		if addr.Is6() != port.six {
			continue
		}
		status, err := h.get(ctx, netip.AddrPortFrom(addr, port.port))
		if status == http.StatusOK {
			return true, false
		}
		nobody := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENETUNREACH)
		silent = silent && nobody
	}
	return false, silent
}

// get returns the status that a health port answers with.
func (h *health) get(ctx context.Context, at netip.AddrPort) (status int, err error) {
	url := "http://" + net.JoinHostPort(at.Addr().String(), strconv.Itoa(int(at.Port()))) + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := h.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	return response.StatusCode, nil
}
