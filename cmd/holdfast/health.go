package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// headerTimeout is how long a client may take for its request's head.
const headerTimeout = 5 * time.Second

// health serves /healthz, which answers 200 while the loops of this copy turn,
// and /readyz, which answers 200 when it knows the cluster and what the other
// copies claim, and so can take addresses over, and when its BGP routers know what
// it advertises, or had time enough to connect. On /peers it tells people how the
// BGP sessions stand.
type health struct {
	listener net.Listener
	server   *http.Server
}

func newHealth(address string, h *halves) (*health, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serving /healthz and /readyz: %w; is another copy running on this node? (--health-address)", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/healthz", verdict(h.alive))
	mux.Handle("/readyz", verdict(h.ready))
	mux.HandleFunc("/peers", h.servePeers)
	return &health{listener, &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}}, nil
}

func (h *health) run(ctx context.Context) error { return serve(ctx, h.server, h.listener) }

func verdict(check func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := check(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

func (h *halves) alive(ctx context.Context) error { return h.speaker.Alive(ctx) }

func (h *halves) ready(ctx context.Context) error {
	if err := h.alive(ctx); err != nil {
		return err
	}
	if err := h.controller.Ready(); err != nil {
		return err
	}
	if !h.speaker.Stats().Settled {
		return errors.New("still waits for what the other copies claim")
	}
	return h.speaker.Routed()
}

// serveMetrics serves /metrics. Announcing must not end because a port is taken,
// so it tries again.
func serveMetrics(ctx context.Context, address string, registry *prometheus.Registry, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	for warned := false; ; {
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return serve(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}, listener)
		}
		if !warned {
			log.Warn("no metrics: the port cannot be had; tried again every 10s (--metrics-address)", "err", err)
			warned = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
		}
	}
}

// serve serves until the context is done.
func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
