package router

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// bird is BIRD, one process with one control socket.
type bird struct{ name, config string }

// StartBIRD starts BIRD in a network namespace. There must be no other BIRD in
// the namespace that writes to the kernel, and none of this name in the world.
// The context bounds the start, which takes about 0.05 s.
func StartBIRD(ctx context.Context, ns, name, config string) (*Router, error) {
	return start(ctx, ns, name, &bird{name, config}, birdPackage, "bird", "birdc")
}

func (b *bird) logs() string         { return filepath.Join("/run/bird", b.name) }
func (b *bird) socket(string) string { return filepath.Join(b.logs(), "bird.ctl") }
func (b *bird) file() string         { return filepath.Join(b.logs(), "bird.conf") }

// stages let one that follows a killed one take over what that has left in the kernel.
// One that follows none would wait for its neighbours first.
func (b *bird) stages(killed bool) [][]program {
	argv := []string{"bird", "-f", "-c", b.file(), "-s", b.socket("")}
	if killed {
		argv = append(argv, "-R")
	}
	return [][]program{{{"bird", argv}}}
}

// load waits until the configuration is in force: BIRD lets others connect
// before it reads the file, and ends if that is wrong.
func (b *bird) load(ctx context.Context) error {
	argv := b.command("show status")
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err == nil && bytes.Contains(out, []byte("Daemon is up and running")) {
		return nil
	}
	log, _ := os.ReadFile(filepath.Join(b.logs(), "bird.log")) // without it the error is poorer
	return fmt.Errorf("loading the configuration: %w: %s%s", orRefused(err), out, log)
}

func (b *bird) write() error {
	if err := os.MkdirAll(b.logs(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.file(), []byte(b.config), 0o644)
}

func (b *bird) command(line string) []string { return []string{"birdc", "-s", b.socket(""), line} }

// answer leaves out the greeting. birdc does not say by its exit code that a
// command is refused.
func (b *bird) answer(out []byte) ([]byte, error) {
	if greeting, rest, ok := bytes.Cut(out, []byte("\n")); ok && bytes.HasPrefix(greeting, []byte("BIRD ")) {
		out = rest
	}
	for _, wrong := range []string{"syntax error", "Access denied", "Unable to connect"} {
		if bytes.Contains(out, []byte(wrong)) {
			return out, errRefused
		}
	}
	return out, nil
}

// configure replaces the configuration; one that is refused changes nothing.
func (b *bird) configure(text string) error {
	next := b.file() + ".new"
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		return err
	}
	argv := b.command(fmt.Sprintf("configure %q", next))
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("birdc: %w: %s", err, bytes.TrimSpace(out))
	}
	out, err = b.answer(out)
	if err == nil && !bytes.Contains(out, []byte("econfigur")) { // "Reconfigured", "Reconfiguration in progress"
		err = errRefused
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	b.config = text
	return os.Rename(next, b.file())
}
