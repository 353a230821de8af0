package probe

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// maxSilences is how many silences of a target are written out.
const maxSilences = 10

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "target\tsent\tanswered\tlost\tsilence\tp50\tp99\tmax\t")
	for _, t := range r.Results {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", t.Target, t.Sent, t.Answered, t.Lost,
			span(t.Longest().Length), span(t.P50), span(t.P99), span(t.Max))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, t := range r.Results {
		t.writeDetails(w)
	}
	if r.Late > 0 {
		fmt.Fprintf(w, "%d requests were sent more than %s after their time, at most %s: this machine is busy\n",
			r.Late, lateness, span(r.LateMax))
	}
	return nil
}

func (r Result) writeDetails(w io.Writer) {
	for i, s := range r.Silences {
		if i == maxSilences {
			fmt.Fprintf(w, "%s: and %d more\n", r.Target, len(r.Silences)-i)
			break
		}
		fmt.Fprintf(w, "%s: %s\n", r.Target, s)
	}
	if len(r.Backends) > 0 {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(r.Backends)) {
			names = append(names, fmt.Sprintf("%s %d", name, r.Backends[name]))
		}
		fmt.Fprintf(w, "%s: answered by %s\n", r.Target, strings.Join(names, ", "))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "%s: %d requests not sent, an error of this host: %s\n", r.Target, r.Errors[reason], reason)
	}
}

// manner says in which other ways than silence requests were lost.
func (s Silence) manner() string {
	switch {
	case s.Refused > 0 && s.Stalled > 0:
		return fmt.Sprintf(" (%d of them refused, %d stalled)", s.Refused, s.Stalled)
	case s.Refused > 0:
		return fmt.Sprintf(" (%d of them refused)", s.Refused)
	case s.Stalled > 0:
		return fmt.Sprintf(" (%d of them stalled)", s.Stalled)
	}
	return ""
}

// String says when, how long, and what was lost.
func (s Silence) String() string {
	return fmt.Sprintf("silent at %s for %s, %d lost%s", s.Start.Format("15:04:05.000"), span(s.Length), s.Requests, s.manner())
}

// span writes a duration with three digits that matter.
func span(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}
