package script

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/router"
)

func init() {
	add("claims", map[string]verb{
		"routes": {"", "ROUTER,... ADDR|PREFIX... nodes=NODE[*WEIGHT],...|none [within=5s]",
			"the next hops in the kernel of each of the routers are exactly these nodes, and, if weights are\ngiven, their shares of the flows too", inTime((*run).routes)},
		"bgp": {"", "ROUTER,... NODE,... up|down [within=5s]",
			"whether the router has an established BGP session with the node, of IPv4 or IPv6", inTime((*run).bgp)},
		"bfd": {"", "ROUTER,... NODE,... up|down [within=5s]", "the same of BFD sessions", inTime((*run).bfd)},
	})
	add("faults", map[string]verb{
		"router": {"", "kill|stop|start NAME | configure NAME LINE...|FILE | replace NAME OLD NEW | only NAME...",
			`kill: SIGKILL to all its daemons, its kernel goes on forwarding. stop: it closes its sessions
and takes its routes back. configure, for FRR: lines as after "configure terminal", or a file
of the scenario that has them; for BIRD: a file that is the whole configuration. replace, for
BIRD: a text in its configuration by another one. only: the far client uses these routers and
no others. A scenario begins with all of them as they were`, (*run).router},
	})
}

// inTime makes a claim of what must be so at the latest after within=.
func inTime(ask func(*run, context.Context, []string) error) func(*run, context.Context, []string) error {
	return func(r *run, ctx context.Context, args []string) error {
		rest := slices.DeleteFunc(slices.Clone(args), func(s string) bool { return strings.HasPrefix(s, "within=") })
		_, o, err := options(slices.DeleteFunc(slices.Clone(args), func(s string) bool { return !strings.HasPrefix(s, "within=") }), "within")
		if err != nil {
			return err
		}
		within, err := duration(o, "within", 5*time.Second)
		if err != nil {
			return err
		}
		return until(ctx, within, func() error { return ask(r, ctx, rest) })
	}
}

// named reads names of routers, parted by commas.
func (r *run) named(arg string) ([]string, error) {
	names := commas(arg)
	for _, n := range names {
		if !slices.Contains(r.lab.Routers(), n) {
			return nil, fmt.Errorf("%q is no router of this lab: it has %s", n, orNone(r.lab.Routers()))
		}
	}
	return names, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// prefixes reads prefixes, addresses and Services, which stand for all of theirs.
func (r *run) prefixes(args []string) (all []netip.Prefix, err error) {
	for _, arg := range args {
		if p, err := netip.ParsePrefix(arg); err == nil {
			all = append(all, p.Masked())
			continue
		}
		addrs, err := r.addrs([]string{arg})
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return all, want(1, args, "an address, a prefix or a Service")
}

func (r *run) routes(_ context.Context, args []string) error {
	args, o, err := options(args, "nodes")
	if err == nil {
		err = want(2, args, "routers, and addresses or prefixes")
	}
	if err != nil {
		return err
	}
	wanted, err := sharesOf(o["nodes"])
	if err != nil {
		return err
	}
	names, err := r.named(args[0])
	if err != nil {
		return err
	}
	prefixes, err := r.prefixes(args[1:])
	if err != nil {
		return err
	}
	for _, name := range names {
		for _, p := range prefixes {
			hops, err := router.NextHops(r.lab.NetworkFile(name), p)
			if err != nil {
				return err
			}
			if got := r.nodesOf(hops); !wanted.are(got) {
				return claim("%s has next hops %s for %s, want %s", name, got, p, wanted)
			}
		}
	}
	return nil
}

// shares are weights of next hops, by name; 0: any.
type shares map[string]int

// sharesOf reads nodes=: node1,node2 or node1*3,node2*1 or none.
func sharesOf(text string) (shares, error) {
	all := shares{}
	if text == "none" {
		return all, nil
	}
	if text == "" {
		return nil, errors.New("nodes=: want nodes, or none")
	}
	for _, word := range commas(text) {
		name, weight, weighed := strings.Cut(word, "*")
		all[name] = 0
		if weighed {
			n, err := number(weight)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("nodes=%s: want a weight of 1 or more after *", text)
			}
			all[name] = n
		}
	}
	return all, nil
}

// are tells whether next hops are those that are wanted, with their shares. A router
// reduces weights to one octet: a share may be off by a hundredth of all.
func (s shares) are(got shares) bool {
	wanted, all := s.sum(), got.sum()
	for name := range got {
		if _, ok := s[name]; !ok {
			return false
		}
	}
	for name, weight := range s {
		have, ok := got[name]
		if off := have*wanted - weight*all; !ok || weight > 0 && 100*max(off, -off) > wanted*all {
			return false
		}
	}
	return true
}

func (s shares) sum() (n int) {
	for _, weight := range s {
		n += weight
	}
	return n
}

func (s shares) String() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if s[name] > 1 {
			name = fmt.Sprintf("%s*%d", name, s[name])
		}
		words = append(words, name)
	}
	return orNone(words)
}

