package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

const usage = `usage: lab probe [flags] TARGET...

Sends new flows to each target at a steady pace from the client's place in the lab,
and prints what was sent, answered and lost, and each silence with its time. Runs
until interrupted, or for the time given.

A TARGET is tcp:ADDRESS:PORT or udp:ADDRESS:PORT, an IPv6 address in brackets. The
server is the lab's echo workload, or one like it: TCP writes a line at once, UDP
sends the datagram back.

exit codes: 0 nothing lost, 1 something lost, 2 wrong usage or an error of this host

flags:
`

// Main is the command: it probes from the network namespace that it runs in. With
// -control each line of stdin is the name of a checkpoint, and the segment that it ends
// is written to stdout as a line of JSON; the end of stdin ends the run.
func Main(args []string, stdout, stderr io.Writer) int { return run(args, os.Stdin, stdout, stderr) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	var cfg Config
	flags.Float64Var(&cfg.Rate, "rate", DefaultRate, "requests per second and target")
	flags.DurationVar(&cfg.For, "for", 0, "how long to send; 0 means until interrupted")
	flags.DurationVar(&cfg.Timeout, "timeout", DefaultTimeout, "how long an answer may take; from 1 s on a SYN that TCP sends again can hide a loss")
	kind := flags.String("flows", "fresh", "fresh: a new source port for every request; steady: one flow per target")
	asJSON := flags.Bool("json", false, "print the report as JSON")
	control := flags.Bool("control", false, "read names of checkpoints from stdin; its end ends the run")
	if err := flags.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil {
		return 2
	}
	if err := complete(&cfg, *kind, flags.Args()); err != nil {
		fmt.Fprintln(stderr, "lab probe:", err)
		return 2
	}
	out := &lines{enc: json.NewEncoder(stdout)}
	if *control {
		cfg.Checkpoint = func(s Segment) { out.write(s) }
	}
	p, err := New(cfg)
	if err != nil {
		fmt.Fprintln(stderr, "lab probe:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *control {
		go func() {
			defer stop()
			for in := bufio.NewScanner(stdin); in.Scan(); {
				p.Checkpoint(strings.TrimSpace(in.Text()))
			}
		}()
	}
	report, err := p.Run(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "lab probe:", err)
		return 2
	}
	if *asJSON || *control {
		err = out.write(report)
	} else {
		err = report.WriteText(stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "lab probe: writing the report:", err)
		return 2
	case report.Errors() > 0:
		return 2
	case report.Lost() > 0:
		return 1
	}
	return 0
}

func complete(cfg *Config, kind string, targets []string) error {
	switch kind {
	case "fresh":
	case "steady":
		cfg.Steady = true
	default:
		return fmt.Errorf("flows %q: want fresh or steady", kind)
	}
	for _, s := range targets {
		t, err := ParseTarget(s)
		if err != nil {
			return err
		}
		cfg.Targets = append(cfg.Targets, t)
	}
	return nil
}

// lines writes values as lines of JSON.
type lines struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (l *lines) write(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enc.Encode(v)
}
