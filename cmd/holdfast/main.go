// Command holdfast gives Services of type LoadBalancer their addresses, and
// announces them from the node that it runs on: as one copy of a DaemonSet, and, for
// operators, with commands beside it.
//
// Exit codes: 0 after it was told to end, 1 when it could not go on, 2 when the
// command line or the environment is wrong.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks what the user has to put right on the command line or in the
// environment.
var errUsage = errors.New("see holdfast --help, holdfast run --help")

func main() {
	err := command().Execute()
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "holdfast:", err)
		os.Exit(exitUsage)
	default:
		fmt.Fprintln(os.Stderr, "holdfast:", err)
		os.Exit(exitFailed)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "holdfast",
		Short:         "addresses for Services of type LoadBalancer, on bare metal",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(runCommand(), peersCommand(), flipCommand(), versionCommand())
	for _, c := range append(root.Commands(), root) {
		c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
		if c.Args != nil {
			continue
		}
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("%s knows no %q", c.CommandPath(), args[0]))
			}
			return nil
		}
	}
	return root
}

func usage(err error) error { return fmt.Errorf("%w; %w", err, errUsage) }
