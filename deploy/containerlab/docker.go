package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast.dev/holdfast/deploy/world"
)

const (
	dockerSocket = "/run/docker.sock"
	dockerLog    = "/run/dockerd.log"
	dockerReady  = 30 * time.Second
	dockerAnswer = 2 * time.Minute // the longest that a command may take
)

//go:embed runc-without-sys-resource.sh
var runcWrapper []byte

// startDocker starts a docker daemon of this world's own: its images, networks
// and containers are in memory, and end with the world. It reads nothing of the
// machine's docker and changes none of its packet filters.
func startDocker(ctx context.Context) error {
	if err := useOwn(); err != nil {
		return err
	}
	group, err := world.NewCgroup() // open until this process ends
	if err != nil {
		return err
	}
	settings, err := dockerSettings(group.Path())
	if err != nil {
		return err
	}
	// Without a file of its own it would read /etc/docker/daemon.json.
	const file = "/run/dockerd.json"
	if err := os.WriteFile(file, settings, 0o644); err != nil {
		return err
	}
	log, err := os.Create(dockerLog)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("dockerd", "--config-file", file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return awaitDocker(ctx, ended)
}

// useOwn lets everything in this world talk to its own docker daemon, whatever
// the user has set for his, and lets containerlab ask nobody for news of itself.
func useOwn() error {
	var err error
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "DOCKER_") || strings.HasPrefix(name, "CLAB_") {
			err = errors.Join(err, os.Unsetenv(name))
		}
	}
	return errors.Join(err, os.Setenv("DOCKER_HOST", "unix://"+dockerSocket), os.Setenv("DOCKER_CONFIG", "/run/docker-config"),
		os.Setenv("CLAB_VERSION_CHECK", "disable"), os.Setenv("CLAB_LABDIR_BASE", "/run"))
}

// dockerSettings are the daemon's configuration.
func dockerSettings(cgroup string) ([]byte, error) {
	settings := map[string]any{
		"data-root": "/run/docker-files", "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
		"hosts":         []string{"unix://" + dockerSocket},
		"cgroup-parent": cgroup, "exec-opts": []string{"native.cgroupdriver=cgroupfs"},
		"bridge": "none", "iptables": false, "ip6tables": false, "ip-masq": false, "userland-proxy": false,
	}
	bounded, err := boundWithout(unix.CAP_SYS_RESOURCE)
	if err != nil {
		return nil, err
	}
	if bounded {
		const wrapper = "/run/runc-without-sys-resource"
		if err := os.WriteFile(wrapper, runcWrapper, 0o755); err != nil {
			return nil, fmt.Errorf("writing a wrapper of runc: %w", err)
		}
		settings["runtimes"] = map[string]any{"wrapped": map[string]string{"path": wrapper}}
		settings["default-runtime"] = "wrapped"
	}
	return json.Marshal(settings)
}

// boundWithout tells whether this process and its children can never have a
// capability.
func boundWithout(capability uint) (bool, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false, fmt.Errorf("asking for capabilities: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return set&(1<<capability) == 0, err
		}
	}
	return false, errors.New("asking for capabilities: /proc/self/status has no line CapBnd")
}

func awaitDocker(ctx context.Context, ended <-chan error) error {
	for deadline := time.Now().Add(dockerReady); ; {
		_, err := docker(ctx, nil, "version")
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("it ended\n%s", lastLines(dockerLog, 5))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer within %s: %w\n%s", dockerReady, err, lastLines(dockerLog, 5))
		}
	}
}

// docker runs the docker command and returns what it prints.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dockerAnswer)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin = stdin
	return output(cmd)
}

// output runs a command; its error tells what the command said.
func output(cmd *exec.Cmd) (string, error) {
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// lastLines are the end of a log, for an error message.
func lastLines(file string, n int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return filepath.Base(file) + ": " + strings.Join(lines[max(0, len(lines)-n):], "\n")
}
