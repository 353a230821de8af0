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
)

func init() {
	add("time", map[string]verb{
		"repeat": {"", "N FILE", "runs the commands in a file of the scenario N times; a claim that does not hold does not\nend it", (*run).repeat},
	})
	add("claims", map[string]verb{
		"measure": {"", "NAME [TARGET...]", "keeps, for each family, the longest silence of the targets together as one sample of NAME", (*run).measure},
		"measured": {"", "NAME [p50=] [p99=] [max=] [lost=] [beyond=OTHER]", `the samples of NAME (of measure: of each family; of unrouted: of each router and family) are
within bounds; they are kept as a figure. beyond: times may exceed those of OTHER by so much`, (*run).measured},
	})
}

// samples are the times of a series, by what they are of: a family, or a router and one.
type samples struct {
	what  string // such as "silent for"
	times map[string][]time.Duration
	lost  map[string]int
	sent  map[string]int
}

// sampled returns the series of that name.
func (r *run) sampled(name, what string) *samples {
	if r.samples == nil {
		r.samples = map[string]*samples{}
	}
	if r.samples[name] == nil {
		r.samples[name] = &samples{what, map[string][]time.Duration{}, map[string]int{}, map[string]int{}}
	}
	return r.samples[name]
}

func (s *samples) add(of string, d time.Duration, lost, sent int) {
	s.times[of] = append(s.times[of], d)
	s.lost[of] += lost
	s.sent[of] += sent
}

// requests tells how many were lost, if the series is about requests.
func (s *samples) requests(of string) string {
	if s.sent[of] == 0 {
		return ""
	}
	return fmt.Sprintf("; lost %d of %d", s.lost[of], s.sent[of])
}

func familyOf(a netip.Addr) string {
	if a.Is6() {
		return "IPv6"
	}
	return "IPv4"
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
	longest, lost, sent := map[string]time.Duration{}, map[string]int{}, map[string]int{}
	for _, t := range results {
		family := familyOf(t.Target.Addr.Addr())
		longest[family] = max(longest[family], t.Longest().Length)
		lost[family] += t.Lost
		sent[family] += t.Sent
	}
	for family, d := range longest {
		r.sampled(args[0], "silent for").add(family, d, lost[family], sent[family])
	}
	fmt.Fprintf(r.out, "          %s: silent for %v\n", args[0], longest)
	return nil
}

func (r *run) measured(_ context.Context, args []string) error {
	args, o, err := options(args, "p50", "p99", "max", "lost", "beyond")
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
	other := &samples{}
	if name := o["beyond"]; name != "" {
		if other = r.samples[name]; other == nil {
			return fmt.Errorf("beyond=%s: that was not measured", name)
		}
	}
	var wrong []string
	for _, of := range slices.Sorted(maps.Keys(s.times)) {
		figures, more := figuresOf(s.times[of]), figuresOf(other.times[of])
		r.note("%s, %s: %s p50 %s, p99 %s, worst %s in %d%s", args[0], of, s.what, short(figures["p50"]),
			short(figures["p99"]), short(figures["max"]), len(s.times[of]), s.requests(of))
		for _, what := range []string{"p50", "p99", "max"} {
			bound, err := duration(o, what, time.Hour)
			if err != nil {
				return err
			}
			if bound += more[what]; figures[what] > bound {
				wrong = append(wrong, fmt.Sprintf("%s %s of %s is above %s", of, what, short(figures[what]), short(bound)))
			}
		}
		if text, bounded := o["lost"]; bounded {
			most, err := number(text)
			if err != nil {
				return err
			}
			if s.lost[of] > most {
				wrong = append(wrong, fmt.Sprintf("%s lost %d of %d", of, s.lost[of], s.sent[of]))
			}
		}
	}
	if len(wrong) > 0 {
		return claim("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// figuresOf are those of a series, by name; all are 0 if there are no samples.
func figuresOf(times []time.Duration) map[string]time.Duration {
	if len(times) == 0 {
		return nil
	}
	all := slices.Sorted(slices.Values(times))
	return map[string]time.Duration{"p50": percentile(all, 50), "p99": percentile(all, 99), "max": all[len(all)-1]}
}

// percentile is the smallest of sorted samples that n percent of them do not exceed.
func percentile(sorted []time.Duration, n int) time.Duration {
	return sorted[max(0, (len(sorted)*n+99)/100-1)]
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
