package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/lab/probe"
)

func init() {
	add("traffic", map[string]verb{
		"probe": {"", "start [NAME:] TARGET... [rate=N] [flows=fresh|steady] [cold=yes] [from=client2|far] | stop",
			"sends new flows to every target from the client, N a second (else what lab run says,\n1000), until stop. It begins, and marks, when every target answers (cold: at once).\nclient2 is behind a second bridge, far behind the routers", (*run).probe},
		"control": {"", "SVC PORT... at=ADDR,ADDR via=NODE [policy=] [app=] | move ADDR,ADDR NODE",
			"a Service that holdfast has nothing to do with: of another class, its status written and\nits neighbour entry set by hand. What is lost on it kube-proxy loses", (*run).control},
	})
}

// probing is a running or ended probe.
type probing struct {
	cmd     *exec.Cmd
	control io.WriteCloser
	from    time.Time
	to      time.Time
	targets map[probe.Target]string // what the script calls it
	done    chan error
	ended   chan probe.Segment // by checkpoint
	report  probe.Report
	stopped bool
}

func (r *run) probe(ctx context.Context, args []string) error {
	if err := want(1, args, "start or stop"); err != nil {
		return err
	}
	if args[0] == "stop" {
		for _, failure := range r.stopAll() {
			return fmt.Errorf("%s", failure)
		}
		return nil
	}
	args, o, err := options(args, "rate", "flows", "cold", "from")
	if err == nil && args[0] != "start" {
		err = fmt.Errorf("probe %s: want start or stop", args[0])
	}
	if err == nil {
		err = want(2, args, "targets")
	}
	if err != nil {
		return err
	}
	name := "probe"
	if n, ok := strings.CutSuffix(args[1], ":"); ok {
		name, args = n, args[1:]
	}
	if p, ok := r.probes[name]; ok && !p.stopped {
		return fmt.Errorf("probe %s is running", name)
	}
	targets, err := r.targets(args[1:])
	if err != nil {
		return err
	}
	if o["cold"] == "" {
		if err := until(ctx, 30*time.Second, func() error { return r.answers(ctx, o["from"], args[1:]) }); err != nil {
			return err
		}
	}
	if o["rate"] == "" {
		o["rate"] = strconv.Itoa(r.pace.Rate)
	}
	var flags []string
	for _, key := range []string{"rate", "flows"} {
		if v, ok := o[key]; ok {
			flags = append(flags, "-"+key+"="+v)
		}
	}
	if o["from"] == "far" {
		if err := r.watchRouters(ctx); err != nil {
			return err
		}
	}
	p, err := r.start(o["from"], targets, flags)
	if err != nil {
		return err
	}
	if _, ok := r.probes[name]; !ok {
		r.order = append(r.order, name)
	}
	r.probes[name], r.mark = p, p.from
	return nil
}

// clients are the stations that can send probes, the usual one first.
func clients(lab Lab) []string {
	all := []string{"client", "client2"}
	if len(lab.Routers()) > 0 {
		all = append(all, "far")
	}
	return all
}

// start runs `lab probe` in a client's network.
func (r *run) start(from string, targets map[probe.Target]string, flags []string) (*probing, error) {
	args := append([]string{"probe", "-control"}, flags...)
	for t := range targets {
		args = append(args, t.String())
	}
	all := clients(r.lab)
	if from == "" {
		from = all[0]
	}
	if !slices.Contains(all, from) {
		return nil, fmt.Errorf("from=%s: want one of %s (far is there if the lab has routers)", from, strings.Join(all, ", "))
	}
	p := &probing{cmd: r.lab.Self(from, args...), targets: targets, done: make(chan error, 1),
		ended: make(chan probe.Segment, 16), from: time.Now()}
	var err error
	if p.control, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var errs strings.Builder
	p.cmd.Stderr = &errs
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the probe: %w", err)
	}
	go func() {
		err := p.read(json.NewDecoder(out))
		if wait := p.cmd.Wait(); err != nil {
			err = fmt.Errorf("the probe said nothing that could be read: %w, %v: %s", err, wait, errs.String())
		}
		p.done <- err
	}()
	return p, nil
}

// read reads segments, and the report that is the last value.
func (p *probing) read(values *json.Decoder) error {
	for {
		var v struct {
			Checkpoint *string `json:"checkpoint"`
		}
		var raw json.RawMessage
		if err := values.Decode(&raw); err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		if v.Checkpoint == nil {
			return json.Unmarshal(raw, &p.report)
		}
		var s probe.Segment
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		p.ended <- s
	}
}

// checkpoint returns what was seen since the last one.
func (p *probing) checkpoint(ctx context.Context) (probe.Segment, error) {
	if _, err := fmt.Fprintln(p.control, "checkpoint"); err != nil {
		return probe.Segment{}, fmt.Errorf("asking the probe for its count: %w", err)
	}
	select {
	case s := <-p.ended:
		return s, nil
	case err := <-p.done:
		p.done <- err
		return probe.Segment{}, fmt.Errorf("the probe has ended: %w", err)
	case <-ctx.Done():
		return probe.Segment{}, ctx.Err()
	}
}

