package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The wrapper takes one capability out of what a container and what a command
// in it are given, and hands everything on to runc.
func TestWrapperOfRunc(t *testing.T) {
	const asked = `{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE","CAP_SYS_TIME"],"effective":["CAP_SYS_TIME","CAP_SYS_RESOURCE"]}`
	const given = `{"bounding":["CAP_CHOWN","CAP_SYS_TIME"],"effective":["CAP_SYS_TIME"]}`
	for _, args := range [][]string{
		{"--root", "/r", "create", "--bundle", "DIR", "--pid-file", "p", "id"},
		{"create", "-b", "DIR", "id"},
		{"exec", "--process", "DIR/config.json", "id"},
		{"exec", "-p", "DIR/config.json", "id"},
	} {
		dir := t.TempDir()
		config := filepath.Join(dir, "config.json")
		write(t, config, asked)
		write(t, filepath.Join(dir, "runc"), "#!/bin/sh\necho \"$@\" >"+dir+"/called\n")
		write(t, filepath.Join(dir, "wrapper"), string(runcWrapper))
		for i := range args {
			args[i] = strings.Replace(args[i], "DIR", dir, 1)
		}
		cmd := exec.Command(filepath.Join(dir, "wrapper"), args...)
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		if got := read(t, config); got != given {
			t.Errorf("%v: given %s, want %s", args, got, given)
		}
		if got := read(t, filepath.Join(dir, "called")); got != strings.Join(args, " ")+"\n" {
			t.Errorf("%v: runc was called with %s", args, got)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
