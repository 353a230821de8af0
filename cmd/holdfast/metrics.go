package main

import (
	"context"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	clientmetrics "k8s.io/client-go/tools/metrics"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller"
	"holdfast.dev/holdfast/layer2"
	"holdfast.dev/holdfast/speaker"
)

// newRegistry returns a registry with the figures of Go, of the process and of
// client-go.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "holdfast_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rest_client_requests_total", Help: "Requests to the API server, by status code and method.",
	}, []string{"code", "method"})
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "rest_client_request_duration_seconds", Help: "Duration of requests to the API server, by verb. Watches are not among them.",
		Buckets: []float64{.005, .025, .1, .25, 1, 5, 15, 60},
	}, []string{"verb"})
	r.MustRegister(build, requests, latency)
	clientmetrics.Register(clientmetrics.RegisterOpts{RequestResult: requestResult{requests}, RequestLatency: requestLatency{latency}})
	return r
}

type requestResult struct{ of *prometheus.CounterVec }

func (m requestResult) Increment(_ context.Context, code, method, _ string) {
	m.of.WithLabelValues(code, method).Inc()
}

type requestLatency struct{ of *prometheus.HistogramVec }

func (m requestLatency) Observe(_ context.Context, verb string, _ url.URL, took time.Duration) {
	m.of.WithLabelValues(verb).Observe(took.Seconds())
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("holdfast_"+name, help, labels, nil)
}

// What a copy tells of itself. What only the leader knows is absent elsewhere.
var (
	descLeader     = describe("leader", "1 on the copy that is elected, 0 elsewhere.")
	descServices   = describe("services", "Services of type LoadBalancer that are ours.")
	descHeld       = describe("pool_addresses_held", "Addresses of the pool that Services hold. Leader only.", "pool", "family")
	descAvailable  = describe("pool_addresses_available", "Addresses of the pool that are left. Leader only.", "pool", "family")
	descWaiting    = describe("services_waiting", "Services that hold no address, by the reason in their condition. Leader only.", "reason")
	descMoves      = describe("moves_total", "Addresses that Services took or left, by what was done and why.", "reason")
	descRefused    = describe("refused_steps_total", "Decisions that were not written, because they would have taken an address away without a cause. Each is a defect of holdfast: please report it with the log.")
	descWrites     = describe("api_writes_total", "Objects written to the API, by resource.", "resource")
	descWriteFails = describe("api_write_errors_total", "Writes to the API that did not succeed, by resource.", "resource")
	descEventsLost = describe("events_lost_total", "Events that were not sent, because too many waited.")
	descPlan       = describe("plan_seconds", "Time to decide which Service holds which address, after a change.")
	descPlace      = describe("place_seconds", "Time to decide which nodes may announce, after a change.")

	descSeats     = describe("addresses", "Addresses that some node may announce.")
	descAnnounced = describe("addresses_announced", "Addresses that this node answers for.")
	descMembers   = describe("members", "Other copies in sight.")
	descPeers     = describe("peers", "Other nodes of the cluster.")
	descAlone     = describe("alone", "1 while no majority of the nodes is in sight.")
	descChanges   = describe("address_changes_total", "What happened to addresses on this node, by kind and cause.", "change", "cause")
	descHandOver  = describe("hand_over_seconds", "Duration of hand-overs: from a node's being due to its announcement, as the taker and as the giver saw it, by cause.", "cause")
	descDeath     = describe("node_death_seconds", "For how long nodes had not answered when they were found dead by ICMP echoes and TCP handshakes.")
	descDecision  = describe("decision_seconds", "Duration of rounds of decision about what this node announces.")
	descGossipBad = describe("gossip_malformed_total", "Messages of other copies that made no sense.")
	descGossipErr = describe("gossip_send_errors_total", "Messages to other copies that could not be sent.")

	descAnswered   = describe("layer2_requests_answered_total", "ARP requests and neighbour solicitations answered.", "family")
	descGratuitous = describe("layer2_announcements_total", "Gratuitous ARP and unsolicited neighbour advertisement frames sent.", "family")
	descProbes     = describe("layer2_probes_total", "ARP probes and neighbour solicitations sent to ask whether a station has an address.", "family")
	descForeign    = describe("layer2_foreign_total", "Frames of other stations that claim an address that this node answers for, or asks for.", "family")
	descMalformed  = describe("layer2_malformed_total", "Frames that made no sense.", "family")
	descSendErrs   = describe("layer2_send_errors_total", "Frames that could not be sent.")
	descRecvErrs   = describe("layer2_receive_errors_total", "Reads of a socket that did not succeed.")
	descInterfaces = describe("layer2_interfaces", "Interfaces on which addresses are or can be answered.")
	descGroups     = describe("layer2_groups", "Solicited-node multicast groups joined.")
	descMissing    = describe("layer2_groups_missing", "Solicited-node multicast groups that could not be joined; tried again.")
)

