package script

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"k8s.io/klog/v2"

	"holdfast.dev/holdfast/deploy/lab/cluster"
	"holdfast.dev/holdfast/deploy/lab/probe"
)

const usage = `usage: lab run [flags] [FILE|NAME...]

Runs scenarios, each on a clean state: files, or names that lab list shows; without any,
all of those. A lab that runs here is used if it is what the flags ask for, otherwise one
is brought up and taken down again.

exit codes: 0 all hold, 1 a claim fails, 2 wrong usage, or there is no lab to run in

flags:
`

// Main is the command lab run; dir is the lab's directory.
func Main(dir string, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	var c choice
	flags.IntVar(&c.nodes, "nodes", 0, "nodes of the lab; 0 means those of the one that runs, or 3")
	flags.StringVar(&c.proxy, "proxy", "", "kube-proxy's mode, nftables or iptables; empty means that of the lab that runs, or nftables")
	flags.StringVar(&c.only, "only", "", "only scenarios with this tag")
	flags.StringVar(&c.skip, "skip", "", "no scenarios with this tag")
	rate := flags.Int("rate", probe.DefaultRate, "requests per second and target, where a scenario names none; 1 to 20000")
	short := flags.Bool("short", false, "a twentieth of what takes long: rounds of repeat, number of services, time of churn, sleeps of a minute or more")
	keep := flags.Bool("keep", false, "leave a lab that was brought up running")
	asJSON := flags.Bool("json", false, "print the results as JSON")
	if err := flags.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil {
		return 2
	}
	if *rate < 1 || *rate > 20000 {
		fmt.Fprintf(stderr, "lab run: --rate %d: want 1 to 20000\n", *rate)
		return 2
	}
	scripts, err := c.scripts(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "lab run:", err)
		return 2
	}
	quiet()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	lab, brought, err := c.lab(ctx, dir, scripts, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "lab run:", err)
		return 2
	}
	results := runAll(ctx, lab, scripts, Pace{*rate, *short}, stderr)
	if brought && !*keep {
		if err := lab.Down(); err != nil {
			fmt.Fprintln(stderr, "lab run:", err)
		}
	}
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(results)
	} else {
		err = writeTable(stdout, results)
	}
	if err != nil {
		fmt.Fprintln(stderr, "lab run: writing the results:", err)
		return 2
	}
	for _, r := range results {
		if !r.OK {
			return 1
		}
	}
	return 0
}

// quiet keeps client-go from writing among the results that a watch is tried again.
func quiet() {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
}

func runAll(ctx context.Context, lab Lab, scripts []*Script, pace Pace, out io.Writer) (results []Result) {
	for _, s := range scripts {
		fmt.Fprintf(out, "\n%s: %s\n", s.Name, s.Summary)
		results = append(results, Run(ctx, lab, s, pace, out))
		if ctx.Err() != nil {
			break
		}
	}
	return results
}

// choice is which scenarios run, and in what lab.
type choice struct {
	nodes      int
	proxy      string
	only, skip string
}

func (c choice) scripts(args []string) (scripts []*Script, err error) {
	var all []*Script
	for _, arg := range args {
		s, err := Load(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(args) == 0 {
		if all, err = All(); err != nil {
			return nil, err
		}
	}
	for _, s := range all {
		if c.only != "" && !s.Is(c.only) || c.skip != "" && s.Is(c.skip) {
			continue
		}
		if c.proxy != "" && s.Needs.Proxy != "" && s.Needs.Proxy != c.proxy {
			continue // it is about the other mode
		}
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, errors.New("no scenario is left to run")
	}
	return scripts, nil
}

// lab opens the lab that runs here, or brings one up.
func (c choice) lab(ctx context.Context, dir string, scripts []*Script, progress io.Writer) (l *cluster.Lab, brought bool, err error) {
	nodes := max(c.nodes, 3)
	var routers []string
	for _, s := range scripts {
		nodes = max(nodes, s.Needs.Nodes)
		for _, name := range commas(s.Needs.Routers) {
			if !slices.Contains(routers, name) {
				routers = append(routers, name)
			}
		}
	}
	l, err = cluster.Open(dir)
	if errors.Is(err, cluster.ErrNotRunning) {
		o := cluster.Options{Nodes: nodes, Proxy: "nftables", Holdfast: true, HoldfastArgs: scripts[0].Needs.Flags, Routers: strings.Join(routers, ",")}
		if c.proxy != "" {
			o.Proxy = c.proxy
		}
		l, err = cluster.Up(ctx, dir, o, progress)
		return l, err == nil, err
	}
	if err != nil {
		return nil, false, err
	}
	o := l.Options()
	if c.nodes != 0 && o.Nodes != c.nodes || c.proxy != "" && o.Proxy != c.proxy {
		return nil, false, fmt.Errorf("a lab with %d nodes and kube-proxy %s is running here: lab down, or stand elsewhere", o.Nodes, o.Proxy)
	}
	return l, false, nil
}

func writeTable(w io.Writer, results []Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\tresult\tseconds\tprobes\tlost\tlongest silence")
	failed := 0
	for _, r := range results {
		word := "ok"
		if !r.OK {
			word = "FAILED"
			failed++
		}
		fmt.Fprintf(table, "%s\t%s\t%.1f\t%d\t%d\t%.3fs\n", r.Name, word, r.Seconds, r.Probes, r.Lost, r.Silence)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, f := range r.Failures {
			fmt.Fprintf(w, "\n%s\n", f)
		}
		if r.Evidence != "" {
			fmt.Fprintf(w, "what the lab looked like: %s\n", r.Evidence)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d scenarios, %d failed\n", len(results), failed)
	return err
}

// List is the command lab list.
func List(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintln(stderr, "usage: lab list")
		return 2
	}
	all, err := All()
	if err != nil {
		fmt.Fprintln(stderr, "lab list:", err)
		return 2
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\n", s.Name, s.Summary)
	}
	if err := table.Flush(); err != nil {
		return 2
	}
	return 0
}
