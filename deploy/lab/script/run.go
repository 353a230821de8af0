package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/lab/witness"
)

// Result is what came of a scenario.
type Result struct {
	Name     string   `json:"name"`
	OK       bool     `json:"ok"`
	Failures []string `json:"failures,omitempty"`
	Notes    []string `json:"notes,omitempty"` // figures that the scenario measured
	Seconds  float64  `json:"seconds"`
	Probes   int      `json:"probes"` // requests sent
	Lost     int      `json:"lost"`
	Silence  float64  `json:"silence"` // the longest, in seconds
	Evidence string   `json:"evidence,omitempty"`
}

// claimError is a claim that does not hold: the scenario goes on.
type claimError struct{ error }

func claim(format string, args ...any) error { return claimError{fmt.Errorf(format, args...)} }

// holds turns the error of a check into that of a claim.
func holds(err error) error {
	if err == nil {
		return nil
	}
	return claimError{err}
}

// run is one scenario under way.
type run struct {
	script *Script
	lab    Lab
	api    *api
	out    io.Writer
	dir    string // the script's files
	pace   Pace
	vars   map[string]string
	mark   time.Time
	begun  time.Time

	audited int64       // how much was in the audit log at the beginning
	starts  []time.Time // of the API server
	removed []span      // when there was no holdfast

	history  *witness.History
	heard    *witness.Heard
	rerouted *reroutes // nil: nobody listens
	wire     *witness.Wire
	probes   map[string]*probing
	order    []string // names of probes as started
	done     []step
	notes    []string
	samples  map[string]*samples
	hogs     []*exec.Cmd // what keeps the processors busy
}

// step is a command that was run, to say what was going on when something was lost.
type step struct {
	at   time.Time
	text string
}

// Pace is how hard and how long scenarios try.
type Pace struct {
	Rate  int  // requests a second to each target, of probes that name none
	Short bool // a twentieth of what takes long: repeat, services, churn, and sleeps of a minute or more
}

// part is what of a number of rounds is done.
func (p Pace) part(n int) int {
	if p.Short {
		return (n + twentieth - 1) / twentieth
	}
	return n
}

// time is what of a time is spent.
func (p Pace) time(d time.Duration) time.Duration {
	if p.Short && d >= time.Minute {
		return d / twentieth
	}
	return d
}

const twentieth = 20

// Run brings the lab into its clean state and runs the scenario in it.
func Run(ctx context.Context, lab Lab, s *Script, pace Pace, out io.Writer) Result {
	res := Result{Name: s.Name}
	begun := time.Now()
	r, err := prepare(ctx, lab, s, out)
	if err == nil {
		r.pace = pace
		res.Failures = append(r.lines(ctx), r.unwell(ctx)...)
		res.Notes = r.notes
		res.Probes, res.Lost, res.Silence = r.sum()
		if len(res.Failures) > 0 {
			res.Evidence = r.evidence()
		}
		r.close()
	} else {
		res.Failures = []string{fmt.Sprintf("%s: reaching a clean state: %v", s.Path, err)}
	}
	res.OK, res.Seconds = len(res.Failures) == 0, time.Since(begun).Seconds()
	return res
}

// prepare makes the clean state, and begins to witness.
func prepare(ctx context.Context, lab Lab, s *Script, out io.Writer) (*run, error) {
	client, err := newAPI(lab.REST())
	if err != nil {
		return nil, err
	}
	if err := clean(ctx, lab, client, s.Needs); err != nil {
		return nil, err
	}
	r := &run{script: s, lab: lab, api: client, out: out, vars: map[string]string{}, begun: time.Now(), mark: time.Now(),
		audited: auditEnd(lab.AuditLog()), pace: Pace{Rate: probe.DefaultRate},
		history: &witness.History{}, heard: &witness.Heard{}, probes: map[string]*probing{}}
	if r.dir, err = os.MkdirTemp("", "scenario-"); err != nil {
		return nil, err
	}
	for name, text := range s.Files {
		if err := os.WriteFile(filepath.Join(r.dir, filepath.Base(name)), text, 0o644); err != nil {
			return nil, err
		}
	}
	return r, r.witness(ctx)
}

