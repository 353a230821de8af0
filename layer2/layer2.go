// Package layer2 answers ARP and NDP for a set of addresses on the interfaces
// of this node, and announces them when they arrive.
//
// It decides which frames go on the wire: for a set of addresses that somebody
// else decided ([Announcer.Set]) and the interfaces as they are right now
// (netlink), it replies to requests, sends gratuitous announcements, asks whether
// a station has an address that is not in the set ([Announcer.Probe]), and
// reports when another station claims one of the addresses. The addresses
// need not be, and normally are not, configured on any interface: this package
// never touches the configuration of the kernel, and asks of it no more than
// CAP_NET_RAW.
//
// # Invariants
//
//  1. No frame claims an address that is not in the set, or claims it on an
//     interface that its entry does not name. What Set took out is silent when
//     Set returns, but for a frame that was already being sent.
//  2. Every well-formed request for an address in the set is answered, once,
//     with the hardware address that the interface has now: broadcast, multicast
//     and unicast requests (neighbour unreachability probes), with or without a
//     source link-layer option, ARP probes (RFC 5227 §2.1.1) and duplicate
//     address detection (RFC 4862 §5.4.3). An announcement made by somebody else
//     is not a request: it is never answered, but reported (Config.Heard).
//  3. An address is announced on an interface when it is new there: it came
//     with Set, its entry gained the interface, or the interface itself came
//     up, came back or got another hardware address. An address that stays, on
//     an interface that stays, is announced again every 4 minutes and not
//     otherwise, however often Set is called.
//  4. Set replaces the whole set at one instant: no address that is in the old
//     and in the new set is unanswered in between. Set does not wait for the
//     wire, for netlink or for Run.
//  5. Interfaces do not disturb each other: an error on one is logged, counted
//     and tried again, and the others go on.
//  6. Config.Heard is never called for a frame of this node, whichever of its
//     interfaces sent it.
//  7. A question (Probe) claims nothing, and is asked only for addresses that are
//     not in the set.
//
// # On the wire
//
// ARP is RFC 826, announcements follow RFC 5227 §2.3 in the two forms that
// Linux neighbours take at once: a request, and a reply whose target hardware
// address is the sender's own. (With any other target Linux ignores the reply
// for one second after the last change.) NDP is RFC 4861 §7.2: solicited
// advertisements with S and O, unsolicited ones with O to all nodes, both sent
// from the address itself as a host does that has it. Solicited-node groups
// (RFC 4291 §2.7.1) are joined through the kernel so that switches which snoop
// MLD learn of them.
//
// Announcements go out at 0, 20 and 40 ms and at 1, 2, 4 and 8 s, and then every
// 4 minutes. They are paced, so that thousands of addresses do not overrun a transmit queue.
//
// # Left to others
//
// Who owns an address, when to hand it over and what to do about a station
// that claims it too (speaker); that packets for the address lead anywhere
// (kube-proxy).
package layer2

import (
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"time"
)

// Entry is one address to answer for.
type Entry struct {
	// Addr is an IPv4 or IPv6 unicast address. A zone is ignored, an
	// IPv4-mapped address is taken as IPv4.
	Addr netip.Addr
	// Interfaces are the names of the interfaces to answer on, in any order.
	// Empty means every usable interface that Config.Exclude does not match; an
	// interface that is named here is used even if Config.Exclude matches it.
	// Names of interfaces that do not exist (yet) are no error.
	Interfaces []string
}

// Config is what an Announcer is made of. The zero value works.
type Config struct {
	// Log gets changes of interfaces at Info, refused addresses and errors at
	// Warn, frames at Debug. Nil discards.
	Log *slog.Logger
	// Exclude keeps interfaces whose name matches any of it from entries that
	// name no interface. Nil means DefaultExclude, empty excludes nothing.
	Exclude []*regexp.Regexp
	// Heard, if set, is called when another station announces or answers one
	// of the addresses in the set, or one that is being asked for (Probe): an ARP packet of either operation with the
	// address as its sender, or a neighbour advertisement for it. iface is the
	// interface it was heard on, mac the hardware address it claims (the
	// callee may keep it). Calls come one at a time, in the order of the
	// frames; while one takes long, later ones queue up and are dropped (and
	// counted) beyond 1,024. Answers do not wait for it, and it may call Set.
	Heard func(addr netip.Addr, iface string, mac net.HardwareAddr)
	// Announced, if set, is called when the first gratuitous frame for an
	// address that Set brought has been sent, with the interface that it went
	// out on: once for each time the address comes, not for its further
	// interfaces, rounds and re-announcements. It is called from Run and must
	// not block; it may call Set.
	Announced func(addr netip.Addr, iface string)
	// Changed, if set, is called after an interface came into use or went out of
	// it, became usable or stopped being it (Usable), or got another hardware
	// address. It is called from Run and must not block; it may call Set.
	Changed func()
}

// DefaultExclude matches the interfaces that container runtimes, CNI plugins
// and kube-proxy make, and loopback: the list that MetalLB ships.
var DefaultExclude = compile(
	`^docker.*`, `^cbr.*`, `^dummy.*`, `^virbr.*`, `^lxcbr.*`, `^veth.*`, `^lo$`,
	`^cali.*`, `^tunl.*`, `^flannel.*`, `^kube-ipvs.*`, `^cni.*`, `^nodelocaldns.*`, `^lxc.*`,
)

func compile(patterns ...string) []*regexp.Regexp {
	all := make([]*regexp.Regexp, len(patterns))
	for i, p := range patterns {
		all[i] = regexp.MustCompile(p)
	}
	return all
}

// Status is the state of one address.
type Status struct {
	Addr netip.Addr
	// Interfaces are the names of the interfaces that it has been announced on
	// and is answered on now, sorted. Empty: not yet, or none is usable.
	Interfaces []string
	// Since is when its first gratuitous frame was sent; zero if none was.
	Since time.Time
}

// Stats are counters since New, and gauges. Fields that count frames count
// each frame once.
type Stats struct {
	Answered   Families // requests answered
	Gratuitous Families // announcement frames sent
	Probes     Families // probes sent
	Heard      Families // frames of other stations that claim an address of the set
	Malformed  Families // frames that passed the filter and made no sense

	HeardDropped  uint64 // calls of Config.Heard left out because it was too slow
	ReceiveErrors uint64 // failed reads
	SendErrors    uint64 // frames that could not be sent, answers and announcements
	Resyncs       uint64 // times that the interfaces were listed anew

	Addresses  int // in the set
	Interfaces int // open: usable, up or waiting for their carrier
	Sockets    int // open, of all kinds
	Groups     int // solicited-node groups joined, over all interfaces
	Missing    int // solicited-node groups that could not be joined (tried again)
}

// Usability is what an interface can be used for.
type Usability struct {
	Unnamed bool // for entries that name no interface: Config.Exclude does not match it
	IPv6    bool // for IPv6: its MTU is 1,280 octets or more (RFC 8200 §5)
}

// Families is a count for each address family.
type Families struct{ IPv4, IPv6 uint64 }
