package script

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/lab/witness"
)

func init() {
	add("claims", map[string]verb{
		"lost": {"", "0 | max N | as-control CONTROL [more=N] | unclaimed [grace=1.5s] [TARGET...]",
			`what the probes lost, which end with this, of the targets together, or of all:
0            none, but for a TCP connection that a move of the address or a change of
             a router's next hops cut through in its first milliseconds
max N        at most N
as-control   no more than the control lost (and more= requests)
unclaimed    only while no Service had that port of that address in status and spec, or
             less than grace after one had it again, which is kube-proxy's time`, (*run).lost},
		"silence":   {"", "max DURATION [TARGET...]", "no silence was longer; the longest is kept as a figure", (*run).silence},
		"served-by": {"", "TARGET...", "keeps as a figure which backends answered", (*run).servedBy},
		"spread":    {"", "TARGET... over=N [even=PERCENT]", "at least N different pods answered, and each got an even share, give or take so much of it", (*run).spread},
	})
}

func (r *run) lost(ctx context.Context, args []string) error {
	args, o, err := options(args, "grace", "more")
	if err == nil {
		err = want(1, args, "0, max N, as-control CONTROL or unclaimed")
	}
	if err != nil {
		return err
	}
	switch kind := args[0]; {
	case kind == "0":
		return r.lostAtMost(0, args[1:])
	case kind == "max" && len(args) > 1:
		n, err := number(args[1])
		if err != nil {
			return err
		}
		return r.lostAtMost(n, args[2:])
	case kind == "as-control" && len(args) > 1:
		return r.lostAsControl(args[1], o["more"], args[2:])
	case kind == "unclaimed":
		grace, err := duration(o, "grace", proxyTime)
		if err != nil {
			return err
		}
		return r.lostUnclaimed(grace, args[1:])
	}
	return fmt.Errorf("lost %s: want 0, max N, as-control CONTROL or unclaimed", args[0])
}

func (r *run) lostAtMost(most int, args []string) error {
	results, err := r.results(args)
	if err != nil {
		return err
	}
	lost, sent, inShake := 0, 0, 0
	for _, t := range results {
		lost, sent = lost+t.Lost, sent+t.Sent
		if t.Target.Protocol == probe.TCP {
			addr := t.Target.Addr.Addr()
			inShake += cut(r.heard.Moves(addr), r.rerouted.of(addr), t.Silences)
		}
	}
	if inShake > 0 {
		lost -= inShake
		r.note("cut: %d of %d, being connected while the address moved", inShake, sent)
	}
	if most > 0 {
		r.note("lost %d of %d", lost, sent)
	}
	if lost > most {
		return claim("lost %d of %d:%s", lost, sent, r.losses(results))
	}
	return nil
}

// shake is how far apart a handshake and a move may be seen that met.
const shake = 20 * time.Millisecond

// cut counts the requests that no order of steps could have saved: their handshake
// began at one node, and its last packet came to another one, which does not know the
// connection and refuses it. It lasts a fraction of a millisecond, so at a move two meet
// it at most. A router that spreads flows anew sends the request that follows the
// handshake elsewhere, too, where it may stall.
func cut(moves, rerouted []time.Time, silences []probe.Silence) (n int) {
	for _, s := range silences {
		meets := func(m time.Time) bool { return m.Sub(s.Start).Abs() <= shake }
		refused := s.Requests == s.Refused && slices.ContainsFunc(moves, meets)
		broken := s.Requests == s.Refused+s.Stalled && slices.ContainsFunc(rerouted, meets)
		if s.Requests <= 2 && (refused || broken) {
			n += s.Requests
		}
	}
	return n
}

// losses tells each silence, and what the script was doing.
func (r *run) losses(results []measured) string {
	var b strings.Builder
	for _, t := range results {
		for i, s := range t.Silences {
			if i == 4 {
				fmt.Fprintf(&b, "\n            %s: and %d more silences", t.Target, len(t.Silences)-i)
				break
			}
			fmt.Fprintf(&b, "\n            %s (%s): %s, %s", t.Target, t.of, s, r.stepAt(s.Start))
		}
	}
	return b.String()
}

