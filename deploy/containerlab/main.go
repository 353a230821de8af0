// Clab brings the containerlab topologies of this directory up, checks that
// holdfast does in them what it should, and takes them down.
//
//	clab check [TOPOLOGY...]  all of them, without names
//	clab shell TOPOLOGY       a shell beside a topology that is up; it ends with the shell
//	clab images               gives the images to the docker on this machine, and makes keys: for use by hand
//
// check and shell run in a world with a docker daemon of its own, and leave
// nothing behind.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"holdfast.dev/holdfast/deploy/lab/cluster"
	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/world"
)

// needed are programs that the images are made of and that the checks use, with
// the Debian packages that they are in.
var needed = [][2]string{
	{"dockerd", "docker.io"}, {"docker", "docker.io, or docker-cli where there is one"}, {"runc", "runc"},
	{"nft", "nftables"}, {"ip", "iproute2"}, {"bird", "bird2"}, {"vtysh", "frr"}, {frrDir + "bgpd", "frr"},
}

func main() {
	world.Init()
	if len(os.Args) > 1 && os.Args[1] == "probe" { // see startClient
		os.Exit(probe.Main(os.Args[2:], os.Stdout, os.Stderr))
	}
	if world.Inside() {
		os.Exit(exitCode(inside(os.Args[1:])))
	}
	os.Exit(exitCode(outside(os.Args[1:])))
}

func exitCode(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "clab:", err)
		return 1
	}
	return 0
}

// outside builds what is missing, which needs the network, and then goes into
// a world.
func outside(args []string) error {
	if err := checkArguments(args); err != nil {
		return err
	}
	if err := requirePrograms(); err != nil {
		return err
	}
	if missing := world.Missing(); missing != "" && args[0] != "images" {
		return fmt.Errorf("missing here: %s", missing)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err := cluster.Repository()
	if err != nil {
		return err
	}
	p, err := build(ctx, root, os.Stderr)
	if err != nil {
		return err
	}
	if args[0] == "images" {
		fmt.Fprintln(os.Stderr, "containerlab is", p.Containerlab)
		if err := loadImages(ctx, p); err != nil {
			return fmt.Errorf("making images: %w", err)
		}
		return writeKeys(filepath.Join(root, "deploy/containerlab/keys"))
	}
	e, err := json.Marshal(errand{root, p})
	if err != nil {
		return err
	}
	os.Args = append([]string{os.Args[0], string(e)}, args...)
	world.Main(func() int { panic("outside of a world") })
	return nil
}

// checkArguments refuses what nobody could do.
func checkArguments(args []string) error {
	if len(args) == 0 || !slices.Contains([]string{"check", "shell", "images"}, args[0]) ||
		args[0] == "shell" && len(args) != 2 || args[0] == "images" && len(args) != 1 {
		return errors.New("usage: clab check [TOPOLOGY...] | shell TOPOLOGY | images")
	}
	for _, name := range args[1:] {
		if !slices.Contains(topologies, name) {
			return fmt.Errorf("%q is no topology; they are %s", name, strings.Join(topologies, ", "))
		}
	}
	return nil
}

// An errand is what the process in the world must know.
type errand struct {
	Root  string
	Parts parts
}

// inside is the life in the world.
func inside(args []string) error {
	var e errand
	if len(args) < 2 || json.Unmarshal([]byte(args[0]), &e) != nil {
		return errors.New("this is a shell of `clab shell`, with a topology that is up; leave it first")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &report{out: os.Stdout}
	r.step("starting a docker daemon", func() error { return startDocker(ctx) })
	r.step("making images", func() error { return loadImages(ctx, e.Parts) })
	r.step("copying topologies, making keys", func() error { return copyDeploy(e.Root) })
	names := args[2:]
	if args[1] == "shell" {
		return shell(ctx, r, e.Parts, names[0])
	}
	if len(names) == 0 {
		names = topologies
	}
	for _, name := range names {
		if r.fatal == nil {
			checkTopology(ctx, r, &topology{name, e.Parts.Containerlab})
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return r.verdict()
}

// shell lets somebody look around.
func shell(ctx context.Context, r *report, p parts, name string) error {
	t := &topology{name, p.Containerlab}
	r.step("deploying "+t.name, func() error { return t.deploy(ctx) })
	if r.fatal != nil {
		fmt.Fprintln(os.Stderr, "clab:", r.fatal) // a good reason to look around
	}
	cmd := exec.Command("bash")
	cmd.Dir = filepath.Join(workplace, "containerlab")
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+filepath.Dir(p.Containerlab))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = cmd.Run() // how the last command in it ended is the user's business
	return nil
}

func requirePrograms() error {
	var missing []string
	for _, p := range needed {
		if _, err := exec.LookPath(p[0]); err != nil {
			missing = append(missing, fmt.Sprintf("%s (package %s)", p[0], p[1]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s; make containerlab installs what is missing, as root on Debian or Ubuntu", strings.Join(missing, ", "))
	}
	return nil
}
