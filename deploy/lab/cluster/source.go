package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A source is a clone of the repository: what a lab is built from.
type source struct{ root string }

// kubernetesVersion is what the programs say of themselves; it is that of
// k8s.io/kubernetes in their go.mod.
const kubernetesVersion = "v1.37.2"

func findSource() (source, error) {
	root, err := Repository()
	return source{root}, err
}

// Repository looks for the clone of the repository above this binary, then above
// the directory in which the caller stands. The environment variable LAB_SOURCE
// names it otherwise.
func Repository() (string, error) {
	if root := os.Getenv("LAB_SOURCE"); root != "" {
		return root, nil
	}
	var starts []string
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	for _, dir := range starts {
		for ; dir != "/"; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "deploy/lab/kubernetes/go.mod")); err == nil {
				return dir, nil
			}
		}
	}
	return "", errors.New("the repository of holdfast is neither above this program nor above this directory; name it in LAB_SOURCE")
}

// labDir is the directory of a part of the lab.
func (s source) labDir(part string) string { return filepath.Join(s.root, "deploy/lab", part) }

// crds is the kustomization of what stays when holdfast goes.
func (s source) crds() string { return filepath.Join(s.root, "deploy/crds") }

// cache is where built parts are kept.
func (s source) cache() string {
	if dir := os.Getenv("LAB_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(s.root, ".lab", "cache")
}

// holdfastImage is where the product's image is expected.
func (s source) holdfastImage() string { return filepath.Join(s.root, "bin", "holdfast.tar") }

// holdfastProgram is where the product's program is expected, beside its image.
func (s source) holdfastProgram() string { return filepath.Join(s.root, "bin", "holdfast") }

// key names what is built from some files by the Go that is installed.
func (s source) key(ctx context.Context, files ...string) (string, error) {
	sum := sha256.New()
	cmd := goCommand(ctx, s.labDir("kubernetes"), "env", "GOVERSION", "GOARCH")
	version, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking Go for its version: %w", err)
	}
	sum.Write(version)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("reading what the lab is built from: %w", err)
		}
		fmt.Fprintf(sum, "%s %d\n", filepath.Base(f), len(text))
		sum.Write(text)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8]), nil
}

// goCommand runs Go with the settings that everything here is built with:
// other ones would compile everything again.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false", "GOWORK=off")
	return cmd
}

// goBuild builds the program in dir.
func goBuild(ctx context.Context, dir, out, ldflags string, watch io.Writer, flags ...string) error {
	var said bytes.Buffer
	args := append([]string{"build", "-o", out, "-ldflags", strings.TrimSpace("-s -w " + ldflags)}, flags...)
	cmd := goCommand(ctx, dir, append(args, ".")...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if watch != nil {
		cmd.Stderr = io.MultiWriter(watch, &said)
	}
	if err := cmd.Run(); err != nil {
		text := said.Bytes()
		return fmt.Errorf("building %s: %w\n%s", filepath.Base(dir), err, text[max(0, len(text)-4000):])
	}
	return nil
}
