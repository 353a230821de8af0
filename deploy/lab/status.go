package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"holdfast.dev/holdfast/deploy/lab/cluster"
)

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "what the lab is, and how its nodes are", Args: cobra.NoArgs,
		RunE: withLab(func(l *cluster.Lab, _ []string) error { return printStatus(l) }),
	}
}

func printStatus(l *cluster.Lab) error {
	s, err := l.Status()
	if err != nil {
		return err
	}
	o := l.Options()
	fmt.Printf("lab in %s, process %d, kube-proxy %s, %s\n", l.Dir(), l.Pid(), o.Proxy, holdfastLine(o))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	seen, err := observe(ctx, l)
	switch {
	case !s.API:
		fmt.Println("API server: stopped (lab api start)")
	case err != nil:
		fmt.Println("API server: runs, does not answer:", err)
	default:
		fmt.Println("API server: runs")
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "node\tpower\tcable\tAPI\tkubelet\tholdfast")
	for _, n := range s.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, word(n.Powered, "on", "OFF"), word(n.Plugged, "plugged", "PULLED"),
			word(n.Cut == "", "joined", "CUT "+n.Cut), orUnknown(seen.nodes[n.Name]), orUnknown(seen.copies[n.Name]))
	}
	if err := table.Flush(); err != nil || len(s.Routers) == 0 {
		return err
	}
	return printRouters(l, s.Routers)
}

func printRouters(l *cluster.Lab, names []string) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "router\tprocesses\tBGP up with\tBFD up with")
	for _, name := range names {
		r, err := l.RouterStatus(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", name, word(r.Running, "run", "ENDED"), upWith(r.BGP), upWith(r.BFD))
	}
	return table.Flush()
}

// upWith lists those whose session is up.
func upWith(sessions map[netip.Addr]bool) string {
	var up []string
	for _, a := range slices.SortedFunc(maps.Keys(sessions), netip.Addr.Compare) {
		if sessions[a] {
			up = append(up, a.String())
		}
	}
	return orUnknown(strings.Join(up, " "))
}

func holdfastLine(o cluster.Options) string {
	if !o.Holdfast {
		return "without holdfast"
	}
	return strings.TrimSpace("with holdfast " + o.HoldfastArgs)
}

func word(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

func orUnknown(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// observed is what Kubernetes says of each node, and of holdfast on it.
type observed struct{ nodes, copies map[string]string }

func observe(ctx context.Context, l *cluster.Lab) (observed, error) {
	o := observed{map[string]string{}, map[string]string{}}
	api, err := kubernetes.NewForConfig(l.REST())
	if err != nil {
		return o, err
	}
	nodes, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return o, err
	}
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				o.nodes[n.Name] = word(c.Status == corev1.ConditionTrue, "Ready", "NotReady")
			}
		}
	}
	pods, err := api.CoreV1().Pods("holdfast-system").List(ctx, metav1.ListOptions{})
	if err != nil {
		return o, err
	}
	for _, p := range pods.Items {
		o.copies[p.Spec.NodeName] = string(p.Status.Phase)
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				o.copies[p.Spec.NodeName] = "Ready"
			}
		}
	}
	return o, nil
}
