package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"holdfast.dev/holdfast/deploy/image"
)

// Build builds what labs are made of, if that has not been done: Kubernetes,
// which takes minutes, and the images of the workload. It tells how it goes.
func Build(ctx context.Context, progress io.Writer) error {
	s, err := findSource()
	if err != nil {
		return err
	}
	_, err = s.build(ctx, progress)
	return err
}

// Kubernetes returns the path of the binary that holds etcd, the control plane, the
// kubelet and kubectl. It is built if it has not been; progress is told how that goes.
func Kubernetes(ctx context.Context, progress io.Writer) (string, error) {
	s, err := findSource()
	if err != nil {
		return "", err
	}
	return s.buildKubernetes(ctx, progress)
}

// built are the parts of a lab.
type built struct {
	kubernetes string   // the binary
	images     []string // tars
}

func (s source) build(ctx context.Context, progress io.Writer) (b built, err error) {
	if b.kubernetes, err = s.buildKubernetes(ctx, progress); err != nil {
		return b, err
	}
	for _, name := range []string{"pause", "echo"} {
		tar, err := s.buildImage(ctx, name)
		if err != nil {
			return b, err
		}
		b.images = append(b.images, tar)
	}
	return b, nil
}

// buildKubernetes returns the binary for these sources; it builds it once.
func (s source) buildKubernetes(ctx context.Context, progress io.Writer) (string, error) {
	dir := s.labDir("kubernetes")
	key, err := s.key(ctx, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"), filepath.Join(dir, "main.go"))
	if err != nil {
		return "", err
	}
	return s.once("kubernetes-"+key, func(out string) error {
		fmt.Fprintln(progress, "building Kubernetes from source, once: about 7 minutes on two idle cores (seconds if this machine compiled it before); 100 MB to download, 5 GB of build cache, 4 GB of memory")
		version := []string{"gitVersion=" + kubernetesVersion, "gitMajor=1", "gitMinor=" + strings.Split(kubernetesVersion, ".")[1],
			"gitTreeState=clean", "gitCommit=gomod"}
		ldflags := ""
		for _, v := range version {
			ldflags += " -X k8s.io/component-base/version." + v
		}
		meter := startMeter(progress)
		defer meter.stop()
		return goBuild(ctx, dir, out, ldflags, meter, "-v")
	})
}

// buildImage returns the tar of one of the lab's own images.
func (s source) buildImage(ctx context.Context, name string) (string, error) {
	dir := s.labDir(name)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	key, err := s.key(ctx, files...)
	if err != nil {
		return "", err
	}
	return s.once(name+"-"+key+".tar", func(out string) error {
		binary := out + ".bin"
		if err := goBuild(ctx, dir, binary, "", nil); err != nil {
			return err
		}
		content, err := os.ReadFile(binary)
		if err := errors.Join(err, os.Remove(binary)); err != nil {
			return err
		}
		i := image.Image{
			Name: "lab.local/" + name + ":v1", User: "65532", Entrypoint: []string{"/" + name},
			Files: []image.File{{Path: "/" + name, Content: content}},
		}
		return i.WriteFile(out)
	})
}

// once returns a file of the cache, and makes it first if it is not there.
// Two that make it at the same time do not harm each other.
func (s source) once(name string, build func(out string) error) (string, error) {
	path := filepath.Join(s.cache(), name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	if err := os.MkdirAll(s.cache(), 0o755); err != nil {
		return "", fmt.Errorf("making the cache: %w", err)
	}
	scratch, err := os.MkdirTemp(s.cache(), "building-")
	if err != nil {
		return "", fmt.Errorf("making room in the cache: %w", err)
	}
	defer os.RemoveAll(scratch)
	out := filepath.Join(scratch, name)
	if err := build(out); err != nil {
		return "", err
	}
	return path, os.Rename(out, path)
}

// A meter counts what `go build -v` prints, and shows the count: on a terminal
// ever anew on one line, else now and then.
type meter struct {
	out      io.Writer
	terminal bool
	began    time.Time
	done     chan struct{}
	stopped  chan struct{}

	mu                   sync.Mutex
	compiled, downloaded int
}

// packagesOfKubernetes is how many there are to compile at most.
const packagesOfKubernetes = 2900

func startMeter(out io.Writer) *meter {
	m := &meter{out: out, began: time.Now(), done: make(chan struct{}), stopped: make(chan struct{})}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		m.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	go m.run()
	return m
}

// Write counts lines: modules that are downloaded, packages that are compiled.
func (m *meter) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	downloads := bytes.Count(b, []byte("go: downloading"))
	m.downloaded += downloads
	m.compiled += bytes.Count(b, []byte("\n")) - downloads
	return len(b), nil
}

func (m *meter) line() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := time.Since(m.began).Round(time.Second)
	if m.compiled == 0 && m.downloaded > 0 {
		return fmt.Sprintf("%6s  %d modules downloaded", took, m.downloaded)
	}
	return fmt.Sprintf("%6s  %d packages compiled, of %d at most", took, m.compiled, packagesOfKubernetes)
}

func (m *meter) run() {
	defer close(m.stopped)
	every := 20 * time.Second
	if m.terminal {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-m.done:
			if m.terminal {
				fmt.Fprint(m.out, "\r\033[K")
			}
			fmt.Fprintln(m.out, m.line())
			return
		case <-tick.C:
			if m.terminal {
				fmt.Fprint(m.out, "\r\033[K", m.line())
			} else {
				fmt.Fprintln(m.out, m.line())
			}
		}
	}
}

func (m *meter) stop() {
	close(m.done)
	<-m.stopped
}
