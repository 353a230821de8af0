package script

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// reroutes are the changes of routes in the kernels of the routers, as they were heard.
type reroutes struct {
	mu     sync.Mutex
	events []event
}

// watchRouters begins to listen to the routers' kernels, once, until the scenario ends.
func (r *run) watchRouters(ctx context.Context) error {
	if r.rerouted != nil {
		return nil
	}
	r.rerouted = &reroutes{}
	for _, name := range r.lab.Routers() {
		m, err := startMonitor(r.api.ctx, r.lab.NetworkFile(name), "route")
		if err != nil {
			return err
		}
		go r.rerouted.collect(r.api.ctx, m)
	}
	return ctx.Err()
}

func (h *reroutes) collect(ctx context.Context, m *monitor) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-m.events:
			h.mu.Lock()
			h.events = append(h.events, e)
			h.mu.Unlock()
		}
	}
}

// of returns when a router's route to an address changed.
func (h *reroutes) of(addr netip.Addr) (at []time.Time) {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if mentions(e.text, netip.PrefixFrom(addr, addr.BitLen())) {
			at = append(at, e.at)
		}
	}
	return at
}
