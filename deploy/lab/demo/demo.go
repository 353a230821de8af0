// Package demo shows in a terminal, within a minute, what holdfast is for: two Services
// keep one address through everything that makes MetalLB take it away.
//
// It decides what is shown, in which order, and whether it held: a step in which a
// request was lost fails the demo, except where the port was nobody's for a time, and but
// for a TCP handshake that is at one node when the address moves to another. The
// counts come from the probes and the claims from the watch and the wire, as in the
// scenarios.
//
// It leaves a lab that was running as it is, and nothing of one that it brought up.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"holdfast.dev/holdfast/deploy/lab/cluster"
	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/lab/script"
)

const usage = `usage: lab demo

Brings up a cluster, lets two Services share one address, and changes what MetalLB cannot
change without taking the address away, counting lost requests. Exit code 1 if any was.
`

// flags of holdfast in the demo: short times, for there is a minute.
const flags = "--settle=5s --overlap=3s --dwell=1s"

// step is one thing that is done to the two Services.
type step struct {
	title   string
	do      string // lines of a scenario
	claims  string // that must hold after it
	unowned bool   // a port may be lost while neither Service claims it
	metallb string // what MetalLB does there; figures with their conditions
}

// steps are what is shown, in order. The figures were measured with MetalLB 0.16.1+main
// in native mode, in a cluster that was made in the same way.
var steps = []step{
	{
		title:   "(a) both change from Cluster to Local, A first, B two seconds later",
		do:      "edit a policy=Local\nsleep 2s\nedit b policy=Local\nsleep 1500ms",
		claims:  "same-address a b\nowner 172.30.0.200 $OWNER\nowner fd30::200 $OWNER6",
		metallb: "A is <pending> until B is edited too: with 30 s between, 2,849 to 4,823 of 8,800 requests lost, 4 rounds of 4",
	},
	{
		title:   "(b) both get another sharing key, A first, B two seconds later",
		do:      "edit a key=green\nsleep 2s\nedit b key=green\nsleep 1500ms",
		claims:  "same-address a b\nowner 172.30.0.200 $OWNER\nowner fd30::200 $OWNER6",
		metallb: "the same gap; with 3 s between, flips and re-keys lost 830 to 2,880 requests in 4 of 11 rounds",
	},
	{
		title:   "(c) both swap their ports, A first, B two seconds later",
		do:      "edit a tcp/81 udp/81\nsleep 2s\nedit b tcp/80 udp/80\nwait address a within=5s\nsleep 1500ms",
		claims:  "same-address b\nowner 172.30.0.200 $OWNER\nowner fd30::200 $OWNER6",
		unowned: true,
		metallb: "A loses the address; when B gives up the port nobody wakes A, it stays <pending>",
	},
	{
		title:   "(d) the leader is killed",
		do:      "set LEADER leader\nholdfast kill $LEADER\nsleep 3s",
		claims:  "same-address a b",
		metallb: "one controller without a stand-in: nothing is assigned until Kubernetes has started it again",
	},
	{
		title:   "(e) the node that answers for the address is drained",
		do:      "drain $OWNER\nsleep 1s",
		claims:  "same-address a b",
		metallb: "no hand-over: the old node stops answering and the new one begins, each when it sees the change",
	},
}

// Main is the command lab demo; dir is the lab's directory.
func Main(dir string, args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("demo", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() { fmt.Fprint(stderr, usage) }
	if err := set.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil || set.NArg() > 0 {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	held, err := show(ctx, dir, stdout)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "lab demo:", err)
		return 2
	case !held:
		return 1
	}
	return 0
}

