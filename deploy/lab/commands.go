package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast.dev/holdfast/deploy/lab/cluster"
)

func upCommand() *cobra.Command {
	o := cluster.Options{}
	without := false
	c := &cobra.Command{
		Use: "up", Short: "bring a lab up: about 6 s, once Kubernetes is built", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o.Holdfast = !without
			_, err := cluster.Up(ctx, dir, o, os.Stderr)
			return err
		},
	}
	c.Flags().IntVar(&o.Nodes, "nodes", 3, "number of nodes, 1 to 20")
	c.Flags().StringVar(&o.Proxy, "proxy", "nftables", "kube-proxy's mode: nftables or iptables")
	c.Flags().BoolVar(&without, "without-holdfast", false, "a bare cluster")
	c.Flags().StringVar(&o.Routers, "routers", "", "routers that peer with every node, such as frr,bird: real ones, with a client named far on their other side")
	c.Flags().StringVar(&o.HoldfastArgs, "holdfast-args", "", "flags to add to holdfast's, parted by spaces, such as \"--settle=5s --overlap=5s\"")
	return c
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "end the lab; its logs stay in .lab/run/log", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := cluster.Open(dir)
			if errors.Is(err, cluster.ErrNotRunning) {
				return cluster.Clear(dir) // of one that was killed
			}
			if err != nil {
				return err
			}
			return l.Down()
		},
	}
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "build Kubernetes and the workload's images, once", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return cluster.Build(ctx, os.Stderr)
		},
	}
}

func packagesCommand() *cobra.Command {
	install := false
	c := &cobra.Command{
		Use: "packages", Short: "list the Debian packages that a lab needs and that are missing", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if install {
				return cluster.InstallPackages(os.Stderr)
			}
			if missing := cluster.MissingPackages(); len(missing) > 0 {
				fmt.Println(strings.Join(missing, "\n"))
				return exit(1)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&install, "install", false, "install them (root on Debian or Ubuntu)")
	return c
}

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl ARGS...", Short: "kubectl, for this lab; paths are relative to where you stand",
		DisableFlagParsing: true,
		RunE:               withLab(func(l *cluster.Lab, args []string) error { return become(l.Kubectl(args...)) }),
	}
}

func execCommand() *cobra.Command {
	return &cobra.Command{
		Use: "exec NAME CMD...", Short: "run a command on a node, or in the network of client, client2, far, cp, fab or a router",
		DisableFlagParsing: true,
		RunE: withLab(func(l *cluster.Lab, args []string) error {
			if len(args) < 2 {
				return errors.New("usage: lab exec NAME CMD...; NAME is one of " + strings.Join(append(l.Nodes(), l.Networks()...), ", "))
			}
			return become(l.Exec(args[0], args[1:]...))
		}),
	}
}

// verbs makes a command with one sub-command for each way to do something to
// one node, or whatever what is.
func verbs(name, short, what string, each map[string]func(*cluster.Lab, string) error, shorts map[string]string) *cobra.Command {
	parent := &cobra.Command{Use: name, Short: short}
	for verb, do := range each {
		parent.AddCommand(&cobra.Command{
			Use: verb + " " + what, Short: shorts[verb], Args: cobra.ExactArgs(1),
			RunE: withLab(func(l *cluster.Lab, args []string) error { return do(l, args[0]) }),
		})
	}
	return parent
}

func powerCommand() *cobra.Command {
	return verbs("power", "switch a node off or on", "NODE",
		map[string]func(*cluster.Lab, string) error{"off": (*cluster.Lab).PowerOff, "on": (*cluster.Lab).PowerOn},
		map[string]string{"off": "take its power away: all is lost but its disk", "on": "boot it"})
}

func cableCommand() *cobra.Command {
	return verbs("cable", "pull or plug a node's network cable", "NODE",
		map[string]func(*cluster.Lab, string) error{"pull": (*cluster.Lab).CablePull, "plug": (*cluster.Lab).CablePlug},
		map[string]string{"pull": "take the carrier from its eth0", "plug": "give it back"})
}

func routerCommand() *cobra.Command {
	c := verbs("router", "kill, stop, start, ask or configure a router", "NAME",
		map[string]func(*cluster.Lab, string) error{"kill": (*cluster.Lab).RouterKill, "stop": (*cluster.Lab).RouterStop, "start": (*cluster.Lab).RouterStart},
		map[string]string{
			"kill":  "end its processes; its kernel goes on forwarding",
			"stop":  "the same in order: it closes its sessions and takes its routes back",
			"start": "start its processes again",
		})
	c.AddCommand(
		&cobra.Command{
			Use: "show NAME CMD...", Short: "a command in its own language, such as: show bgp summary; show protocols", Args: cobra.MinimumNArgs(2),
			RunE: withLab(func(l *cluster.Lab, args []string) error {
				text, err := l.RouterShow(args[0], strings.Join(args[1:], " "))
				fmt.Print(text)
				return err
			}),
		},
		&cobra.Command{
			Use: "configure NAME LINE...", Short: "FRR: lines of its configuration; BIRD: the whole of it; - reads them from the input", Args: cobra.MinimumNArgs(2),
			RunE: withLab(func(l *cluster.Lab, args []string) error {
				text := strings.Join(args[1:], "\n")
				if text == "-" {
					all, err := io.ReadAll(os.Stdin)
					if err != nil {
						return fmt.Errorf("reading the configuration of %s: %w", args[0], err)
					}
					text = string(all)
				}
				return l.RouterConfigure(args[0], text+"\n")
			}),
		},
		&cobra.Command{
			Use: "config NAME", Short: "print its configuration, as it was given last", Args: cobra.ExactArgs(1),
			RunE: withLab(func(l *cluster.Lab, args []string) error {
				text, err := l.RouterConfig(args[0])
				fmt.Print(text)
				return err
			}),
		})
	return c
}

func apiCommand() *cobra.Command {
	c := verbs("api", "stop or start the API server, or cut one node off from it", "NODE",
		map[string]func(*cluster.Lab, string) error{"cut": (*cluster.Lab).APICut, "cut-pods": (*cluster.Lab).APICutPods, "join": (*cluster.Lab).APIJoin},
		map[string]string{
			"cut":      "drop all packets between a node and the API server",
			"cut-pods": "the same for pods only; the kubelet goes on",
			"join":     "undo cut and cut-pods",
		})
	c.AddCommand(
		&cobra.Command{
			Use: "stop", Short: "kill the API server; etcd stays", Args: cobra.NoArgs,
			RunE: withLab(func(l *cluster.Lab, _ []string) error { return l.APIStop() }),
		},
		&cobra.Command{
			Use: "start", Short: "start it again and wait until it is ready", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, args []string) error {
				return withLab(func(l *cluster.Lab, _ []string) error { return l.APIStart(c.Context()) })(c, args)
			},
		})
	return c
}
