package peering

import (
	"cmp"
	"strings"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// Facts is everything that a Plan follows from: the objects as they are written.
type Facts struct {
	Peers          []Peer
	Profiles       []Profile
	Communities    []Community
	Advertisements []Advertisement
	Secrets        []Secret
	Pools          []allocator.Pool
	Nodes          []allocator.Node

	// Before is the plan that is in effect; nil: none is known, as in a process that
	// has just started.
	Before *Plan
}

// An Object is what all of them have in common.
type Object struct {
	Name    string
	Created time.Time
	// Accepted: the published status says that this very definition is in use.
	Accepted bool
	// Problem: why the object cannot be read; it is refused. What could not be read
	// is left empty.
	Problem error
}

// before tells which of two objects stays when they cannot both be used.
func (o *Object) before(p *Object) int {
	if o.Accepted != p.Accepted {
		if o.Accepted {
			return -1
		}
		return 1
	}
	return cmp.Or(o.Created.Compare(p.Created), strings.Compare(o.Name, p.Name))
}

// A Peer is a BGPPeer.
type Peer struct {
	Object
	MyAS, PeerAS, LocalAS uint32 // 0: left out
	DynamicAS             string // internal, external or ""
	Address, Interface    string
	Source, RouterID      string
	Port                  uint16 // 0: 179
	VRF                   string

	HoldTime, Keepalive, Connect string // durations; "": left out

	NodeSelectors   []allocator.Selector // empty: every node
	Password        string
	PasswordSecret  string // name of a Secret
	Profile         string // name of a BFDProfile
	GracefulRestart bool
	Multihop        bool
	DualStack       bool
	TTLSecurity     string // of annotation AnnotationTTLSecurity
}

// A Profile is a BFDProfile. What is 0 was left out.
type Profile struct {
	Object
	Receive, Transmit int // ms
	Multiplier        int
	MinimumTTL        int
	Passive, Echo     bool
}

// A Community is a Community object: names for communities.
type Community struct {
	Object
	Aliases []Alias
}

// An Alias is a name for the value of a community.
type Alias struct{ Name, Value string }

// An Advertisement is a BGPAdvertisement.
type Advertisement struct {
	Object
	Pools            []string
	PoolSelectors    []allocator.Selector // with Pools empty too: every pool
	NodeSelectors    []allocator.Selector // empty: every node
	ServiceSelectors []allocator.Selector // empty: every Service
	Peers            []string             // empty: all
	Length4, Length6 int                  // 0: 32 and 128
	LocalPref        uint32
	Communities      []string // values and names of values
	Weighted         string   // of annotation AnnotationWeighted
}

// A Secret is one that holds a password, or that a peer names though it does not.
type Secret struct {
	Name     string
	Type     string
	Password string // its entry "password"
}

// SecretType is the type of the Secrets that hold passwords.
const SecretType = "kubernetes.io/basic-auth"

// Annotations on our objects; each is "true" or "false".
const (
	// On a BGPPeer: only packets that no router has forwarded are taken (RFC 5082).
	AnnotationTTLSecurity = "holdfast.dev/ttl-security"
	// On a BGPAdvertisement: routers are told how many endpoints a node has.
	AnnotationWeighted = "holdfast.dev/weighted"
)
