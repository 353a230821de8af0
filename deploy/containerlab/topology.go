package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"holdfast.dev/holdfast/deploy/world"
)

// workplace is a copy of deploy, for what is written beside a topology.
const workplace = "/run/deploy"

// A topology is one that has been deployed from its file NAME.clab.yml.
type topology struct {
	name         string
	containerlab string // the program
}

// copyDeploy copies what topology files refer to.
func copyDeploy(root string) error {
	from := filepath.Join(root, "deploy")
	here := filepath.Join(workplace, "containerlab")
	for _, dir := range []string{"containerlab", "crds"} {
		if err := os.CopyFS(filepath.Join(workplace, dir), os.DirFS(filepath.Join(from, dir))); err != nil {
			return fmt.Errorf("copying the topologies: %w", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(from, "rbac.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(workplace, "rbac.yaml"), text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("copying the manifests: %w", err)
	}
	// Keys of another run would do; but those of a user's own labs stay his.
	if err := os.RemoveAll(filepath.Join(here, "keys")); err != nil {
		return err
	}
	return writeKeys(filepath.Join(here, "keys"))
}

// run runs containerlab with a verb for this topology.
func (t *topology) run(ctx context.Context, verb string, flags ...string) error {
	args := append([]string{verb, "--topo", t.name + ".clab.yml"}, flags...)
	cmd := exec.CommandContext(ctx, t.containerlab, args...)
	cmd.Dir = filepath.Join(workplace, "containerlab")
	log, err := os.Create(filepath.Join("/run", t.name+"-"+verb+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("containerlab %s: %w\n%s", verb, err, lastLines(log.Name(), 15))
	}
	return nil
}

// deploy returns when the API answers, has all objects, and the daemons have
// been started.
func (t *topology) deploy(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, deployMax, fmt.Errorf("not within %s", deployMax))
	defer cancel() // containerlab waits for the API without end
	return t.run(ctx, "deploy")
}

func (t *topology) destroy(ctx context.Context) error { return t.run(ctx, "destroy", "--cleanup") }

// container is the name that containerlab gives to a node's container, and to
// its network namespace.
func (t *topology) container(node string) string { return "clab-" + t.name + "-" + node }

// exec runs a command in a node's container.
func (t *topology) exec(ctx context.Context, node string, argv ...string) (string, error) {
	return docker(ctx, nil, append([]string{"exec", t.container(node)}, argv...)...)
}

// tell prints the end of what is said in each container.
func (t *topology) tell(ctx context.Context, out io.Writer) {
	names, err := docker(ctx, nil, "ps", "--all", "--format", "{{.Names}}", "--filter", "name="+t.container(""))
	if err != nil {
		fmt.Fprintln(out, "asking for the containers:", err)
		return
	}
	for _, name := range slices.Sorted(strings.FieldsSeq(names)) {
		said, _ := exec.CommandContext(ctx, "docker", "logs", "--tail", "20", name).CombinedOutput() // an error is in it
		fmt.Fprintf(out, "--- %s\n%s", name, said)
	}
}

// kill ends the daemon of a container with SIGKILL; docker starts it anew.
func (t *topology) kill(ctx context.Context, daemon string) error {
	text, err := docker(ctx, nil, "inspect", "--format", "{{.State.Pid}}", t.container(daemon))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || pid <= 1 { // 0: it does not run; and to kill 0 is to kill ourselves
		return fmt.Errorf("killing the daemon in %s: it does not run", t.container(daemon))
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the daemon in %s: %w", t.container(daemon), err)
	}
	return nil
}

// upgrade ends it with SIGTERM and starts it anew.
func (t *topology) upgrade(ctx context.Context, daemon string) error {
	_, err := docker(ctx, nil, "restart", "--time", "30", t.container(daemon))
	return err
}

// A silence lets no packet into a node or out of it; its links stay up. It is
// what the others see of a node that loses its power.
type silence struct {
	nft   *exec.Cmd
	rules io.WriteCloser
}

const silentTable = `table inet silent {
	chain in { type filter hook input priority -300; policy drop; }
	chain out { type filter hook output priority -300; policy drop; }
}`

// prepareSilence starts the command that will make a node silent, so that
// nothing but its errand is left to be done when the time comes.
func (t *topology) prepareSilence(node string) (*silence, error) {
	s := &silence{nft: world.Command(t.container(node), "nft", "-f", "-")}
	var err error
	if s.rules, err = s.nft.StdinPipe(); err == nil {
		err = s.nft.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting nft on %s: %w", node, err)
	}
	return s, nil
}

// fall returns when the node is silent.
func (s *silence) fall() error {
	_, err := io.WriteString(s.rules, silentTable)
	if err := errors.Join(err, s.rules.Close(), s.nft.Wait()); err != nil {
		return fmt.Errorf("silencing a node: %w", err)
	}
	return nil
}

// restore ends the silence of a node.
func (t *topology) restore(node string) error {
	_, err := output(world.Command(t.container(node), "nft", "delete", "table", "inet", "silent"))
	return err
}
