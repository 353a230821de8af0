package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/world"
)

// A running probe sends new TCP connections, a thousand a second to each of the
// Service's addresses, until it is ended.
type running struct {
	cmd  *exec.Cmd
	stop io.Closer
	out  *strings.Builder
	done bool
}

// startProbe starts this program again as a prober in a network namespace.
func startProbe(namespace string) (*running, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := []string{self, "probe", "-control"}
	for _, address := range service {
		target := "tcp:" + address.String() + ":80"
		if address.Is6() {
			target = "tcp:[" + address.String() + "]:80"
		}
		argv = append(argv, target)
	}
	p := &running{cmd: world.Command(namespace, argv...), out: &strings.Builder{}}
	p.cmd.Stdout, p.cmd.Stderr = p.out, os.Stderr
	if p.stop, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the prober: %w", err)
	}
	return p, nil
}

// end ends the probe and returns what it saw. A second call does nothing.
func (p *running) end() (probe.Report, error) {
	if p.done {
		return probe.Report{}, nil
	}
	p.done = true
	var seen probe.Report
	p.stop.Close()
	exit := (*exec.ExitError)(nil)
	if err := p.cmd.Wait(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) { // 1: something was lost
		return seen, fmt.Errorf("probing: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &seen); err != nil {
		return seen, fmt.Errorf("reading what the prober saw: %w", err)
	}
	return seen, nil
}

// silences are the longest of each address.
func silences(seen probe.Report) string {
	var all []string
	for _, r := range seen.Results {
		all = append(all, fmt.Sprintf("%s %d, longest silence %s", r.Target, r.Lost, milliseconds(r.Longest().Length)))
	}
	return strings.Join(all, "; ")
}
