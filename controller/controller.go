package controller

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/lease"
)

// LeaseName is the name of the Lease, in our own namespace.
const LeaseName = "holdfast"

// A Controller is one copy's side towards the Kubernetes API.
type Controller struct {
	Config
	clients   *clients
	belief    *belief
	sources   []source
	events    *recorder
	l2status  *statuses[*v1beta1.ServiceL2Status]
	bgpstatus *statuses[*v1beta1.ServiceBGPStatus]
	strangers *strangers
	sight     sight
	listen    func(context.Context) *nodeReports // watchReports
	stats     *counters
	gate      *gate
	clock     *apiClock
	rollback  *rollback
	guards    []*guard // of the sources, in their order
	election  lease.Config
	plan      func(*allocator.Snapshot, time.Time) allocator.Planned // allocator.Plan

	key []byte // the last one given on; used by the loop only
}

// New checks the configuration and makes a Controller that does nothing yet.
func New(config Config) (*Controller, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	c := &Controller{Config: config, stats: newCounters(), clock: newAPIClock(), gate: newGate(), plan: allocator.Plan}
	var err error
	if c.clients, err = newClients(c.clock.heard(config.REST)); err != nil {
		return nil, err
	}
	c.belief = newBelief(options{class: config.LBClass, ignoreExclude: config.IgnoreExcludeLabel, namespace: config.Namespace})
	c.sources = sources(c.clients, c.belief, config.Namespace)
	c.rollback = newRollback(config.Log)
	for i := range c.sources {
		s := &c.sources[i]
		s.lists = heed(s.lists, &outage{kind: s.kind, log: config.Log, absent: c.absent(s.kind, i)})
		c.guards = append(c.guards, c.rollback.guard(s.kind, s.lists, s.store))
	}
	c.events = newRecorder(c.clients.core, config.Node, config.Log, c.stats)
	c.events.gate = c.gate
	c.l2status = newL2Status(config, c.clients.metallb, c.stats)
	c.bgpstatus = newBGPStatus(config, c.clients.metallb, c.stats)
	c.l2status.gate, c.bgpstatus.gate = c.gate, c.gate
	c.l2status.sighted, c.listen = c.sight.sees, c.watchReports
	c.strangers = newStrangers(config, c.clients.core, c.belief)
	leases := newLeaseAPI(c.clients.coordination, config.Namespace, c.stats, config.Log, c.rollback)
	c.election = lease.Config{
		API: leases, Now: c.clock.Now, Restored: leases.restored,
		Namespace: config.Namespace, Name: LeaseName,
		// A process that is started anew must not be taken for the old one.
		Identity: config.Node + "_" + strings.ToLower(rand.Text()[:10]),
		Duration: config.LeaseDuration, Fence: config.RenewDeadline,
		Renew: config.RenewPeriod, Retry: config.RetryPeriod, Log: config.Log,
	}
	return c, c.election.Check()
}

// Run watches, places and, while this copy is elected, publishes, until the
// context is done. It then lets the writes under way end and gives the Lease
// back, which takes [Config.RenewDeadline] at most.
func (c *Controller) Run(ctx context.Context) error {
	// The watches and the loop outlive the election: what a term's last writes
	// did is still learned.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	for i, s := range c.sources {
		tasks.Go(func() { c.guards[i].follow(watching, s.expected) })
	}
	tasks.Go(func() { c.events.run(watching) })
	tasks.Go(func() { c.l2status.run(ctx) })
	tasks.Go(func() { c.bgpstatus.run(ctx) })
	tasks.Go(func() { c.strangers.run(watching) })
	tasks.Go(func() { c.followGateways(watching) })
	tasks.Go(func() {
		c.rollback.each(watching, func() { c.l2status.doubt(); c.bgpstatus.doubt() })
	})
	tasks.Go(func() { c.loop(watching) })
	select {
	case <-ctx.Done():
		return nil
	case <-c.belief.ready: // who does not know the cluster does not stand
	}
	if err := lease.Run(ctx, c.election, c.lead); err != nil {
		return fmt.Errorf("taking part in the election: %w", err)
	}
	return nil
}

// Ready tells what this copy still waits for; nil once it knows the cluster.
func (c *Controller) Ready() error {
	if kinds := c.belief.missing(); len(kinds) > 0 {
		return fmt.Errorf("not listed yet: %s", strings.Join(kinds, ", "))
	}
	return nil
}

// Stats returns this copy's figures.
func (c *Controller) Stats() Stats {
	s := c.stats.snapshot()
	s.Synced = c.Ready() == nil
	c.belief.mu.Lock()
	s.Services = c.belief.ours
	c.belief.mu.Unlock()
	return s
}

