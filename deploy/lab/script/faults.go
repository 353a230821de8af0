package script

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

func init() {
	add("faults", map[string]verb{
		"power": {"", "off|on NODE", "abruptly; on waits until the Node is Ready", (*run).power},
		"cable": {"", "pull|plug NODE", "the node's link", (*run).cable},
		"api":   {"", "stop|start | cut|join NODE", "the API server; cut: only that node cannot reach it", (*run).apiServer},
		"drain": {"", "NODE", "kubectl drain, and waits until it is done", (*run).drain},
		"uncordon": {"", "NODE", "kubectl uncordon", func(r *run, _ context.Context, args []string) error {
			return r.ctl(append([]string{"uncordon"}, args...)...)
		}},
		"exec": {"", "NAME CMD...", "runs a command on a node, or in the network of client, client2, far, cp, fab or a router. A client's\naddresses of a single host and a node's macvlans are taken away before the next scenario", (*run).exec},
		"label": {"", "NODE K=V|K-...", "kubectl label node", func(r *run, _ context.Context, args []string) error {
			return r.ctl(append([]string{"label", "--overwrite", "node"}, args...)...)
		}},
		"holdfast": {"", "kill|end|freeze|thaw NODE | restart | remove [all] | install", "SIGKILL, SIGTERM, SIGSTOP or SIGCONT to the daemon on the node. restart: a rolling restart of the\nDaemonSet, to its end. remove: kubectl delete -k deploy/, until no copy is left; all: also\n-k deploy/crds. install: back again, until all are ready", (*run).holdfast},
	})
}

func (r *run) power(ctx context.Context, args []string) error {
	if err := want(2, args, "off or on, and a node"); err != nil {
		return err
	}
	switch args[0] {
	case "off":
		return r.lab.PowerOff(args[1])
	case "on":
		if err := r.lab.PowerOn(args[1]); err != nil {
			return err
		}
		return until(ctx, 60*time.Second, func() error { return r.nodeIs(ctx, []string{args[1], "ready"}) })
	}
	return fmt.Errorf("power %s: want off or on", args[0])
}

func (r *run) cable(_ context.Context, args []string) error {
	if err := want(2, args, "pull or plug, and a node"); err != nil {
		return err
	}
	switch args[0] {
	case "pull":
		return r.lab.CablePull(args[1])
	case "plug":
		return r.lab.CablePlug(args[1])
	}
	return fmt.Errorf("cable %s: want pull or plug", args[0])
}

func (r *run) apiServer(ctx context.Context, args []string) error {
	switch first(args) {
	case "stop":
		return r.lab.APIStop()
	case "start":
		r.starts = append(r.starts, time.Now())
		return r.lab.APIStart(ctx)
	case "cut", "join":
		if err := want(2, args, "a node"); err != nil {
			return err
		}
		if args[0] == "cut" {
			return r.lab.APICut(args[1])
		}
		return r.lab.APIJoin(args[1])
	}
	return fmt.Errorf("want stop, start, cut NODE or join NODE")
}

func (r *run) exec(_ context.Context, args []string) error {
	if err := want(2, args, "a name and a command"); err != nil {
		return err
	}
	if out, err := r.lab.Exec(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", strings.Join(args[1:], " "), err, out)
	}
	return nil
}

func (r *run) drain(_ context.Context, args []string) error {
	return r.ctl(append([]string{"drain", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"}, args...)...)
}

func (r *run) holdfast(ctx context.Context, args []string) error {
	switch signal := map[string]string{"kill": "KILL", "end": "TERM", "freeze": "STOP", "thaw": "CONT"}[first(args)]; {
	case len(args) == 2 && signal != "":
		out, err := r.lab.Exec(args[1], "sh", "-c", eachHoldfast("kill -"+signal+" ${p#/proc/} && n=1")+`; [ "$n" ]`).CombinedOutput()
		if err != nil {
			return fmt.Errorf("sending SIG%s to holdfast on %s: %w: %s", signal, args[1], err, out)
		}
		return nil
	case len(args) == 1 && args[0] == "restart":
		if err := r.ctl("rollout", "restart", "-n", namespace, "daemonset/holdfast"); err != nil {
			return err
		}
		return r.ctl("rollout", "status", "-n", namespace, "daemonset/holdfast", "--timeout=180s")
	case first(args) == "remove" && (len(args) == 1 || len(args) == 2 && args[1] == "all"):
		r.removed = append(r.removed, span{from: time.Now()})
		return r.lab.RemoveHoldfast(ctx, len(args) == 2)
	case len(args) == 1 && args[0] == "install":
		if err := r.lab.SetHoldfastArgs(ctx, r.lab.Options().HoldfastArgs); err != nil {
			return err
		}
		if n := len(r.removed); n > 0 && r.removed[n-1].to.IsZero() {
			r.removed[n-1].to = time.Now()
		}
		return nil
	}
	return fmt.Errorf("want kill, end, freeze or thaw NODE, restart, remove, remove all or install")
}

// eachHoldfast is a loop of the shell over holdfast's processes on a node, which is a pid
// namespace of its own: $p is the folder in /proc of one that has this name.
func eachHoldfast(do string) string {
	return `for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = holdfast ] && ` + do + `; done`
}

// holdfastIsWell fails unless every copy is ready and one of them leads.
func holdfastIsWell(ctx context.Context, lab Lab, a *api) error {
	var d appsv1.DaemonSet
	if err := a.get(ctx, daemonSets, namespace, "holdfast", &d); err != nil {
		return err
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberReady < s.DesiredNumberScheduled || s.DesiredNumberScheduled == 0 {
		return fmt.Errorf("holdfast: %d of %d pods are ready", s.NumberReady, s.DesiredNumberScheduled)
	}
	_, err := leader(ctx, lab, a)
	return err
}
