package controller

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// Config says what a copy is and to whom it tells what it finds.
type Config struct {
	REST      *rest.Config
	Node      string // name of the Node that this copy runs on
	Namespace string // our own: pools, advertisements, the Lease and the key are here

	LBClass            string // Services of this spec.loadBalancerClass are ours; "": those without a class
	IgnoreExcludeLabel bool   // nodes that are excluded from external load balancers announce all the same
	Settings           allocator.Settings

	// The election. A leader that cannot renew stops writing RenewDeadline after
	// it sent its last renewal, and is replaced LeaseDuration after that was seen.
	LeaseDuration time.Duration // whole seconds; 0: 15 s
	RenewDeadline time.Duration // shorter than LeaseDuration; 0: two thirds of it
	RenewPeriod   time.Duration // pause between renewals; 0: a fifth of LeaseDuration
	RetryPeriod   time.Duration // pause after an attempt that did not succeed; 0: a fifteenth of LeaseDuration

	// PodName and PodUID are this copy's pod, with which the objects that it writes
	// about itself are removed. May be empty.
	PodName, PodUID string

	Log *slog.Logger

	// Placed is told who may announce what, on every copy, from one goroutine:
	// first everything, then what differs, with the internal addresses of all
	// nodes. It must not wait for anything.
	Placed func(placement allocator.Placement, peers map[string][]netip.Addr)
	// Sessions is told the BGP sessions of this node, from the same goroutine: first
	// all of them, once every kind has been listed, then all of them whenever one
	// differs, and before the placement that follows from the same change. It must not
	// wait for anything. May be nil.
	Sessions func([]peering.Session)
	// Announced tells what this node answers for now, where that may have changed since
	// it was last asked, or with whole all of it. May be nil: then nobody is told by
	// ServiceL2Status objects.
	Announced func(whole bool) Announced
	// Advertised tells likewise what this node advertises by BGP now. May be nil: then
	// nobody is told by ServiceBGPStatus objects.
	Advertised func(whole bool) map[allocator.ServiceName]allocator.Report
	// Gateways tells the next hops of this node's routes, which no Service is given. May
	// be nil.
	Gateways func() ([]netip.Addr, error)
	// Established tells which of this node's BGP sessions are established. May be nil:
	// then the leader counts what the node advertises as heard.
	Established func() []Session
	// Key is told the key of the gossip: 16, 24 or 32 bytes. May be nil.
	Key func([]byte)
}

func (c *Config) complete() error {
	if c.REST == nil || c.Log == nil || c.Placed == nil {
		return errors.New("controller: REST, Log and Placed must be given")
	}
	if c.Node == "" || c.Namespace == "" {
		return errors.New("controller: the names of the node and of the namespace must be given (NODE_NAME, NAMESPACE)")
	}
	if c.LeaseDuration == 0 {
		c.LeaseDuration = 15 * time.Second
	}
	if c.RenewDeadline == 0 {
		c.RenewDeadline = c.LeaseDuration * 2 / 3
	}
	if c.RenewPeriod == 0 {
		c.RenewPeriod = c.LeaseDuration / 5
	}
	if c.RetryPeriod == 0 {
		c.RetryPeriod = c.LeaseDuration / 15
	}
	return nil
}
