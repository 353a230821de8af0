// Lab is a whole Kubernetes cluster on one machine, to be used and broken at
// will. `lab help` lists what it can do.
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast.dev/holdfast/deploy/lab/cluster"
	"holdfast.dev/holdfast/deploy/world"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is the whole command, also for tests, which are their own lab.
func run(args []string) int {
	world.Init()
	if len(args) > 0 && args[0] == "inside" {
		return cluster.Inside(args[1:], slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	root := command()
	root.SetArgs(args)
	err := root.Execute()
	if exit := (exitCode)(0); errors.As(err, &exit) {
		return int(exit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}

// An exitCode is how a command that has said everything already ends.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// exit is the error for an exit code, none for 0.
func exit(code int) error {
	if code == 0 {
		return nil
	}
	return exitCode(code)
}

// become replaces this process by a command, which so gets the terminal and
// every signal itself.
func become(cmd *exec.Cmd) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	if err := syscall.Exec(cmd.Path, cmd.Args, cmd.Environ()); err != nil {
		return fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return nil
}

// dir is the directory whose lab is meant.
var dir string

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "lab",
		Short: "a whole Kubernetes cluster on one machine, to be used and broken at will",
		Long: `A lab is a whole Kubernetes cluster on one machine: etcd, API server, controller-manager,
scheduler, kubelets with containerd, kube-proxy, one network namespace a node, and a client.
It belongs to the directory in which you stand, and leaves nothing behind when it goes.`,
		SilenceErrors: true, SilenceUsage: true, TraverseChildren: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	here := os.Getenv("LAB_DIR")
	if here == "" {
		here = "."
	}
	root.PersistentFlags().StringVar(&dir, "dir", here, "directory whose lab is meant (or LAB_DIR)")
	root.AddCommand(upCommand(), downCommand(), statusCommand(), buildCommand(), packagesCommand(),
		kubectlCommand(), execCommand(), powerCommand(), cableCommand(), apiCommand(), routerCommand())
	root.AddCommand(trafficCommands()...)
	return root
}

// withLab runs do with the lab that is meant.
func withLab(do func(l *cluster.Lab, args []string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		l, err := cluster.Open(dir)
		if errors.Is(err, cluster.ErrNotRunning) {
			return fmt.Errorf("%w: lab up brings one up", err)
		}
		if err != nil {
			return err
		}
		return do(l, args)
	}
}
