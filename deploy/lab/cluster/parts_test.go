package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"holdfast.dev/holdfast/deploy/image"
)

func TestImageName(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lab.local/holdfast:dev", "registry:5000/a/b:v1", "holdfast:dev"} {
		file := filepath.Join(dir, "x.tar")
		if err := (image.Image{Name: name, Entrypoint: []string{"/x"}}).WriteFile(file); err != nil {
			t.Fatal(err)
		}
		got, err := imageName(file)
		if full := strings.Contains(name, "/"); full && got != name || !full && err == nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// The flags that are asked for come after those of the shipped manifest, where
// they win; the image is the one that the nodes have.
func TestOverlay(t *testing.T) {
	l := &Lab{state: t.TempDir(), record: record{Options: Options{Nodes: 1, Holdfast: true, HoldfastArgs: "--settle=5s --dwell=1s"}}}
	if err := os.Mkdir(filepath.Join(l.state, imagesDir), 0o755); err != nil {
		t.Fatal(err)
	}
	tar := filepath.Join(l.state, imagesDir, "holdfast.tar")
	if err := (image.Image{Name: "lab.local/holdfast:dev", Entrypoint: []string{"/x"}}).WriteFile(tar); err != nil {
		t.Fatal(err)
	}
	if err := l.writeOverlay(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(l.overlayDir(), "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var o overlay
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(l.overlayDir(), o.Resources[0], "kustomization.yaml")); err != nil {
		t.Errorf("the base is not where the overlay says: %v", err)
	}
	if o.Images[0] != (overlayImage{"holdfast", "lab.local/holdfast", "dev"}) {
		t.Errorf("image %+v", o.Images[0])
	}
	if p := o.Patches[0].Patch; !strings.Contains(p, `"--settle=5s"`) || !strings.Contains(p, `"--dwell=1s"`) {
		t.Errorf("patch %s", p)
	}
}

func TestRolledOut(t *testing.T) {
	var ds appsv1.DaemonSet
	ds.Generation = 2
	ds.Status = appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberAvailable: 3}
	if err := rolledOut(&ds, 3); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*appsv1.DaemonSetStatus){
		"old":           func(s *appsv1.DaemonSetStatus) { s.ObservedGeneration = 1 },
		"few nodes":     func(s *appsv1.DaemonSetStatus) { s.DesiredNumberScheduled = 2 },
		"not updated":   func(s *appsv1.DaemonSetStatus) { s.UpdatedNumberScheduled = 2 },
		"not available": func(s *appsv1.DaemonSetStatus) { s.NumberAvailable = 2 },
	} {
		wrong := ds
		spoil(&wrong.Status)
		if rolledOut(&wrong, 3) == nil {
			t.Errorf("%s: taken for rolled out", name)
		}
	}
}

// Whatever is built at the same time, everybody gets a complete file.
func TestAlwaysBuiltWhole(t *testing.T) {
	t.Setenv("LAB_CACHE", t.TempDir())
	s := source{root: t.TempDir()}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := s.once("x", func(out string) error { return os.WriteFile(out, []byte("whole"), 0o644) })
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "whole" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	all.Wait()
	broken := errors.New("broken")
	if _, err := s.once("y", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if left, err := os.ReadDir(s.cache()); err != nil || len(left) != 1 {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
}

func TestMeterCountsPackagesAndDownloads(t *testing.T) {
	var out bytes.Buffer
	m := startMeter(&out)
	for _, s := range []string{"go: downloading a v1\ngo: downloading b v1\n", "k8s.io/a\n", "k8s.io/b\nk8s.io/c\n"} {
		if _, err := m.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	m.stop()
	if m.downloaded != 2 || m.compiled != 3 || !strings.Contains(out.String(), "3 packages compiled") {
		t.Errorf("%d downloaded, %d compiled, %q", m.downloaded, m.compiled, out.String())
	}
}

func TestPackageListNamesProgramsForEach(t *testing.T) {
	for line := range strings.Lines(packageList) {
		if f := strings.Fields(line); len(f) == 1 {
			t.Errorf("%s: no program tells whether it is installed", f[0])
		}
	}
	if installed("no-such-program") || !installed("sh") || !installed("/nowhere|/bin/sh") {
		t.Error("what is installed is not recognised")
	}
}

// A program that is stopped stays stopped, and can be started again.
func TestProgramStops(t *testing.T) {
	p := &program{argv: []string{"sleep", "1000"}, logDir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	for range 3 {
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		pid := p.cmd.Process.Pid
		p.stop()
		p.stop()
		if _, err := startTime(pid); err == nil || p.running() {
			t.Errorf("process %d lives after its stop", pid)
		}
	}
	p.argv = []string{"/no/such/program"}
	if err := p.start(); err == nil {
		t.Error("started what is not there")
	}
}
