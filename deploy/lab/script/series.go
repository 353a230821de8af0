package script

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func init() {
	add("time", map[string]verb{
		"repeat": {"", "N FILE", "runs the commands in a file of the scenario N times; a claim that does not hold does not\nend it", (*run).repeat},
	})
	add("claims", map[string]verb{
		"measure":  {"", "NAME [TARGET...]", "keeps, for each family, the longest silence of the targets together as one sample of NAME", (*run).measure},
		"measured": {"", "NAME [p50=] [p99=] [max=] [lost=]", "the samples of NAME, of each family, are within bounds; they are kept as a figure", (*run).measured},
	})
}

// samples are the longest silences of a series, by family.
type samples struct {
	silences map[string][]time.Duration
	lost     map[string]int
	sent     map[string]int
}

func (r *run) repeat(ctx context.Context, args []string) error {
	if err := want(2, args, "how often, and a file"); err != nil {
		return err
	}
	n, err := number(args[0])
	if err != nil {
		return err
	}
	text, ok := r.script.Files[args[1]]
	if !ok {
		return fmt.Errorf("the scenario has no file %s", args[1])
	}
	body, err := Parse(r.script.Path+"/"+args[1], text)
	if err != nil {
		return err
	}
	var failures []string
	n = r.pace.part(n)
	for i := range n {
		fmt.Fprintf(r.out, "          %d of %d\n", i+1, n)
		failed, ended := r.play(ctx, body)
		failures = append(failures, failed...)
		if ended {
			return errors.New(strings.Join(failures, "\n"))
		}
	}
	if len(failures) > 0 {
		return claim("%s", strings.Join(failures, "\n"))
	}
	return nil
}

func (r *run) measure(_ context.Context, args []string) error {
	if err := want(1, args, "a name"); err != nil {
		return err
	}
	results, err := r.results(args[1:])
	if err != nil {
		return err
	}
	if r.samples == nil {
		r.samples = map[string]*samples{}
	}
	s := r.samples[args[0]]
	if s == nil {
		s = &samples{silences: map[string][]time.Duration{}, lost: map[string]int{}, sent: map[string]int{}}
		r.samples[args[0]] = s
	}
	longest := map[string]time.Duration{}
	for _, t := range results {
		family := "IPv4"
		if t.Target.Addr.Addr().Is6() {
			family = "IPv6"
		}
		longest[family] = max(longest[family], t.Longest().Length)
		s.lost[family] += t.Lost
		s.sent[family] += t.Sent
	}
	for family, d := range longest {
		s.silences[family] = append(s.silences[family], d)
	}
	fmt.Fprintf(r.out, "          %s: silent for %v\n", args[0], longest)
	return nil
}

func (r *run) measured(_ context.Context, args []string) error {
	args, o, err := options(args, "p50", "p99", "max", "lost")
	if err == nil {
		err = want(1, args, "a name")
	}
	if err != nil {
		return err
	}
	s := r.samples[args[0]]
	if s == nil {
		return fmt.Errorf("%s was not measured", args[0])
	}
	var wrong []string
	for _, family := range slices.Sorted(maps.Keys(s.silences)) {
		all := slices.Sorted(slices.Values(s.silences[family]))
		figures := map[string]time.Duration{"p50": percentile(all, 50), "p99": percentile(all, 99), "max": all[len(all)-1]}
		r.note("%s, %s: silent for p50 %s, p99 %s, worst %s in %d; lost %d of %d", args[0], family, short(figures["p50"]),
			short(figures["p99"]), short(figures["max"]), len(all), s.lost[family], s.sent[family])
		for _, what := range []string{"p50", "p99", "max"} {
			bound, err := duration(o, what, time.Hour)
			if err != nil {
				return err
			}
			if figures[what] > bound {
				wrong = append(wrong, fmt.Sprintf("%s %s of %s is above %s", family, what, short(figures[what]), bound))
			}
		}
		if text, bounded := o["lost"]; bounded {
			most, err := number(text)
			if err != nil {
				return err
			}
			if s.lost[family] > most {
				wrong = append(wrong, fmt.Sprintf("%s lost %d of %d", family, s.lost[family], s.sent[family]))
			}
		}
	}
	if len(wrong) > 0 {
		return claim("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// percentile is the smallest of sorted samples that n percent of them do not exceed.
func percentile(sorted []time.Duration, n int) time.Duration {
	return sorted[max(0, (len(sorted)*n+99)/100-1)]
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
