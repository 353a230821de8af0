package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// The routers of a lab do what they are there for, whoever speaks BGP on the nodes: here
// it is BIRD.
func TestRouters(t *testing.T) {
	scenario, err := filepath.Abs("testdata/routers.txtar")
	must(t, err)
	dir := newDir(t)
	mustLab(t, dir, "up", "--without-holdfast", "--nodes=2", "--routers=frr,bird")
	status := mustLab(t, dir, "status")
	for _, line := range []string{"router  processes", "frr     run", "bird    run"} {
		if !strings.Contains(status, line) {
			t.Errorf("lab status does not tell %q:\n%s", line, status)
		}
	}
	t.Log(mustLab(t, dir, "run", scenario))
	if out, err := lab(dir, "router", "show", "cisco", "version").CombinedOutput(); err == nil || !strings.Contains(string(out), "they are frr, bird") {
		t.Errorf("a router that is not there: %v: %s", err, out)
	}
	// The next scenario finds the routers running.
	mustLab(t, dir, "router", "kill", "frr")
	mustLab(t, dir, "run", filepath.Join(filepath.Dir(scenario), "routers-again.txtar"))
}
