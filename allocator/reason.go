package allocator

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A Code names a reason: stable, for conditions, metric labels and scripts.
type Code string

// Why a Service holds what it holds, or does not. Warning tells those about which
// the operator has something to do.
const (
	Held     Code = "Held"     // holds what it asks for
	Given    Code = "Given"    // takes an address
	Joined   Code = "Joined"   // takes an address that others hold under its sharing key
	Returned Code = "Returned" // takes back an address where a seat was kept for it
	Moved    Code = "Moved"    // holds a new address beside the old one, which goes after the overlap
	Released Code = "Released" // leaves an address
	Restored Code = "Restored" // takes back an address that is recorded and that its status lost

	PoolLost     Code = "PoolLost"     // no pool holds the address any more, or its pool no longer accepts the Service
	Disagreement Code = "Disagreement" // those that share the address carry different sharing keys
	PortClash    Code = "PortClash"    // another Service on the address had the port first
	SeatKept     Code = "SeatKept"     // left because of a clash, may return
	OtherWanted  Code = "OtherWanted"  // the Service asks for another address
	FamilyGone   Code = "FamilyGone"   // the Service has no cluster IP of that family any more
	Surplus      Code = "Surplus"      // holds more than one address of a family
	Overwritten  Code = "Overwritten"  // somebody else wrote the address into the status

	NoClusterIP  Code = "NoClusterIP"
	BadRequest   Code = "BadRequest"
	UnknownPool  Code = "UnknownPool"
	PoolRefused  Code = "PoolRefused" // the pool object itself is refused
	NotAccepted  Code = "NotAccepted" // serviceAllocation does not let the Service in
	NotInPool    Code = "NotInPool"   // the address named is in no pool, or not in the pool named
	AddressTaken Code = "AddressTaken"
	// InUseElsewhere: a node, spec.externalIPs or the API server uses the address, or no
	// host can. Who is to get it does not; who holds it keeps it.
	InUseElsewhere   Code = "InUseElsewhere"
	QuotaReached     Code = "QuotaReached"     // the namespace has as many addresses of the pool as it may
	NamespaceUnknown Code = "NamespaceUnknown" // a pool selects by the labels of the namespace, which are not known yet
	NoPool           Code = "NoPool"           // no pool serves Services that name none
	PoolFull         Code = "PoolFull"
	FamilyMissing    Code = "FamilyMissing" // there is no address of the second family that is preferred
)

// Why a Service that holds an address is not announced, or not from everywhere.
const (
	Announced       Code = "Announced"
	NoEndpoints     Code = "NoEndpoints"
	NoAdvertisement Code = "NoAdvertisement"
	NoNode          Code = "NoNode"    // no usable node that the advertisements select
	NotServed       Code = "NotServed" // the Services on the address meet on no node, and others were chosen

	Conflicting   Code = "ConflictingAdvertisements" // two say different things of the same prefix to the same peer
	Aggregated    Code = "AdvertisedInAggregate"     // by nodes that do not serve it too
	BadAnnotation Code = "BadAnnotation"             // it is not heeded
)

// Warning tells whether the reason asks for the operator's attention.
func (c Code) Warning() bool {
	switch c {
	case Held, Given, Joined, Returned, Restored, Moved, Released, OtherWanted, FamilyGone, Surplus, FamilyMissing, NamespaceUnknown, Announced:
		return false
	}
	return true
}

// Served tells whether the Service is announced nonetheless, where the reason is
// one that Place gives.
func (c Code) Served() bool {
	return c == Announced || c == Conflicting || c == Aggregated || c == BadAnnotation
}

// A Reason is why a decision is as it is.
type Reason struct {
	Code   Code
	Addr   netip.Addr    // which address it is about
	Others []ServiceName // with whom, three at most
	More   int           // how many others there are beside
	Pool   string
	Ports  []Port    // four at most, of which the last stands for more
	Until  time.Time // when time alone will change it
	Why    Code      // for Moved and Released: what made it so; for a settling address: zero
	Detail string    // for BadRequest and the like: what is wrong and what to do

	// TakenOver, for PoolLost: it is in no pool, and none is known to have given it.
	TakenOver bool
}

