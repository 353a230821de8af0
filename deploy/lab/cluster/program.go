package cluster

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// restartPause is how long a program that ended by itself stays away.
const restartPause = time.Second

// searchPath is where programs of the lab find others.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A program is one that is kept running: when it ends, it is started again
// after a pause, until it is stopped.
type program struct {
	argv   []string
	ns     string // network namespace; empty means the caller's
	logDir string
	log    *slog.Logger

	mu     sync.Mutex
	wanted bool
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the last run after a stop has ended
}

// kubernetesProgram is one of the programs of Kubernetes.
func kubernetesProgram(name string, flags ...string) []string {
	return append([]string{filepath.Join(stateInside, programsDir, name)}, flags...)
}

func (p *program) name() string { return filepath.Base(p.argv[0]) }

// start does nothing if the program is running already.
func (p *program) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted {
		return nil
	}
	if err := p.launch(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name(), err)
	}
	p.wanted, p.ended = true, make(chan struct{})
	go p.keep(p.ended)
	return nil
}

// stop kills the program and returns when it is gone.
func (p *program) stop() {
	p.mu.Lock()
	ended := p.ended
	if p.wanted {
		p.wanted = false
		_ = p.cmd.Process.Kill() // gone already: as good
	}
	p.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

func (p *program) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted
}

// keep waits for the program and starts it again, until it is not wanted.
func (p *program) keep(ended chan struct{}) {
	defer close(ended)
	for {
		p.mu.Lock()
		cmd := p.cmd
		p.mu.Unlock()
		err := cmd.Wait()
		p.mu.Lock()
		wanted := p.wanted
		p.mu.Unlock()
		if !wanted {
			return
		}
		p.log.Warn("program ended", "program", p.name(), "error", err)
		time.Sleep(restartPause)
		p.mu.Lock()
		if !p.wanted {
			p.mu.Unlock()
			return
		}
		if err := p.launch(); err != nil {
			p.log.Error("program cannot be started again", "program", p.name(), "error", err)
			p.wanted = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// launch starts one run. The log of earlier runs is kept.
func (p *program) launch() error {
	out, err := os.OpenFile(filepath.Join(p.logDir, p.name()+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), searchPath)
	cmd.Stdout, cmd.Stderr = out, out
	p.cmd = cmd
	return world.Within(p.ns, cmd.Start)
}