// nodesOf names the nodes and routers that are next hops; what is none stays an address.
func (r *run) nodesOf(hops []router.NextHop) shares {
	all := shares{}
	for _, h := range hops {
		name := h.Addr.String()
		for _, n := range slices.Concat(r.lab.Nodes(), r.lab.Routers()) {
			if addrs, err := r.lab.Addresses(n); err == nil && slices.Contains(addrs, h.Addr) {
				name = n
			}
		}
		all[name] = h.Weight
	}
	return all
}

func (r *run) bgp(_ context.Context, args []string) error {
	return r.sessions("BGP", args, func(name string) (map[netip.Addr]bool, error) {
		st, err := r.lab.RouterStatus(name)
		if err != nil {
			return nil, err
		}
		return st.BGP, nil
	})
}

func (r *run) bfd(_ context.Context, args []string) error {
	return r.sessions("BFD", args, func(name string) (map[netip.Addr]bool, error) {
		st, err := r.lab.RouterStatus(name)
		if err != nil {
			return nil, err
		}
		return st.BFD, nil
	})
}

// sessions checks that each of the routers has a session with each of the nodes, or none.
func (r *run) sessions(protocol string, args []string, of func(router string) (map[netip.Addr]bool, error)) error {
	if len(args) != 3 || args[2] != "up" && args[2] != "down" {
		return errors.New("want routers, nodes, and up or down")
	}
	names, err := r.named(args[0])
	if err != nil {
		return err
	}
	for _, name := range names {
		sessions, err := of(name)
		if err != nil {
			return err
		}
		for _, node := range commas(args[1]) {
			addrs, err := r.lab.Addresses(node)
			if err != nil {
				return err
			}
			up := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return sessions[a] })
			if up != (args[2] == "up") {
				return claim("%s with %s: %s is not %s", name, node, protocol, args[2])
			}
		}
	}
	return nil
}

func (r *run) router(_ context.Context, args []string) error {
	if err := want(2, args, "what to do, and a router"); err != nil {
		return err
	}
	who := args[1:2]
	if args[0] == "only" {
		who = args[1:]
	}
	names, err := r.named(strings.Join(who, ","))
	if err != nil {
		return err
	}
	switch name := names[0]; {
	case args[0] == "only":
		return r.lab.FarVia(names...)
	case args[0] == "configure" && len(args) > 2:
		text := strings.Join(args[2:], "\n") + "\n"
		if file, ok := r.script.Files[args[2]]; ok && len(args) == 3 {
			text = string(file)
		}
		return r.lab.RouterConfigure(name, text)
	case args[0] == "replace" && len(args) == 4:
		return r.replace(name, args[2], args[3])
	case args[0] == "kill" && len(args) == 2:
		return r.lab.RouterKill(name)
	case args[0] == "stop" && len(args) == 2:
		return r.lab.RouterStop(name)
	case args[0] == "start" && len(args) == 2:
		return r.lab.RouterStart(name)
	}
	return errors.New("want kill, stop or start NAME, configure NAME LINE, replace NAME OLD NEW, or only NAME")
}

// replace changes a text in BIRD's configuration, wherever it stands. FRR has no text that
// could be given to it once more.
func (r *run) replace(name, was, is string) error {
	if strings.HasPrefix(name, "frr") {
		return fmt.Errorf("%s is FRR: router configure gives it lines", name)
	}
	config, err := r.lab.RouterConfig(name)
	if err != nil {
		return err
	}
	if was == "" || !strings.Contains(config, was) {
		return fmt.Errorf("%q is not in the configuration of %s", was, name)
	}
	return r.lab.RouterConfigure(name, strings.ReplaceAll(config, was, is))
}
