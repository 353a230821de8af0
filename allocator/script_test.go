package allocator_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	. "holdfast.dev/holdfast/allocator"
)

var update = flag.Bool("update", false, "write what the scripts of testdata came to into them")

// TestScripts runs the examples of testdata. A script is a list of sections:
//
//	now          commands (script_words_test.go lists them)
//	after 30s    the leader works while time passes; then commands
//	nobody 1h    commands, while nobody leads for so long; then a new leader comes
//	then         what has happened since the last such section: who holds what,
//	             "+" before a step, then whatever is not as its user wishes
//	places       who may answer for each address
//
// Every step is also put before Check and before the oracle.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{world: newWorld(rightPlanner, Settings{Settle: 30 * time.Second, Overlap: 30 * time.Second}), t: t}
	for i := range archive.Files {
		section := &archive.Files[i]
		switch what, rest, _ := strings.Cut(section.Name, " "); what {
		case "then":
			s.expect(section, s.state())
		case "places":
			s.expect(section, s.places())
		case "after", "nobody":
			d, err := time.ParseDuration(rest)
			if err != nil {
				t.Fatal(err)
			}
			if what == "after" {
				s.pass(d)
				s.commands(string(section.Data))
				break
			}
			s.idle = true
			s.commands(string(section.Data))
			s.idle = false
			s.unled(d)
			s.work()
		case "now":
			s.commands(string(section.Data))
		default:
			t.Fatalf("section %q: it is neither now, after, nobody, then nor places", section.Name)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A script is a world under way.
type script struct {
	*world
	t       *testing.T
	created int  // orders Services by age
	idle    bool // nobody leads
	steps   map[ServiceName][]Reason
}

func (s *script) expect(section *txtar.File, got string) {
	s.t.Helper()
	if want := string(section.Data); got != want && !*update {
		s.t.Errorf("%s after the start: got\n%s\nwant\n%s", s.now.Sub(noon), got, want)
	}
	section.Data = []byte(got)
}

func (s *script) commands(text string) {
	s.t.Helper()
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			if err := s.command(fields); err != nil {
				s.t.Fatalf("%s: %v", strings.TrimSpace(line), err)
			}
		}
		s.work()
	}
}

// work plans and writes until there is nothing more to write at this time.
func (s *script) work() {
	s.t.Helper()
	if s.idle {
		return
	}
	for range 10 {
		s.plan()
		if err := agreed(s.world); err != nil {
			s.t.Fatal(err)
		}
		if err := justified(s.world); err != nil {
			s.t.Fatal(err)
		}
		if err := told(s.world); err != nil {
			s.t.Fatal(err)
		}
		pending := s.pending()
		for _, d := range pending {
			if s.steps == nil {
				s.steps = map[ServiceName][]Reason{}
			}
			s.steps[d.Service] = append(s.steps[d.Service], d.Steps...)
			s.write(d)
		}
		if len(pending) == 0 {
			return
		}
	}
	s.t.Fatalf("still writing: %+v", s.pending())
}

// pass lets time pass, and the leader work whenever it wakes.
func (s *script) pass(d time.Duration) {
	until := s.now.Add(d)
	for s.work(); !s.wake.IsZero() && !s.wake.After(until); s.work() {
		s.now = s.wake
	}
	s.now = until
	s.work()
}

// state is what has been published, and why.
func (s *script) state() string {
	var b strings.Builder
	for _, v := range slices.SortedFunc(slices.Values(values(s.services)), age) {
		addresses := "-"
		if len(v.Holds) > 0 {
			addresses = strings.Trim(fmt.Sprint(v.Holds), "[]")
		}
		fmt.Fprintf(&b, "%-8s %s\n", short(v.Name), addresses)
		for _, r := range s.steps[v.Name] {
			fmt.Fprintf(&b, "  + %s\n", r)
		}
		for _, r := range s.latest[v.Name].Reasons {
			if r.Code != Held {
				fmt.Fprintf(&b, "  %s: %s\n", r.Code, r)
			}
		}
	}
	s.steps = nil
	for _, p := range values(s.pools) {
		if err := s.snapshot.PoolError(p.Name); err != nil {
			fmt.Fprintf(&b, "pool %s: %v\n", p.Name, err)
		}
		if err := s.snapshot.PoolWarning(p.Name); err != nil {
			fmt.Fprintf(&b, "pool %s (in use): %s\n", p.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	for _, ad := range values(s.ads) {
		if err := s.snapshot.AdvertisementError(ad.Name); err != nil {
			fmt.Fprintf(&b, "advertisement %s: %s\n", ad.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return b.String()
}

func short(n ServiceName) string { return strings.TrimPrefix(n.String(), "default/") }

// places is who may answer.
func (s *script) places() string {
	if err := seated(s.world); err != nil {
		s.t.Error(err)
	}
	var b strings.Builder
	for _, a := range slices.SortedFunc(mapKeys(s.seatNames()), netip.Addr.Compare) {
		seat := s.seats[a]
		fmt.Fprintf(&b, "%s", a)
		for _, c := range seat.Layer2 {
			fmt.Fprintf(&b, " %s", c.Node)
			if c.Weight > 0 {
				fmt.Fprintf(&b, "(%d)", c.Weight)
			}
			if len(c.Interfaces) > 0 {
				fmt.Fprintf(&b, "[%s]", strings.Join(c.Interfaces, " "))
			}
		}
		if len(seat.Layer2) == 0 {
			b.WriteString(" nowhere")
		}
		if len(seat.HealthPorts) > 0 {
			fmt.Fprintf(&b, ", health ports %v", seat.HealthPorts)
		}
		b.WriteString("\n")
		for _, r := range seat.Routes {
			fmt.Fprintf(&b, "  route %s by %s from %s\n", r.Prefix, r.Advertisement, routeText(r))
		}
		for _, u := range slices.Concat(seat.Unserved, seat.Remarks) {
			fmt.Fprintf(&b, "  %s: %s %s\n", u.Reason.Code, short(u.Service), u.Reason)
		}
	}
	return b.String()
}

// routeText is from whom and to whom a route goes.
func routeText(r Route) string {
	var b strings.Builder
	for i, n := range r.Nodes {
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(n)
		if r.Weights != nil {
			fmt.Fprintf(&b, "(%d)", r.Weights[i])
		}
	}
	if len(r.Peers) > 0 {
		fmt.Fprintf(&b, " to %s", strings.Join(r.Peers, " "))
	}
	if r.LocalPref > 0 {
		fmt.Fprintf(&b, ", local preference %d", r.LocalPref)
	}
	return b.String()
}

func (s *script) seatNames() map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for a := range s.seats {
		out[a] = ""
	}
	return out
}