// stop ends the probe and waits for what is under way.
func (p *probing) stop() error {
	if p.stopped {
		return nil
	}
	p.stopped, p.to = true, time.Now()
	p.control.Close()
	if err := <-p.done; err != nil {
		return err
	}
	if n := p.report.Errors(); n > 0 {
		return fmt.Errorf("this host could not send %d requests: %v", n, p.report.Results)
	}
	return nil
}

func (r *run) stopAll() (failures []string) {
	for _, name := range r.order {
		p := r.probes[name]
		if p.stopped {
			continue
		}
		if err := p.stop(); err != nil {
			failures = append(failures, fmt.Sprintf("probe %s: %v", name, err))
		}
		if late := p.report.LateMax; late > 200*time.Millisecond {
			r.note("probe %s sent %d requests late, at most %s: this machine is busy", name, p.report.Late, late.Round(time.Millisecond))
		}
	}
	return failures
}

// sum adds up all probes of the scenario.
func (r *run) sum() (sent, lost int, silence float64) {
	for _, p := range r.probes {
		sent, lost = sent+p.report.Sent(), lost+p.report.Lost()
		for _, t := range p.report.Results {
			silence = max(silence, t.Longest().Length.Seconds())
		}
	}
	return sent, lost, silence
}

// answers probes for 300 ms and fails if a request was lost.
func (r *run) answers(ctx context.Context, from string, args []string) error {
	targets, err := r.targets(args)
	if err != nil {
		return err
	}
	p, err := r.start(from, targets, []string{"-for=300ms", "-rate=100", "-timeout=500ms"})
	if err != nil {
		return err
	}
	select {
	case err = <-p.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.control.Close()
	if err != nil {
		return err
	}
	for _, t := range p.report.Results {
		if t.Lost > 0 || t.Sent == 0 {
			return claim("%s (%s): %d of %d lost", targets[t.Target], t.Target, t.Lost, t.Sent)
		}
	}
	return nil
}

// targets reads SVC, SVC:tcp/80 and tcp:ADDRESS:80.
func (r *run) targets(args []string) (map[probe.Target]string, error) {
	targets := map[probe.Target]string{}
	for _, arg := range args {
		if strings.HasPrefix(arg, "tcp:") || strings.HasPrefix(arg, "udp:") {
			t, err := probe.ParseTarget(arg)
			if err != nil {
				return nil, err
			}
			targets[t] = arg
			continue
		}
		name, only, _ := strings.Cut(arg, ":")
		svc := r.history.Now(full(name))
		found := false
		for _, a := range svc.Addresses {
			for _, p := range svc.Ports {
				protocol := strings.ToLower(p.Protocol)
				if only != "" && only != fmt.Sprintf("%s/%d", protocol, p.Number) {
					continue
				}
				t, err := probe.ParseTarget(protocol + ":" + netip.AddrPortFrom(a, p.Number).String())
				if err != nil {
					return nil, err
				}
				targets[t], found = name, true
			}
		}
		if !found {
			return nil, claim("target %s: the Service has addresses %v and ports %v", arg, svc.Addresses, svc.Ports)
		}
	}
	return targets, nil
}

// measured is one target's result with the probe that has it.
type measured struct {
	probe.Result
	of   string // what the script calls the target
	from time.Time
	to   time.Time
}

// results returns what the ended probes saw of the given targets (a Service, or the form
// with an address), or of all. A name with a colon before the targets means that probe.
func (r *run) results(args []string) (all []measured, err error) {
	used, only := map[string]bool{}, ""
	if len(args) > 0 {
		if name, ok := strings.CutSuffix(args[0], ":"); ok {
			only, args = name, args[1:]
		}
	}
	if failures := r.stopAll(); len(failures) > 0 {
		return nil, errors.New(failures[0])
	}
	for _, name := range r.order {
		p := r.probes[name]
		if only != "" && name != only {
			continue
		}
		for _, t := range p.report.Results {
			of := p.targets[t.Target]
			ours := len(args) == 0
			for _, arg := range args {
				svc, port, _ := strings.Cut(arg, ":")
				if arg == t.Target.String() || arg == of || svc == of && port == fmt.Sprintf("%s/%d", t.Target.Protocol, t.Target.Addr.Port()) {
					used[arg], ours = true, true
				}
			}
			if ours {
				all = append(all, measured{t, of, p.from, p.to})
			}
		}
	}
	for _, arg := range args {
		if !used[arg] {
			return nil, fmt.Errorf("%s was not probed", arg)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing was probed")
	}
	slices.SortFunc(all, func(a, b measured) int { return strings.Compare(a.Target.String(), b.Target.String()) })
	return all, nil
}
