package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdfast.dev/holdfast/deploy/lab/cluster"
	"holdfast.dev/holdfast/deploy/lab/demo"
	"holdfast.dev/holdfast/deploy/lab/probe"
	"holdfast.dev/holdfast/deploy/lab/script"
	"holdfast.dev/holdfast/deploy/lab/witness"
)

// trafficCommands send traffic, watch it, and run what does both.
func trafficCommands() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: "probe [--from=client2|far] [flags] TARGET...", Short: "send requests from the client, or another one, and count what is lost",
			DisableFlagParsing: true,
			RunE:               func(_ *cobra.Command, args []string) error { return probeFromClient(args) },
		},
		{
			Use: "witness", Hidden: true, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return exit(witness.Main(args, os.Stdout, os.Stderr)) },
		},
		{
			Use: "run [flags] FILE|NAME...", Short: "run scenarios, each on a clean state",
			DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error {
				return exit(script.Main(dir, args, os.Stdout, os.Stderr))
			},
		},
		{
			Use: "list", Short: "list the scenarios that come with the lab", DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return exit(script.List(args, os.Stdout, os.Stderr)) },
		},
		{
			Use: "demo", Short: "show what an address that holds fast looks like", DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return exit(demo.Main(dir, args, os.Stdout, os.Stderr)) },
		},
		// Without a function to run, a command is a topic of lab help.
		{Use: "script", Short: "the verbs that scenarios may use", Long: verbsText()},
	}
}

func verbsText() string {
	var text strings.Builder
	script.Help(&text)
	return text.String()
}

// probeFromClient runs the probe in a client's network, as a copy of this
// command.
func probeFromClient(args []string) error {
	from := "client"
	if len(args) > 0 && strings.HasPrefix(args[0], "--from=") {
		from, args = strings.TrimPrefix(args[0], "--from="), args[1:]
	}
	asksForHelp := len(args) == 0 || args[0] == "-h" || args[0] == "--help"
	if asksForHelp || os.Getenv(cluster.InPlaceVar) != "" {
		return exit(probe.Main(args, os.Stdout, os.Stderr))
	}
	l, err := cluster.Open(dir)
	if errors.Is(err, cluster.ErrNotRunning) {
		return fmt.Errorf("%w: lab up brings one up", err)
	}
	if err != nil {
		return err
	}
	if !slices.Contains(l.Networks(), from) {
		return fmt.Errorf("probe --from=%s: want one of %s", from, strings.Join(l.Networks(), ", "))
	}
	return become(l.Self(from, append([]string{"probe"}, args...)...))
}
