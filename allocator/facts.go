package allocator

import (
	"net/netip"
	"time"
)

// A ServiceName names a Service.
type ServiceName struct{ Namespace, Name string }

// String returns namespace/name.
func (n ServiceName) String() string { return n.Namespace + "/" + n.Name }

// Compare orders names by namespace, then name.
func (n ServiceName) Compare(m ServiceName) int {
	if n.Namespace != m.Namespace {
		if n.Namespace < m.Namespace {
			return -1
		}
		return 1
	}
	switch {
	case n.Name < m.Name:
		return -1
	case n.Name > m.Name:
		return 1
	}
	return 0
}

// A Family is an address family.
type Family uint8

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of an address. An IPv4-mapped IPv6 address must
// be unmapped before (netip.Addr.Unmap).
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// String returns IPv4 or IPv6.
func (f Family) String() string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}

// A FamilyPolicy is a Service's spec.ipFamilyPolicy.
type FamilyPolicy uint8

// The three policies.
const (
	SingleStack FamilyPolicy = iota
	PreferDualStack
	RequireDualStack
)

// A Port is one protocol and port that a Service claims on each of its addresses.
type Port struct {
	Protocol string // TCP, UDP or SCTP
	Number   uint16
}

// A Service is what the allocator needs to know of a Service of type
// LoadBalancer: what its user wants, and what has been published for it.
type Service struct {
	Name    ServiceName
	UID     string
	Created time.Time

	// Foreign: the Service is of another load balancer (spec.loadBalancerClass).
	// What it holds is taken, and nothing else is done about it.
	Foreign bool

	Labels         map[string]string
	Annotations    map[string]string // only those that the constants below name are read
	LoadBalancerIP string            // spec.loadBalancerIP
	FamilyPolicy   FamilyPolicy
	Families       []Family // of its cluster IPs, the primary one first
	Ports          []Port
	Local          bool   // spec.externalTrafficPolicy is Local
	Selector       string // spec.selector in a canonical form; "" when it has none
	HealthPort     uint16 // spec.healthCheckNodePort, 0 when it has none

	// Holds are the addresses in status.loadBalancer.ingress, in that order.
	Holds []netip.Addr
	// Record is what was last published about the Service beside its addresses.
	Record Record
}

// A Pool is an IPAddressPool.
type Pool struct {
	Name    string
	Created time.Time
	Labels  map[string]string
	// Accepted: the published status says that this very definition has been
	// accepted before. Among pools that overlap, accepted ones stay.
	Accepted bool

	Addresses     []string // CIDRs and ranges, as written
	AutoAssign    bool
	AvoidBuggyIPs bool
	Allocation    *Allocation // spec.serviceAllocation; nil when absent

	AcrossNamespaces bool // a sharing key counts in all namespaces alike
	MaxPerNamespace  int  // how many of its addresses Services of one namespace may be given; 0: no limit
}

// An Allocation says which Services a pool accepts.
type Allocation struct {
	Priority           int // lower first; 0 or less is last
	Namespaces         []string
	NamespaceSelectors []Selector
	ServiceSelectors   []Selector
}

// An Advertisement is an L2Advertisement.
type Advertisement struct {
	Name             string
	Pools            []string
	PoolSelectors    []Selector // with Pools empty too: every pool
	NodeSelectors    []Selector // empty: every node
	ServiceSelectors []Selector // empty: every Service
	Interfaces       []string   // empty: every interface
	Preferences      []Preference
}

// A Preference adds weight to the nodes that it selects.
type Preference struct {
	Weight   int // 1 to 100
	Selector Selector
}

// A Node is what eligibility needs to know of a Node.
type Node struct {
	Name        string
	Labels      map[string]string
	Addresses   []netip.Addr // internal addresses; peers are found there
	InUse       []netip.Addr // every address that its status names: no Service is given one
	Excluded    bool         // carries LabelExclude, and that label is not ignored
	Unreachable bool         // condition NetworkUnavailable is true
}

// usable tells whether a node may announce anything.
func (n Node) usable() bool { return !n.Excluded && !n.Unreachable }

// Endpoints is one EndpointSlice, reduced to counts per node.
type Endpoints struct {
	Service ServiceName
	Slice   string // name of the slice, in the Service's namespace
	Nodes   []NodeEndpoints
}

// NodeEndpoints counts the endpoints of one slice on one node.
type NodeEndpoints struct {
	Node        string // "" for endpoints that are on no node
	Ready       int
	Terminating int // serving while terminating
}

// InUse says that addresses are used by something that is no Service of ours: no
// Service is given one.
type InUse struct {
	By      string      // what uses them, as a part of a sentence, for example "spec.externalIPs of Service shop/web"
	Service ServiceName // the Service that names them itself, and may ask for them by name; zero: none
	Addrs   []netip.Addr
}

// A Namespace carries the labels that namespace selectors look at.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Never as a Settings.Settle: a Service that must leave is never moved by time alone.
const Never time.Duration = -1

// Settings are the operator's flags that the allocator follows.
type Settings struct {
	Settle  time.Duration // how long a change that takes an address away waits to be undone; Never: for ever
	Overlap time.Duration // how long old and new address are held together

	// AcrossNamespaces: a sharing key counts in all namespaces alike, whatever the
	// pool says.
	AcrossNamespaces bool
	// LedSince is since when there has been a leader without a pause. While nobody
	// led, no time has passed for what is in flight.
	LedSince time.Time
}

// Names of annotations and labels.
const (
	// Before MetalLB's annotations. Where one is there under both, metallb.io/ wins.
	PrefixMetalLB    = "metallb.io/"
	PrefixMetalLBOld = "metallb.universe.tf/"

	// MetalLB's annotations, without prefix.
	AnnotationAddresses = "loadBalancerIPs"        // comma-separated, one address a family
	AnnotationPool      = "address-pool"           // name of the pool to take from
	AnnotationShare     = "allow-shared-ip"        // the sharing key
	AnnotationFromPool  = "ip-allocated-from-pool" // written, not read

	// On a Service, Local: announce it as if its externalTrafficPolicy were Local.
	AnnotationAnnounceAs = "holdfast.dev/announce-as"

	// On an IPAddressPool: a sharing key counts in all namespaces alike ("true"), and
	// how many of its addresses Services of one namespace may be given.
	AnnotationAcross = "holdfast.dev/share-across-namespaces"
	AnnotationQuota  = "holdfast.dev/max-per-namespace"

	LabelExclude = "node.kubernetes.io/exclude-from-external-load-balancers" // on a Node: announce nothing from it
)