func show(ctx context.Context, dir string, out io.Writer) (held bool, err error) {
	begun := time.Now()
	lab, err := cluster.Open(dir)
	found := err == nil
	if errors.Is(err, cluster.ErrNotRunning) {
		fmt.Fprintln(out, "A Kubernetes of three nodes comes up on this machine, with holdfast in it.")
		lab, err = cluster.Up(ctx, dir, cluster.Options{Nodes: 3, Proxy: "nftables", Holdfast: true, HoldfastArgs: flags}, io.Discard)
		if lab != nil {
			defer func() {
				if down := lab.Down(); err == nil {
					err = down
				}
			}()
		}
	}
	if err != nil {
		return false, err
	}
	d := &demo{out: out}
	if d.session, err = script.Begin(ctx, lab, script.Needs{Nodes: 3, Flags: flags}, io.Discard); err != nil {
		return false, err
	}
	defer d.session.Close()
	if err := d.set(ctx); err != nil {
		return false, err
	}
	fmt.Fprint(out, picture(d.session.Variable("OWNER"), d.session.Variable("OWNER6"), d.session.Variable("LEADER")))
	held = true
	for _, s := range steps {
		ok, err := d.step(ctx, s)
		if err != nil {
			return false, fmt.Errorf("%s: %w", s.title, err)
		}
		held = held && ok
	}
	if found {
		if err := d.session.Clean(ctx); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "%d requests, %d lost, %d of them while a port was nobody's", d.sent, d.lost, d.unowned)
	if d.cut > 0 {
		fmt.Fprintf(out, ", %d in a TCP handshake that had begun at the node before", d.cut)
	}
	fmt.Fprintf(out, ". %.0f s.\n", time.Since(begun).Seconds())
	return held, nil
}

// demo is the demo under way.
type demo struct {
	session                  *script.Session
	out                      io.Writer
	sent, lost, unowned, cut int
}

// set makes the two Services and begins to probe them.
func (d *demo) set(ctx context.Context) error {
	return d.session.Do(ctx, `
pool shared 172.30.0.200/32 fd30::200/128
advertise
backend web
service a tcp/80 udp/80 key=blue addresses=172.30.0.200,fd30::200
sleep 1100ms
service b tcp/81 udp/81 key=blue addresses=172.30.0.200,fd30::200
wait address a b
wait answered a b
set OWNER owner 172.30.0.200
set OWNER6 owner fd30::200
set LEADER leader
probe start a b
`)
}

func (d *demo) step(ctx context.Context, s step) (bool, error) {
	fmt.Fprintf(d.out, "%s\n", s.title)
	if err := d.session.Do(ctx, "mark\n"+s.do); err != nil {
		return false, err
	}
	claims := d.session.Do(ctx, s.claims)
	seen, err := d.session.Segment(ctx)
	if err != nil {
		return false, err
	}
	if s.unowned && claims == nil {
		claims = d.session.OnlyUnclaimed(seen)
	}
	sent, lost, longest := count(seen)
	d.sent, d.lost = d.sent+sent, d.lost+lost
	verdict, cut := "the address held", d.session.Cut(seen)
	ok := claims == nil && (lost == cut || s.unowned)
	switch {
	case claims != nil:
		verdict = "NOT AS PROMISED: " + claims.Error()
	case s.unowned:
		d.unowned += lost
		verdict = "only while neither Service had the port: " + longest.Round(time.Millisecond).String() + " at most"
	case lost == cut && cut > 0:
		d.cut += cut
		verdict += fmt.Sprintf("; the move cut %d TCP handshakes in two", cut)
	case lost > 0:
		verdict = "NOT AS PROMISED: silent for " + longest.Round(time.Millisecond).String()
	}
	fmt.Fprintf(d.out, "    sent %6d   lost %6d   %s\n", sent, lost, verdict)
	if !ok {
		for _, t := range seen.Results {
			for _, silence := range t.Silences[:min(3, len(t.Silences))] {
				fmt.Fprintf(d.out, "    %s: %s\n", t.Target, silence)
			}
		}
	}
	fmt.Fprintf(d.out, "    MetalLB: %s\n\n", s.metallb)
	return ok, nil
}

func count(s probe.Segment) (sent, lost int, longest time.Duration) {
	for _, t := range s.Results {
		sent, lost, longest = sent+t.Sent, lost+t.Lost, max(longest, t.Longest().Length)
	}
	return sent, lost, longest
}
