package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/layer2"
	"holdfast.dev/holdfast/speaker"
)

// defaultHealth is --health-address.
const defaultHealth = "127.0.0.1:17472"

// flags are what the operator of holdfast sets. Every one has a range, and a
// value out of it is refused with the range.
type flags struct {
	node, namespace string
	podName, podUID string

	settle        settle
	overlap       time.Duration
	lbClass       string
	ignoreExclude bool
	across        bool

	times   speaker.Times
	gossip  speaker.Gossip
	exclude []string

	leaseDuration, renewDeadline, renewPeriod, retryPeriod time.Duration

	bgpPort    uint16
	bgpRestart time.Duration

	health, metrics string

	logLevel  slog.Level
	logFormat string
}

// add declares the flags, with the environment's defaults.
func (f *flags) add(set *pflag.FlagSet, getenv func(string) string) {
	f.settle = settle(30 * time.Second)
	set.SortFlags = false
	set.StringVar(&f.node, "node", getenv("NODE_NAME"), "name of the Node that this copy runs on; without the flag, the environment's NODE_NAME")
	set.StringVar(&f.namespace, "namespace", getenv("NAMESPACE"), "namespace of holdfast itself: pools, advertisements, the Lease and the key of the gossip are there; without the flag, the environment's NAMESPACE")

	set.StringVar(&f.podName, "pod-name", getenv("POD_NAME"), "name of the pod of this copy, with which its ServiceL2Status objects are removed; without the flag, the environment's POD_NAME; \"\": they stay")
	set.StringVar(&f.podUID, "pod-uid", getenv("POD_UID"), "UID of that pod; without the flag, the environment's POD_UID")

	set.Var(&f.settle, "settle", "how long a change that would take an address away from a Service waits to be completed or undone: 0s to 24h, or never")
	set.DurationVar(&f.overlap, "overlap", 30*time.Second, "how long a Service that moves holds the old address beside the new one: 1s to 24h")
	set.StringVar(&f.lbClass, "lb-class", "", "serve the Services of this spec.loadBalancerClass only; without it, those that have none")
	set.BoolVar(&f.across, "share-across-namespaces", false,
		"a sharing key counts in all namespaces alike, as in MetalLB, whatever the pools say (annotation "+allocator.AnnotationAcross+")")
	set.BoolVar(&f.ignoreExclude, "ignore-exclude-label", false, "announce also from nodes labelled "+allocator.LabelExclude)

	set.DurationVar(&f.times.Dwell, "dwell", 2*time.Second, "how long a node that becomes eligible waits before it takes an address over from one that serves, where no health check port tells that it serves too: 100ms to 1m. The pod's terminationGracePeriodSeconds must be at least 5s longer")
	set.DurationVar(&f.times.Start, "look-around", 2*time.Second, "how long a copy that has just started waits at most for what the others claim: 100ms to 1m")
	set.StringArrayVar(&f.exclude, "exclude-interface", nil, "regular expression of interface names on which nothing is announced unless an advertisement names the interface; may be repeated, and then takes the place of the built-in list ("+builtin()+"); \"\" excludes none")

	set.DurationVar(&f.times.Drain, "bgp-drain", 3*time.Second, "how long BGP routers that know GRACEFUL_SHUTDOWN (RFC 8326) have to prefer other nodes, before this one withdraws a route that it still serves, because the node is drained, holdfast is removed, or an advertisement is changed: 0s (withdraw at once) to 1m. The pod's terminationGracePeriodSeconds must be longer")
	set.DurationVar(&f.bgpRestart, "bgp-restart-time", 120*time.Second, "how long BGP routers with graceful restart (RFC 4724) keep the routes of a node whose holdfast does not come back, as when it is rebooted without the kubelet's graceful node shutdown: 1s to 4095s, in whole seconds. It must be longer than the restart or the upgrade of a pod takes")
	set.Uint16Var(&f.bgpPort, "bgp-listen-port", 0, "TCP port on which BGP routers may connect, 179 as a rule; 0: only holdfast connects, and leaves the port to another BGP daemon of the node")

	set.BoolVar(&f.times.TakeUsed, "announce-used", false, "announce an address also if a machine that is no node of the cluster answers for it already")
	set.BoolVar(&f.times.Rebalance, "rebalance", false, "let a node take addresses over, one a second, from another one that announces clearly more; without it, a node that comes back gets only what is new")

	set.IntVar(&f.gossip.Port, "gossip-port", 7946, "TCP and UDP port on which the copies talk to each other, encrypted: 1 to 65535, the same on all nodes")
	set.DurationVar(&f.gossip.ProbeInterval, "gossip-probe-interval", 200*time.Millisecond, "time between two probes of another node: 50ms to 10s")
	set.DurationVar(&f.gossip.ProbeTimeout, "gossip-probe-timeout", 100*time.Millisecond, "how long the answer to a probe may take: 10ms to the interval")
	set.IntVar(&f.gossip.SuspicionMult, "gossip-suspicion-mult", 2, "how many probe intervals a node that does not answer is suspected before it is taken for dead, times the decimal logarithm of the number of nodes above 10: 1 to 20")
	set.DurationVar(&f.gossip.Grace, "gossip-grace", time.Second, "how long a node whose copy does not answer keeps its addresses while its kernel does: 100ms to 1m. A copy that is only short of CPU is back by then")

	set.DurationVar(&f.gossip.Echo.Interval, "echo-interval", 50*time.Millisecond, "time between two ICMP echo requests to another node, by which its death is noticed: 10ms to 10s. When one is not answered, they come ten times as fast. Each node asks three others, however many there are")
	set.DurationVar(&f.gossip.Echo.Timeout, "echo-timeout", 150*time.Millisecond, "how long a node's kernel may leave all echo requests and TCP handshakes unanswered, before the node is taken for dead: 50ms to 1m. At least 18 requests must be unanswered")

	set.DurationVar(&f.leaseDuration, "lease-duration", 15*time.Second, "how long a leader that cannot renew its Lease keeps others from leading: 2s to 10m, in whole seconds")
	set.DurationVar(&f.renewDeadline, "lease-renew-deadline", 0, "after which time without a renewal a leader writes nothing more: less than --lease-duration; 0s: two thirds of it")
	set.DurationVar(&f.renewPeriod, "lease-renew-period", 0, "time between two renewals: less than --lease-renew-deadline; 0s: a fifth of --lease-duration")
	set.DurationVar(&f.retryPeriod, "lease-retry-period", 0, "time after which an attempt at the Lease that did not succeed is repeated; 0s: a fifteenth of --lease-duration")

	set.StringVar(&f.health, "health-address", defaultHealth, "address and port of /healthz, /readyz and /peers")
	set.StringVar(&f.metrics, "metrics-address", ":17473", "address and port of /metrics, in the format of Prometheus; \"\": none. If the port is taken, it is tried again every 10s")

	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	set.StringVar(&f.logFormat, "log-format", "text", "text or json")
}