// Assigned says, by an Event on each of the Services, that this node now announces
// their address by a protocol, layer2 or bgp.
func (c *Controller) Assigned(addr netip.Addr, services []allocator.ServiceName, protocol string) {
	c.tell(services, saying{
		reason: eventNode, text: fmt.Sprintf("announcing from node %q with protocol %q: %s", c.Node, protocol, addr),
	})
}

// Announcing says that what [Config.Announced] returns has changed.
func (c *Controller) Announcing() { c.l2status.wake() }

// Advertising says that what [Config.Advertised] or [Config.Established] returns has changed.
func (c *Controller) Advertising() { c.bgpstatus.wake() }

// Stranded says likewise that this node is to answer for an address and has none
// of the interfaces; without any named, none that is up.
func (c *Controller) Stranded(addr netip.Addr, services []allocator.ServiceName, interfaces []string) {
	text := fmt.Sprintf("node %q cannot announce %s: it has no interface that is up", c.Node, addr)
	if len(interfaces) > 0 {
		text = fmt.Sprintf("node %q cannot announce %s: it has no interface %s that is up, and the advertisements name no other; "+
			"correct spec.interfaces of the L2Advertisement, or keep the node out by spec.nodeSelectors", c.Node, addr, strings.Join(interfaces, " or "))
	}
	c.tell(services, saying{warning: true, reason: eventUnserved, text: text})
}

// Contested says likewise that another station claims an address that this node
// answers for.
func (c *Controller) Contested(addr netip.Addr, services []allocator.ServiceName, iface, mac string) {
	c.tell(services, saying{warning: true, reason: eventConflict, text: fmt.Sprintf("another station, %s, claims %s on interface %s of node %q, which announces it: "+
		"clients may reach either. Take the address away from that station, or out of the pool", mac, addr, iface, c.Node)})
}

// Used says likewise that this node does not announce an address because another
// station, which is no node, answers for it already.
func (c *Controller) Used(addr netip.Addr, services []allocator.ServiceName, iface, mac string) {
	c.tell(services, saying{warning: true, reason: eventUnserved, text: fmt.Sprintf("%s is not announced: another station, %s, which is no node of the cluster, answers for it on interface %s of node %q. "+
		"Take the address away from that station, or out of the pool; it is asked again every 10 s (--announce-used announces it all the same)", addr, mac, iface, c.Node)})
}

func (c *Controller) tell(services []allocator.ServiceName, what saying) {
	c.belief.mu.Lock()
	defer c.belief.mu.Unlock()
	for _, n := range services {
		if s, ok := c.belief.services.items[n]; ok {
			c.events.say(event{of: n, uid: s.fact.uid, what: what})
		}
	}
}

// absent returns what to do when a kind is not there; nil where it must be.
func (c *Controller) absent(kind string, guard int) func() {
	if !optional(kind) {
		return nil
	}
	return func() {
		c.belief.mu.Lock()
		c.belief.listedFirst(kind)
		c.belief.mu.Unlock()
		c.rollback.done(c.guards[guard]) // what was believed of it stays
	}
}

// lead is what a leader does for a term. It tells whether the outcome of all that
// it wrote is known. When the term is done nothing more is sent, and lead returns as
// soon as what was sent has been answered and the step of the plan under way has ended.
//
// When the API's storage turns out to have gone back, it returns before the term
// has ended: what the term has planned and not written is forgotten with it, and the
// next one, soon after, begins by reading everything.
func (c *Controller) lead(term *lease.Term) bool {
	proven := c.rollback.proven()
	if !c.readAll(term) {
		return true
	}
	select {
	case <-c.belief.planned:
	case <-proven:
		return true
	case <-term.Done():
		return true
	}
	t := newTenure(c, term)
	reading, stop := context.WithCancel(context.Background())
	defer stop()
	t.announcing.reports = c.listen(reading)
	defer c.sight.follow(nil)
	c.stats.count(func(s *Stats) { s.Leads = true })
	over, planning := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(planning)
		t.run(over)
	}()
	select {
	case <-proven:
	case <-term.Done():
	}
	close(over)
	settled := t.publisher.stop()
	<-planning
	c.stats.count(func(s *Stats) { s.Leads, s.Pools, s.Waiting = false, nil, nil })
	return settled
}

// readAll reads everything that plans follow from, as it is now: what the watches
// have shown may be older than the last writes of the leader before.
// The addresses of the API servers are not read: they are in one of a hundred thousand
// EndpointSlices, and have been listed once.
func (c *Controller) readAll(term *lease.Term) bool {
	for i, s := range c.sources {
		for s.plans {
			ctx, cancel := term.Context(writeLimit)
			err := c.guards[i].read(ctx)
			cancel()
			if err == nil {
				break
			}
			c.Log.Warn("a leader must read all before it plans, and could not", "kind", s.kind, "err", err)
			select {
			case <-term.Done():
				return false
			case <-time.After(time.Second):
			}
		}
	}
	return term.Held()
}
