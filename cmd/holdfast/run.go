package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller"
	"holdfast.dev/holdfast/layer2"
	"holdfast.dev/holdfast/speaker"
)

func runCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "run",
		Short: "run this node's copy, until SIGTERM or SIGINT",
		Long: `Run this node's copy: announce the addresses of its share and, while elected,
decide which Service holds which address.

It talks to the API server as the pod that it is. On SIGTERM or SIGINT it hands
its addresses over, gives the Lease back and exits with 0; a second signal ends
it at once. BGP routers with graceful restart keep its routes for the copy that
follows, others are asked to prefer other nodes first. If no copy will follow (the
node goes down, is deleted, excluded or no longer selected, or the DaemonSet is
deleted), all are asked to, and then the routes are withdrawn. It exits with 1 when
it cannot go on (it says why), and with 2 when a flag or the environment is wrong.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return usage(err)
			}
			config, err := rest.InClusterConfig()
			if err != nil {
				return usage(fmt.Errorf("finding the API server: %w (holdfast runs as a pod of the cluster that it serves)", err))
			}
			config.UserAgent = "holdfast/" + version
			return run(c.Context(), f, config, newLog(f, c.ErrOrStderr()))
		},
	}
	f.add(c.Flags(), os.Getenv)
	return c
}

func newLog(f flags, to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: f.logLevel}
	if f.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}

// halves are the two halves of a copy, and what joins them: what the controller
// finds goes to the speaker, and what the speaker does comes back as Events.
type halves struct {
	controller *controller.Controller
	speaker    *speaker.Speaker
}

func join(f flags, api *rest.Config, log *slog.Logger) (*halves, error) {
	exclude, err := f.excluded()
	if err != nil {
		return nil, err
	}
	var h halves
	h.speaker = speaker.New(speaker.Config{
		Node: f.node, Log: log, Exclude: exclude, Times: f.times, Gossip: f.gossip, Listen: f.bgpPort, RestartTime: f.bgpRestart,
		Notify:      h.notify,
		Session:     h.session,
		Announcing:  func() { h.controller.Announcing() },
		Advertising: func() { h.controller.Advertising() },
	})
	h.controller, err = controller.New(controller.Config{
		REST: api, Node: f.node, Namespace: f.namespace,
		LBClass: f.lbClass, IgnoreExcludeLabel: f.ignoreExclude,
		Settings:      allocator.Settings{Settle: time.Duration(f.settle), Overlap: f.overlap, AcrossNamespaces: f.across},
		LeaseDuration: f.leaseDuration, RenewDeadline: f.renewDeadline, RenewPeriod: f.renewPeriod, RetryPeriod: f.retryPeriod,
		PodName: f.podName, PodUID: f.podUID,
		Log:       log,
		Announced: h.announced,
		Placed: func(p allocator.Placement, peers map[string][]netip.Addr) {
			h.speaker.SetPeers(peers)
			h.speaker.Set(p)
		},
		Advertised:  h.speaker.Advertised,
		Established: h.established,
		Sessions:    h.speaker.SetSessions,
		Key:         h.speaker.SetKey,
		Gateways:    layer2.Gateways,
	})
	return &h, err
}

// notify makes Events of what happens to addresses on this node.
func (h *halves) notify(n speaker.Notice) {
	switch n.Change {
	case speaker.Announced, speaker.Joined:
		h.controller.Assigned(n.Addr, n.Services, "layer2")
	case speaker.Advertised:
		h.controller.Assigned(n.Addr, n.Services, "bgp")
	case speaker.Unproven:
		h.controller.Unproven(n.Addr, n.Services, n.Took)
	case speaker.Stranded:
		h.controller.Stranded(n.Addr, n.Services, n.Interfaces)
	case speaker.Contested:
		h.controller.Contested(n.Addr, n.Services, n.Interface, n.MAC)
	case speaker.Used:
		h.controller.Used(n.Addr, n.Services, n.Interface, n.MAC)
	}
}

// session makes Events of what changes of the sessions with BGP routers.
func (h *halves) session(n speaker.SessionNotice) {
	switch n.Change {
	case speaker.SessionUp:
		h.controller.SessionUp(n.Peer, n.Router, n.AS)
	case speaker.SessionDown:
		h.controller.SessionDown(n.Peer, n.Router, n.Reason)
	case speaker.SessionFailing:
		h.controller.SessionFailing(n.Peer, n.Router, n.Reason)
	case speaker.SessionIncomplete:
		h.controller.SessionIncomplete(n.Peer, n.Router, n.Reason)
	case speaker.BFDFailing:
		h.controller.BFDFailing(n.Peer, n.Router, n.Reason)
	}
}

// announced is what this node answers for, by Service.
func (h *halves) announced(whole bool) (out controller.Announced) {
	services, sight := h.speaker.Announced(whole)
	out.Services = services
	if sight != nil {
		out.InSight = make(map[string]bool, len(sight))
	}
	for _, node := range sight {
		out.InSight[node] = true
	}
	return out
}

// established are the BGP sessions by which routers hear this node.
func (h *halves) established() (all []controller.Session) {
	for _, p := range h.speaker.Hearers() {
		all = append(all, controller.Session{Peer: p.Name, IPv4: p.IPv4, IPv6: p.IPv6})
	}
	return all
}

// part hands over what this node announces. BGP sessions are left to end silently,
// so that routers with graceful restart keep the routes for the copy that follows,
// unless none will; routers that would not keep them are told before.
func (h *halves) part(ctx context.Context, log *slog.Logger) {
	var both sync.WaitGroup
	both.Go(func() {
		if err := h.speaker.Yield(ctx); err != nil {
			log.Warn("not everything was handed over", "err", err)
		}
	})
	if why := h.controller.Ends(ctx); why != "" {
		log.Info("no copy follows on this node", "cause", why)
		h.speaker.Withdraw(ctx, why)
	} else {
		h.speaker.Pause(ctx)
	}
	both.Wait()
}

// run is the life of a copy. Its end is in this order: hand over, which needs the
// controller to tell who can take what; then give the Lease back and fall silent.
func run(ctx context.Context, f flags, api *rest.Config, log *slog.Logger) error {
	controller.LogKubernetes(log)
	registry := newRegistry()
	h, err := join(f, api, log)
	if err != nil {
		return usage(err)
	}
	registry.MustRegister(collector{h})
	told, forget := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer forget()

	health, err := newHealth(f.health, h)
	if err != nil {
		return err
	}
	log.Info("starts", "version", version, "node", f.node)

	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	task := func(name string, run func(context.Context) error) {
		tasks.Go(func() {
			if err := run(life); err != nil {
				end(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	task("announcing", h.speaker.Run)
	task("following the cluster", h.controller.Run)
	task("serving /healthz and /readyz", health.run)
	if f.metrics != "" {
		task("serving /metrics", func(ctx context.Context) error { return serveMetrics(ctx, f.metrics, registry, log) })
	}
	select {
	case <-told.Done():
		forget() // the next signal ends the process
		log.Info("ends: hands over what it announces")
		h.part(life, log)
		end(nil)
	case <-life.Done():
	}
	tasks.Wait()
	if err := context.Cause(life); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("ended")
	return nil
}