// check refuses what is out of range.
func (f *flags) check() error {
	var all []error
	refuse := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	within := func(name string, v, low, high time.Duration) {
		if v < low || v > high {
			refuse("--%s=%s is out of range: %s to %s", name, v, brief(low), brief(high))
		}
	}
	if f.node == "" {
		refuse("the name of the node is missing: set --node, or NODE_NAME from the downward API (spec.nodeName)")
	}
	if f.namespace == "" {
		refuse("the name of holdfast's own namespace is missing: set --namespace, or NAMESPACE from the downward API (metadata.namespace)")
	}
	within("overlap", f.overlap, time.Second, 24*time.Hour)
	within("dwell", f.times.Dwell, 100*time.Millisecond, time.Minute)
	within("look-around", f.times.Start, 100*time.Millisecond, time.Minute)
	within("bgp-drain", f.times.Drain, 0, time.Minute)
	within("bgp-restart-time", f.bgpRestart, time.Second, 4095*time.Second)
	if f.bgpRestart%time.Second != 0 {
		refuse("--bgp-restart-time=%s is not a whole number of seconds, and BGP cannot say anything else", f.bgpRestart)
	}
	if f.gossip.Port < 1 || f.gossip.Port > 65535 {
		refuse("--gossip-port=%d is out of range: 1 to 65535", f.gossip.Port)
	}
	within("gossip-probe-interval", f.gossip.ProbeInterval, 50*time.Millisecond, 10*time.Second)
	within("gossip-probe-timeout", f.gossip.ProbeTimeout, 10*time.Millisecond, f.gossip.ProbeInterval)
	if f.gossip.SuspicionMult < 1 || f.gossip.SuspicionMult > 20 {
		refuse("--gossip-suspicion-mult=%d is out of range: 1 to 20", f.gossip.SuspicionMult)
	}
	within("gossip-grace", f.gossip.Grace, 100*time.Millisecond, time.Minute)
	within("echo-interval", f.gossip.Echo.Interval, 10*time.Millisecond, 10*time.Second)
	within("echo-timeout", f.gossip.Echo.Timeout, 50*time.Millisecond, time.Minute)
	within("lease-duration", f.leaseDuration, 2*time.Second, 10*time.Minute)
	if f.leaseDuration%time.Second != 0 {
		refuse("--lease-duration=%s is not a whole number of seconds, and a Lease cannot hold anything else", f.leaseDuration)
	}
	for name, v := range map[string]time.Duration{"lease-renew-deadline": f.renewDeadline, "lease-renew-period": f.renewPeriod, "lease-retry-period": f.retryPeriod} {
		if v < 0 || v >= f.leaseDuration {
			refuse("--%s=%s is out of range: 0s (for the default), or less than --lease-duration=%s", name, v, f.leaseDuration)
		}
	}
	for name, v := range map[string]string{"health-address": f.health, "metrics-address": f.metrics} {
		if err := checkListen(v); err != nil && !(v == "" && name == "metrics-address") {
			refuse("--%s=%q: %w", name, v, err)
		}
	}
	if _, err := f.excluded(); err != nil {
		all = append(all, err)
	}
	if f.logFormat != "text" && f.logFormat != "json" {
		refuse("--log-format=%q is neither text nor json", f.logFormat)
	}
	return errors.Join(all...)
}