// collector reads the figures of both halves when it is asked.
type collector struct{ *halves }

// Describe says nothing: which of the leader's figures there are changes.
func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	p := put(out)
	p.controller(c.halves.controller.Stats())
	s := c.halves.speaker.Stats()
	p.speaker(s)
	p.layer2(s.Layer2)
	p.peers(c.halves.speaker.Peers())
}

// put writes metrics.
type put chan<- prometheus.Metric

func (p put) gauge(d *prometheus.Desc, v float64, labels ...string) {
	p <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (p put) counter(d *prometheus.Desc, v uint64, labels ...string) {
	p <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (p put) flag(d *prometheus.Desc, v bool) {
	if v {
		p.gauge(d, 1)
	} else {
		p.gauge(d, 0)
	}
}

func (p put) families(d *prometheus.Desc, f layer2.Families) {
	p.counter(d, f.IPv4, "ipv4")
	p.counter(d, f.IPv6, "ipv6")
}

func (p put) durations(d *prometheus.Desc, all controller.Durations) {
	p <- prometheus.MustNewConstSummary(d, all.Count, all.Total.Seconds(), nil)
}

func (p put) histogram(d *prometheus.Desc, h speaker.Histogram, labels ...string) {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range speaker.Bounds {
		sum += h.Buckets[i]
		buckets[bound.Seconds()] = sum
	}
	p <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets, labels...)
}

func (p put) controller(s controller.Stats) {
	p.flag(descLeader, s.Leads)
	p.gauge(descServices, float64(s.Services))
	for pool, u := range s.Pools {
		p.pool(pool, u)
	}
	for code, n := range s.Waiting {
		p.gauge(descWaiting, float64(n), string(code))
	}
	for code, n := range s.Moves {
		p.counter(descMoves, n, string(code))
	}
	p.counter(descRefused, s.Refused)
	for resource, n := range s.Writes {
		p.counter(descWrites, n, resource)
	}
	for resource, n := range s.WriteErrors {
		p.counter(descWriteFails, n, resource)
	}
	p.counter(descEventsLost, s.EventsLost)
	p.durations(descPlan, s.Plan)
	p.durations(descPlace, s.Place)
}

func (p put) pool(name string, u allocator.Use) {
	p.gauge(descHeld, float64(u.Assigned4), name, "ipv4")
	p.gauge(descHeld, float64(u.Assigned6), name, "ipv6")
	p.gauge(descAvailable, float64(u.Available4), name, "ipv4")
	p.gauge(descAvailable, float64(u.Available6), name, "ipv6")
}

func (p put) speaker(s speaker.Stats) {
	p.gauge(descSeats, float64(s.Seats))
	p.gauge(descAnnounced, float64(s.Held))
	p.gauge(descMembers, float64(s.Members))
	p.gauge(descPeers, float64(s.Peers))
	p.flag(descAlone, s.Alone)
	for what, n := range s.Changes {
		p.counter(descChanges, n, string(what.Change), string(what.Cause))
	}
	for _, cause := range speaker.Causes {
		p.histogram(descHandOver, s.HandOvers[cause], string(cause))
	}
	p.histogram(descDeath, s.Deaths)
	p.histogram(descDecision, s.Decisions)
	p.counter(descGossipBad, s.Malformed)
	p.counter(descGossipErr, s.SendErrors)
}

func (p put) layer2(s layer2.Stats) {
	p.families(descAnswered, s.Answered)
	p.families(descGratuitous, s.Gratuitous)
	p.families(descProbes, s.Probes)
	p.families(descForeign, s.Heard)
	p.families(descMalformed, s.Malformed)
	p.counter(descSendErrs, s.SendErrors)
	p.counter(descRecvErrs, s.ReceiveErrors)
	p.gauge(descInterfaces, float64(s.Interfaces))
	p.gauge(descGroups, float64(s.Groups))
	p.gauge(descMissing, float64(s.Missing))
}
