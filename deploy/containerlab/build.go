package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"holdfast.dev/holdfast/deploy/lab/cluster"
)

const clabModule = "github.com/srl-labs/containerlab"

// parts are the programs that a check is made of.
type parts struct {
	Containerlab string // the program
	Kubernetes   string // etcd, kube-apiserver and kubectl in one
	Echo         string // the nodes' server
	Holdfast     string // the tar of holdfast's image
}

// build builds what has not been built; minutes the first time.
func build(ctx context.Context, root string, progress io.Writer) (p parts, err error) {
	p.Holdfast = filepath.Join(root, "bin", "holdfast.tar")
	if _, err := os.Stat(p.Holdfast); err != nil {
		return p, fmt.Errorf("looking for holdfast's image: %w (make bin/holdfast.tar makes it)", err)
	}
	if p.Kubernetes, err = cluster.Kubernetes(ctx, progress); err != nil {
		return p, err
	}
	if p.Containerlab, err = buildContainerlab(ctx, root, progress); err != nil {
		return p, err
	}
	p.Echo = filepath.Join(cacheDir(root), "echo")
	return p, goBuild(ctx, filepath.Join(root, "deploy/lab"), p.Echo, "./echo")
}

func cacheDir(root string) string {
	if dir := os.Getenv("LAB_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(root, ".lab", "cache")
}

// buildContainerlab returns the program for the sources in tool; it is built
// once for each state of them.
func buildContainerlab(ctx context.Context, root string, progress io.Writer) (string, error) {
	tool := filepath.Join(root, "deploy/containerlab/tool")
	key, err := toolKey(ctx, tool)
	if err != nil {
		return "", err
	}
	out := filepath.Join(cacheDir(root), "containerlab-"+key, "containerlab")
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	fmt.Fprintln(progress, "building containerlab from source, once: about two minutes on two idle cores; 200 MB to download, 1.4 GB unpacked, 0.8 GB of build cache")
	scratch, err := os.MkdirTemp(cacheDir(root), "building-")
	if err != nil {
		return "", fmt.Errorf("making room in the cache: %w", err)
	}
	defer os.RemoveAll(scratch)
	flags, err := overlaid(ctx, tool, scratch)
	if err != nil {
		return "", fmt.Errorf("preparing to build containerlab: %w", err)
	}
	made := filepath.Join(scratch, "containerlab")
	if err := goBuild(ctx, tool, made, append(flags, clabModule)...); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	return out, os.Rename(made, out)
}

// toolKey names what decides the program: module files, overlay, Go.
func toolKey(ctx context.Context, tool string) (string, error) {
	version, err := goCommand(ctx, tool, "env", "GOVERSION", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("asking Go for its version: %w", err)
	}
	sum := sha256.New()
	sum.Write(version)
	err = fs.WalkDir(os.DirFS(tool), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(tool, name))
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading what containerlab is built from: %w", err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8]), nil
}

// overlaid returns the flags that make Go compile files of tool/overlay in
// place of containerlab's own. Go refuses an overlay of files in its module
// cache; so the module, checked against go.sum, is reached by a link outside.
func overlaid(ctx context.Context, tool, scratch string) ([]string, error) {
	var module struct{ Dir, Version string }
	out, err := goCommand(ctx, tool, "mod", "download", "-json", clabModule).Output()
	if err != nil {
		return nil, fmt.Errorf("downloading %s: %w: %s", clabModule, err, out)
	}
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, err
	}
	link := filepath.Join(scratch, "source")
	if err := os.Symlink(module.Dir, link); err != nil {
		return nil, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(tool, name))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(scratch, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	modfile := filepath.Join(scratch, "go.mod")
	if out, err := goCommand(ctx, tool, "mod", "edit", "-replace", clabModule+"="+link, modfile).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("replacing %s by %s: %w: %s", clabModule, link, err, out)
	}
	overlay, err := writeOverlay(filepath.Join(tool, "overlay"), link, scratch)
	if err != nil {
		return nil, err
	}
	version := "-X " + clabModule + "/cmd.version=" + strings.TrimPrefix(module.Version, "v")
	return []string{"-modfile=" + modfile, "-overlay=" + overlay, "-ldflags=-s -w " + version}, nil
}

// writeOverlay says which file stands in for which.
func writeOverlay(from, source, scratch string) (string, error) {
	replace := map[string]string{}
	err := fs.WalkDir(os.DirFS(from), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			replace[filepath.Join(source, name)] = filepath.Join(from, name)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(scratch, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}

// goBuild builds one program of a module.
func goBuild(ctx context.Context, dir, out string, args ...string) error {
	cmd := goCommand(ctx, dir, append([]string{"build", "-o", out}, args...)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", filepath.Base(out), err, said[max(0, len(said)-4000):])
	}
	return nil
}

// goCommand runs Go with the settings with which everything here is built:
// static programs, the same on every machine.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false", "GOWORK=off")
	return cmd
}
