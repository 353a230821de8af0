package script

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/lab/witness"
)

func TestParse(t *testing.T) {
	s, err := Parse("x.txtar", []byte(`# What it shows.
# More about it.

needs nodes=4 proxy=iptables routers=frr,bird2 flags='--settle=1s --dwell=2s'
tags slice long
set KEY 'it''s a $KEY'   # the end of the line
  edit a key=$KEY.x
! apply f.yaml
-- f.yaml --
kind: Service
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Summary != "What it shows." || s.Needs != (Needs{4, "iptables", "--settle=1s --dwell=2s", "frr,bird2"}) || !s.Is("slice") || !s.Is("long") || s.Is("x") {
		t.Errorf("%+v", s)
	}
	if string(s.Files["f.yaml"]) != "kind: Service\n" || len(s.Lines) != 3 {
		t.Fatalf("files %q, lines %v", s.Files, s.Lines)
	}
	if l := s.Lines[2]; l.Number != 8 || !l.Fails || l.Words[0].plain() != "apply" {
		t.Errorf("%+v", l)
	}
	vars := map[string]string{"KEY": "k"}
	if got, err := s.Lines[0].Words[2].expand(vars); err != nil || got != "it's a $KEY" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := s.Lines[1].Words[2].expand(vars); err != nil || got != "key=k.x" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Lines[1].Words[2].expand(nil); err == nil {
		t.Error("a variable that nobody set is not missed")
	}
}

// Invariant 4.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"mark\nslep 3s", "f:2: no verb \"slep\""},
		{"sleepy 3s", "; sleep?"},
		{"edit a 'b", "f:1: a single quote is not closed"},
		{"edit a $", "f:1: $ names no variable"},
		{"mark\n!", "f:2: ! alone"},
		{"mark\ntags x", "f:2: tags comes before"},
		{"needs node=3", "f:1: needs node=3: want"},
		{"needs nodes=no", "want a number"},
	} {
		if _, err := Parse("f", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestAlwaysSplitsWhatWasQuoted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-z'$# ]{0,8}`), 1, 5).Draw(t, "words")
		var b strings.Builder
		for _, w := range words {
			b.WriteString(" '" + strings.ReplaceAll(w, "'", "''") + "'")
		}
		got, err := split(b.String())
		if err != nil || len(got) != len(words) {
			t.Fatalf("%q became %v, %v", b.String(), got, err)
		}
		for i, w := range got {
			if s, err := w.expand(nil); err != nil || s != words[i] {
				t.Fatalf("word %d of %q is %q, %v", i, b.String(), s, err)
			}
		}
	})
}

// Every scenario that comes with the lab can be parsed and says what it shows.
func TestScenariosParse(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Summary == "" || len(s.Lines) == 0 {
			t.Errorf("%s: no summary or no commands", s.Name)
		}
		if s.Needs.Flags == "" && !s.Is("defaults") {
			t.Errorf("%s runs with the default flags without the tag defaults", s.Name)
		}
	}
	if len(all) == 0 {
		t.Error("no scenario")
	}
}

// Invariant 3.
func TestHelpTellsEveryVerb(t *testing.T) {
	var b strings.Builder
	Help(&b)
	for name, v := range verbs {
		if !strings.Contains(b.String(), "\n  "+name+" ") || v.help == "" || v.run == nil {
			t.Errorf("verb %s: help %q", name, v.help)
		}
	}
	for what := range waits {
		if !strings.Contains(waitHelp, "\n"+what) {
			t.Errorf("wait %s is not told", what)
		}
	}
}

func TestCovers(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	free := []witness.Interval{{Start: at(1000), End: at(2000)}}
	for _, c := range []struct {
		start, length int
		want          bool
	}{{1000, 1000, true}, {960, 100, true}, {900, 200, false}, {1500, 900, true}, {1500, 1600, false}, {2100, 10, true}, {3600, 10, false}} {
		s := probe.Silence{Start: at(c.start), Length: time.Duration(c.length) * time.Millisecond}
		if _, ok := covers(free, s, time.Second); ok != c.want {
			t.Errorf("silence from %d for %d: %v", c.start, c.length, ok)
		}
	}
}

func TestServicePatch(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"a policy=Local", `{"metadata":{"annotations":{},"labels":{}},"spec":{"externalTrafficPolicy":"Local"}}`},
		{"a key=", `{"metadata":{"annotations":{"metallb.io/allow-shared-ip":null},"labels":{}},"spec":{}}`},
		{"a udp/53", `{"metadata":{"annotations":{},"labels":{}},"spec":{"ports":[{"name":"udp-53","port":53,"protocol":"UDP","targetPort":8053}]}}`},
		{"a families=v4", `{"metadata":{"annotations":{},"labels":{}},"spec":{"ipFamilyPolicy":"SingleStack"}}`},
	} {
		patch, err := servicePatch(strings.Fields(c.args), false)
		if got := mustJSON(patch); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.args, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "a tcp80", "a tcp/1000", "a polcy=Local", "a families=v5"} {
		if _, err := servicePatch(strings.Fields(bad), false); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
