package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// Up brings a lab up in a directory and tells how it goes. When it returns,
// all nodes are Ready and holdfast, if it is wanted, is rolled out. The calling
// binary's main must call world.Init first and pass `inside …` to [Inside].
func Up(ctx context.Context, dir string, o Options, progress io.Writer) (*Lab, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if missing := world.Missing(); missing != "" {
		return nil, fmt.Errorf("a lab needs %s", missing)
	}
	if err := requirePackages(); err != nil {
		return nil, err
	}
	state, err := StateDir(dir)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(state)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r, err := readRecord(state); !errors.Is(err, ErrNotRunning) {
		if err == nil {
			err = fmt.Errorf("a lab with %d nodes is running here already (lab down ends it)", r.Options.Nodes)
		}
		return nil, err
	}
	if err := prepare(ctx, state, o, progress); err != nil {
		return nil, err
	}
	l, err := spawn(state, o)
	if err != nil {
		return nil, err
	}
	err = l.follow(ctx, progress)
	if err == nil && o.Holdfast {
		err = l.installHoldfast(ctx, progress)
	}
	if err != nil {
		return nil, errors.Join(err, l.end())
	}
	return l, nil
}

// prepare fills a state directory that was left by whoever was there before.
func prepare(ctx context.Context, state string, o Options, progress io.Writer) error {
	s, err := findSource()
	if err != nil {
		return err
	}
	if o.Holdfast {
		if _, err := os.Stat(s.holdfastImage()); err != nil {
			return fmt.Errorf("no image of holdfast (make bin/holdfast.tar writes it; or lab up --without-holdfast): %w", err)
		}
	}
	b, err := s.build(ctx, progress)
	if err != nil {
		return err
	}
	world.SweepCgroups()
	if err := clear(state, false); err != nil {
		return err
	}
	for _, d := range []string{programsDir, imagesDir, logDir, nodesDir} {
		if err := os.Mkdir(filepath.Join(state, d), 0o755); err != nil {
			return fmt.Errorf("preparing the state directory: %w", err)
		}
	}
	first := filepath.Join(state, programsDir, "kubernetes")
	if err := linkOrCopy(b.kubernetes, first); err != nil {
		return err
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"} {
		if err := os.Link(first, filepath.Join(state, programsDir, name)); err != nil {
			return fmt.Errorf("preparing the state directory: %w", err)
		}
	}
	if o.Holdfast {
		b.images = append(b.images, s.holdfastImage())
		if err := linkOrCopy(s.holdfastProgram(), filepath.Join(state, programsDir, "holdfast")); err != nil {
			return err
		}
	}
	for _, tar := range b.images {
		if err := linkOrCopy(tar, filepath.Join(state, imagesDir, filepath.Base(tar))); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(state, progressFile), nil, 0o644)
}

// linkOrCopy makes to the same file as from, or a copy on another file system.
func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	if out, err := exec.Command("cp", "--preserve=mode", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copying %s: %w: %s", from, err, out)
	}
	return nil
}

// spawn starts the lab's world and records which process it is.
func spawn(state string, o Options) (*Lab, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(state, logDir, "lab.log"))
	if err != nil {
		return nil, fmt.Errorf("opening the lab's log: %w", err)
	}
	defer log.Close()
	process, err := world.Spawn([]string{"inside", "lab", state, string(text)}, log)
	if err != nil {
		return nil, err
	}
	go process.Wait() // while this process lives, it is the parent
	started, err := startTime(process.Pid)
	if err != nil {
		return nil, fmt.Errorf("starting the lab: it ended at once: %s", lastLines(log.Name(), 5))
	}
	l := &Lab{state: state, record: record{Pid: process.Pid, Started: started, Options: o}}
	if err := l.record.write(state); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return l, nil
}

// follow prints the supervisor's progress until the lab is ready.
func (l *Lab) follow(ctx context.Context, progress io.Writer) error {
	began := time.Now()
	seen := 0
	for {
		text, err := os.ReadFile(filepath.Join(l.state, progressFile))
		if err != nil {
			return fmt.Errorf("following the lab's progress: %w", err)
		}
		end := strings.LastIndex(string(text), "\n") + 1
		for line := range strings.Lines(string(text[seen:end])) {
			line = strings.TrimSuffix(line, "\n")
			if line == saidReady {
				return nil
			}
			if strings.HasPrefix(line, saidFailed) {
				return fmt.Errorf("bringing the lab up: %s", strings.TrimPrefix(string(text[strings.Index(string(text), saidFailed):]), saidFailed))
			}
			fmt.Fprintf(progress, "%5.1f s  %s\n", time.Since(began).Seconds(), line)
		}
		seen = end
		if !l.alive() {
			return fmt.Errorf("bringing the lab up: it ended:\n%s", lastLines(filepath.Join(l.state, logDir, "lab.log"), 10))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("bringing the lab up: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