// excluded compiles the expressions; nil means the built-in list.
func (f *flags) excluded() ([]*regexp.Regexp, error) {
	if f.exclude == nil {
		return nil, nil
	}
	all := []*regexp.Regexp{}
	for _, text := range f.exclude {
		if text == "" {
			continue
		}
		r, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("--exclude-interface=%q: %w", text, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func builtin() string {
	var all []string
	for _, r := range layer2.DefaultExclude {
		all = append(all, r.String())
	}
	return strings.Join(all, " ")
}

// checkListen accepts what net.Listen would, with numbers for names.
func checkListen(v string) error {
	if strings.HasPrefix(v, ":") {
		v = "0.0.0.0" + v
	}
	if a, err := netip.ParseAddrPort(v); err != nil || a.Port() == 0 {
		return errors.New(`write it as 127.0.0.1:17472, [::1]:17472 or :17472`)
	}
	return nil
}

// settle is a duration, or never.
type settle time.Duration

func (s *settle) String() string {
	if time.Duration(*s) == allocator.Never {
		return "never"
	}
	return brief(time.Duration(*s))
}

func (s *settle) Type() string { return "duration" }

func (s *settle) Set(text string) error {
	if text == "never" {
		*s = settle(allocator.Never)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > 24*time.Hour {
		return errors.New("want 0s to 24h, or never")
	}
	*s = settle(d)
	return nil
}

// brief writes 24h for 24h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
