package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/world"
)

// A client sends new TCP connections, a thousand a second to each of the
// Service's addresses, until it is ended.
type client struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   strings.Builder
	ended bool
}

// startClient starts this program again as a prober in a network namespace.
func startClient(namespace string) (*client, error) {
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
	c := &client{cmd: world.Command(namespace, argv...)}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the prober: %w", err)
	}
	return c, nil
}

// end ends the client, once, and returns what it saw.
func (c *client) end() (seen probe.Report, err error) {
	c.ended = true
	c.stdin.Close()
	exit := (*exec.ExitError)(nil)
	if err := c.cmd.Wait(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) { // 1: something was lost
		return seen, fmt.Errorf("probing: %w", err)
	}
	if err := json.Unmarshal([]byte(c.out.String()), &seen); err != nil {
		return seen, fmt.Errorf("reading what the prober saw: %w", err)
	}
	return seen, nil
}

// stop ends it if that has not been done, whatever it saw.
func (c *client) stop() {
	if !c.ended {
		_, _ = c.end()
	}
}

// silences are the longest of each address.
func silences(seen probe.Report) string {
	var all []string
	for _, r := range seen.Results {
		all = append(all, fmt.Sprintf("%s %d, longest silence %s", r.Target, r.Lost, milliseconds(r.Longest().Length)))
	}
	return strings.Join(all, "; ")
}

// lostAfter is how many requests were lost in silences that began after a time
// or lasted on. The prober itself may have been late by half a second.
func lostAfter(seen probe.Report, at time.Time) (lost int) {
	for _, r := range seen.Results {
		for _, s := range r.Silences {
			if s.Start.After(at) || s.End().After(at.Add(time.Second/2)) {
				lost += s.Requests
			}
		}
	}
	return lost
}
