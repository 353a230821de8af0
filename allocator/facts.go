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
	// Record is what an earlier leader wrote on the Service for its successors.
	Record Record
}

// A Record is what a leader writes on a Service (annotation RecordAnnotation, as
// JSON, in the same write as the status), so that the next one carries on where
// it stopped. Times are UTC, in whole milliseconds.
type Record struct {
	// Ports the Service had when it was last decided about: whoever has a port
	// that is not in its record brought the clash. Only for a Service that shares
	// or could share (it has a sharing key).
	Ports []Port `json:"ports,omitempty"`
	// Pools tell for each address that is held, or where a seat is kept, the pool it
	// came from, so that one whose pool object is gone or broken keeps its
	// advertisements.
	Pools []PoolMark `json:"pools,omitempty"`
	// Settling: addresses that will be left unless something changes.
	Settling []Timer `json:"settling,omitempty"`
	// Overlap: addresses that have been replaced and are held a little longer.
	Overlap []Timer `json:"overlap,omitempty"`
	// Kept: addresses that were left because of a port clash, where a seat is
	// kept for the Service.
	Kept []Timer `json:"kept,omitempty"`
}

// A PoolMark says from which pool an address was taken.
type PoolMark struct {
	Addr   netip.Addr        `json:"addr"`
	Pool   string            `json:"pool"`
	Labels map[string]string `json:"labels,omitempty"` // of the pool object, for pool selectors
}

// A Timer is a matter in flight: it began then, for that reason.
type Timer struct {
	Addr  netip.Addr `json:"addr"`
	Code  Code       `json:"code"`
	Since time.Time  `json:"since"`
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

	RecordAnnotation = "holdfast.dev/hold"                                       // on a Service: its Record
	LabelExclude     = "node.kubernetes.io/exclude-from-external-load-balancers" // on a Node: announce nothing from it
)