// String is one sentence for people.
func (r Reason) String() string {
	switch r.Code {
	case Held:
		return fmt.Sprintf("holds %s", r.Addr) + r.from()
	case Given:
		return fmt.Sprintf("is given %s", r.Addr) + r.from()
	case Joined:
		return fmt.Sprintf("joins %s on %s", list(r.Others, r.More), r.Addr) + r.from()
	case Returned:
		return fmt.Sprintf("returns to %s", r.Addr)
	case Restored:
		return fmt.Sprintf("takes back %s, which is recorded for it and was lost from its status", r.Addr)
	case Moved:
		return fmt.Sprintf("moves away from %s (%s); it is held until %s", r.Addr, r.Why.explain(), r.until())
	case Released:
		return fmt.Sprintf("leaves %s (%s)", r.Addr, r.Why.explain())
	case PoolLost, Disagreement:
		return r.settling()
	case SeatKept:
		if len(r.Others) == 0 {
			return fmt.Sprintf("waits to return to %s, which no pool gives it now; the seat is kept until %s", r.Addr, r.until())
		}
		if len(r.Ports) == 0 {
			return fmt.Sprintf("waits to return to %s, which is held by or kept for %s; the seat is kept until %s", r.Addr, list(r.Others, r.More), r.until())
		}
		return fmt.Sprintf("waits to return to %s, where %s %s %s; the seat is kept until %s", r.Addr, list(r.Others, r.More), have(r.Others, r.More), ports(r.Ports), r.until())
	case AddressTaken:
		return fmt.Sprintf("cannot have %s%s", r.Addr, detail(r.Detail))
	case FamilyMissing:
		return fmt.Sprintf("has no second address%s", detail(r.Detail))
	case NoEndpoints:
		return fmt.Sprintf("has no ready endpoint: requests to its ports on %s are not answered; check its pods and its selector", r.Addr)
	case NoAdvertisement:
		if r.Pool == "" {
			return fmt.Sprintf("%s is not announced: it is in no pool in holdfast's namespace; create one that has it", r.Addr)
		}
		return fmt.Sprintf("%s is not announced for this Service: no L2Advertisement and no BGPAdvertisement selects pool %s and this Service", r.Addr, r.Pool)
	case NoNode:
		return fmt.Sprintf("%s is not announced for this Service%s", r.Addr, detail(r.Detail))
	case NotServed:
		if r.Detail != "" {
			return fmt.Sprintf("is not served on %s: it is announced for %s %s, who came first, from nodes of which not all serve this Service; "+
				"give this Service an address of its own, or externalTrafficPolicy Cluster", r.Addr, list(r.Others, r.More), r.Detail)
		}
		return fmt.Sprintf("is not served on %s: no node may answer for it and for %s too; such a node needs a ready endpoint of each Service with externalTrafficPolicy Local, and for each an advertisement that selects it; provide one, or give this Service an address of its own", r.Addr, list(r.Others, r.More))
	}
	return r.Detail
}

func (r Reason) settling() string {
	if r.TakenOver { // it may move, and is never without
		if r.Until.IsZero() {
			return fmt.Sprintf("keeps %s, which is in no pool here; create a pool with it", r.Addr)
		}
		return fmt.Sprintf("keeps %s, which is in no pool here; at %s it moves to another address if a pool has one for it; to stay, create a pool with it before", r.Addr, r.until())
	}
	what := "that address is in no pool any more"
	then := "it then moves to another address, or has none if no pool has one for it"
	do := "put the address back into a pool"
	if r.Code == Disagreement {
		what = "it has no sharing key in common with " + list(r.Others, r.More)
		then = "it stays after all if no pool has another address for it"
		do = "give all the same key"
	} else if r.Pool != "" {
		what = fmt.Sprintf("pool %s does not accept this Service", r.Pool)
		do = "let the pool accept it (spec.serviceAllocation)"
	}
	if r.Detail != "" {
		return fmt.Sprintf("stays on %s although %s, for it has nowhere to go: %s; to end this, %s", r.Addr, what, r.Detail, do)
	}
	if r.Until.IsZero() {
		return fmt.Sprintf("stays on %s although %s (--settle is never); to end this, %s", r.Addr, what, do)
	}
	return fmt.Sprintf("leaves %s at %s, because %s; %s; to stay, %s before", r.Addr, r.until(), what, then, do)
}

// explain says in a few words what made an address go.
func (c Code) explain() string {
	switch c {
	case PoolLost:
		return "no pool gives it to this Service any more"
	case Disagreement:
		return "those that share it carry different keys"
	case PortClash:
		return "another Service had the port first"
	case OtherWanted:
		return "another one is asked for"
	case FamilyGone:
		return "the Service has no cluster IP of its family"
	case Surplus:
		return "one of a family is enough"
	case Overwritten:
		return "it was written into the status by somebody else"
	}
	return string(c)
}

func (r Reason) until() string {
	if r.Until.IsZero() {
		return "something changes"
	}
	return r.Until.UTC().Format("2006-01-02 15:04:05 MST")
}

func (r Reason) from() string {
	if r.Pool == "" {
		return ""
	}
	return " from pool " + r.Pool
}

func detail(d string) string {
	if d == "" {
		return ""
	}
	return ": " + d
}

// list names Services, and counts the rest.
func list(names []ServiceName, more int) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(n.String())
	}
	if more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

func have(names []ServiceName, more int) string {
	if len(names)+more == 1 {
		return "has"
	}
	return "have"
}

func ports(ps []Port) string {
	var b strings.Builder
	for i, p := range ps {
		if i == mostNamed {
			b.WriteString(" and more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s/%d", p.Protocol, p.Number)
	}
	return b.String()
}