// lines runs the commands and returns what failed.
func (r *run) lines(ctx context.Context) (failures []string) {
	failures, _ = r.play(ctx, r.script)
	return append(failures, r.stopAll()...)
}

// play runs the commands of a script, and tells whether one of them ended it.
func (r *run) play(ctx context.Context, s *Script) (failures []string, ended bool) {
	for _, l := range s.Lines {
		at := time.Now()
		r.done = append(r.done, step{at, l.Text})
		err := r.line(ctx, l)
		fmt.Fprintf(r.out, "%7.1fs  %s%s\n", time.Since(r.begun).Seconds(), l.Text, took(time.Since(at)))
		if err == nil {
			continue
		}
		failures = append(failures, fmt.Sprintf("%s:%d: %s: %v", s.Path, l.Number, l.Text, err))
		fmt.Fprintf(r.out, "          FAILED: %v\n", err)
		if c := (claimError{}); !errors.As(err, &c) {
			return failures, true
		}
	}
	return failures, false
}

func took(d time.Duration) string {
	if d < 500*time.Millisecond {
		return ""
	}
	return fmt.Sprintf("  (%.1fs)", d.Seconds())
}

func (r *run) line(ctx context.Context, l Line) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var args []string
	for _, w := range l.Words {
		s, err := w.expand(r.vars)
		if err != nil {
			return err
		}
		args = append(args, s)
	}
	verb := verbs[args[0]]
	err := verb.run(r, ctx, args[1:])
	if l.Fails && err == nil {
		return claim("succeeded, and was to fail")
	} else if l.Fails {
		return nil
	}
	return err
}

// stepAt says which command was the last to begin before a time.
func (r *run) stepAt(at time.Time) string {
	text := "the beginning"
	for _, s := range r.done {
		if s.at.After(at) {
			break
		}
		text = fmt.Sprintf("%s after %q", at.Sub(s.at).Round(time.Millisecond), s.text)
	}
	return text
}

// note keeps a figure for the report.
func (r *run) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.notes = append(r.notes, text)
	fmt.Fprintf(r.out, "          %s\n", text)
}

func (r *run) close() {
	if err := r.idle(); err != nil {
		fmt.Fprintln(r.out, err)
	}
	r.api.stop()
	os.RemoveAll(r.dir)
}

// evidence keeps what helps to find out why a scenario failed, and returns where.
func (r *run) evidence() string {
	dir := filepath.Join(r.lab.Dir()+"-failed", r.script.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ""
	}
	keep := func(name string, args ...string) {
		out, err := r.lab.Kubectl(args...).CombinedOutput()
		if err != nil {
			out = fmt.Appendf(out, "%v\n", err)
		}
		_ = os.WriteFile(filepath.Join(dir, name), out, 0o644) // evidence is as good as it gets
	}
	keep("holdfast.log", r.logs("--timestamps")...)
	keep("objects.yaml", "get", "services,pods,endpointslices,events,nodes", "-A", "-o", "yaml")
	keep("config.yaml", "get", "ipaddresspools,l2advertisements,pods,leases", "-n", namespace, "-o", "yaml")
	var b strings.Builder
	for _, s := range r.done {
		fmt.Fprintf(&b, "%s  %s\n", s.at.Format("15:04:05.000"), s.text)
	}
	r.history.WriteText(&b, r.begun)
	r.heard.WriteText(&b, r.begun)
	for _, name := range r.order {
		fmt.Fprintf(&b, "\nprobe %s\n", name)
		_ = r.probes[name].report.WriteText(&b)
	}
	for _, name := range r.lab.Routers() {
		_ = os.WriteFile(filepath.Join(dir, name+".txt"), []byte(r.lab.RouterReport(name)), 0o644)
	}
	_ = os.WriteFile(filepath.Join(dir, "story.txt"), []byte(b.String()), 0o644)
	return dir
}
