package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Invariant 2: a directory whose lab is gone is as good as a fresh one, even if
// another process has its pid now.
func TestNeverTakesAnotherProcessForALab(t *testing.T) {
	state := t.TempDir()
	if _, err := readRecord(state); !errors.Is(err, ErrNotRunning) {
		t.Errorf("fresh directory: %v", err)
	}
	started, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		r    record
		runs bool
	}{
		"this process":           {record{Pid: os.Getpid(), Started: started}, true},
		"its pid, another start": {record{Pid: os.Getpid(), Started: started + "1"}, false},
		"no process":             {record{Pid: 1 << 30, Started: started}, false},
	} {
		if err := c.r.write(state); err != nil {
			t.Fatal(err)
		}
		got, err := readRecord(state)
		if c.runs && (err != nil || got != c.r) || !c.runs && !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestStateDirRefusesRun(t *testing.T) {
	if _, err := StateDir("/run"); err == nil {
		t.Error("a lab in /run")
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/run", link); err != nil {
		t.Fatal(err)
	}
	if _, err := StateDir(link); err == nil {
		t.Error("a lab in a link to /run")
	}
	if filepath.Dir(dir) == "/run/tmp" {
		return // TMPDIR of a world
	}
	if state, err := StateDir(dir); err != nil || filepath.Base(state) != "run" {
		t.Errorf("%s, %v", state, err)
	}
}

func TestOnlyOneCommandAtATime(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	unlock, err := lock(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(state); err == nil {
		t.Error("locked twice")
	}
	unlock()
	again, err := lock(state)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestClearKeepsLogs(t *testing.T) {
	state := t.TempDir()
	for _, d := range []string{logDir, nodesDir, pkiDir} {
		if err := os.MkdirAll(filepath.Join(state, d, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, keep := range []bool{true, false} {
		if err := clear(state, keep); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(state)
		if want := map[bool]int{true: 1, false: 0}[keep]; err != nil || len(left) != want {
			t.Errorf("keeping logs %v: %v left, %v", keep, left, err)
		}
	}
	if err := clear(filepath.Join(state, "absent"), false); err != nil {
		t.Error(err)
	}
}