func (r *run) lostAsControl(control, more string, args []string) error {
	slack := 0
	if more != "" {
		var err error
		if slack, err = number(more); err != nil {
			return err
		}
	}
	reference, err := r.results([]string{control})
	if err != nil {
		return err
	}
	results, err := r.results(args)
	if err != nil {
		return err
	}
	// Target by target: the worst of ours against the worst of the control's.
	worst := func(of []measured) (n int) {
		for _, t := range of {
			n = max(n, t.Lost)
		}
		return n
	}
	ours, theirs := worst(results), worst(reference)
	r.note("lost at most %d on a target, the control %d", ours, theirs)
	if ours > theirs+slack {
		return claim("lost %d on a target, the control %d:%s", ours, theirs, r.losses(append(results, reference...)))
	}
	return nil
}

// proxyTime is how long kube-proxy may take to serve what the API says.
const proxyTime = 1500 * time.Millisecond

// ahead is how much earlier kube-proxy may see a change than the witness.
const ahead = 50 * time.Millisecond

func (r *run) lostUnclaimed(grace time.Duration, args []string) error {
	results, err := r.results(args)
	if err != nil {
		return err
	}
	return r.onlyUnclaimed(grace, results)
}

func (r *run) onlyUnclaimed(grace time.Duration, results []measured) error {
	var longest time.Duration
	lost := 0
	for _, t := range results {
		port := witness.Port{Protocol: strings.ToUpper(t.Target.Protocol.String()), Number: t.Target.Addr.Port()}
		free, err := r.history.Unclaimed(t.Target.Addr.Addr(), port, t.from.Add(-time.Minute), t.to.Add(time.Minute))
		if err != nil {
			return err
		}
		for _, s := range t.Silences {
			lost += s.Requests
			within, ok := covers(free, s, grace)
			if !ok {
				return claim("lost while a Service had the port:%s", r.losses([]measured{t}))
			}
			longest = max(longest, s.End().Sub(within.End))
		}
	}
	r.note("lost %d while nobody claimed the port, at most %s beyond", lost, longest.Round(time.Millisecond))
	return nil
}

func covers(free []witness.Interval, s probe.Silence, grace time.Duration) (witness.Interval, bool) {
	for _, i := range free {
		if !s.Start.Before(i.Start.Add(-ahead)) && !s.End().After(i.End.Add(grace)) {
			return i, true
		}
	}
	return witness.Interval{}, false
}

func (r *run) silence(_ context.Context, args []string) error {
	if len(args) < 2 || args[0] != "max" {
		return fmt.Errorf("want max and a duration")
	}
	most, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	results, err := r.results(args[2:])
	if err != nil {
		return err
	}
	var longest probe.Silence
	for _, t := range results {
		if s := t.Longest(); s.Length > longest.Length {
			longest = s
		}
	}
	r.note("longest silence %s, %s", longest.Length.Round(time.Millisecond), r.stepAt(longest.Start))
	if longest.Length > most {
		return claim("silent for %s:%s", longest.Length, r.losses(results))
	}
	return nil
}

func (r *run) spread(_ context.Context, args []string) error {
	args, o, err := options(args, "over", "even")
	if err != nil {
		return err
	}
	least, err := number(o["over"])
	if err != nil {
		return err
	}
	percent := 0
	if o["even"] != "" {
		if percent, err = number(o["even"]); err != nil {
			return err
		}
	}
	results, err := r.results(args)
	if err != nil {
		return err
	}
	answered := map[string]int{}
	for _, t := range results {
		for pod, n := range t.Backends {
			answered[pod] += n
		}
	}
	if len(answered) < least {
		return claim("answered by %d pods, want %d: %v", len(answered), least, answered)
	}
	if o["even"] != "" && !even(answered, percent) {
		return claim("the pods answered, with shares that differ from an even one by more than %d %%: %v", percent, answered)
	}
	r.note("answers by pod: %v", answered)
	return nil
}

// even tells whether each count is the mean, give or take so many percent of it.
func even(counts map[string]int, percent int) bool {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	for _, n := range counts {
		if off := 100 * (n*len(counts) - sum); off > percent*sum || off < -percent*sum {
			return false
		}
	}
	return true
}

// servedBy tells which backends answered, by the first part of the pods' names.
func (r *run) servedBy(_ context.Context, args []string) error {
	results, err := r.results(args)
	if err != nil {
		return err
	}
	for _, t := range results {
		counts := map[string]int{}
		for pod, n := range t.Backends {
			backend, _, _ := strings.Cut(pod, "-")
			counts[backend] += n
		}
		r.note("%s: %v, %d lost", t.Target, counts, t.Lost)
	}
	return nil
}
