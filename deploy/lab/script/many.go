package script

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Verbs for thousands of Services.
func init() {
	add("objects", map[string]verb{
		"services": {"", "N SVC PORT... " + serviceOptions,
			"creates N such Services, SVC-1 to SVC-N, without node ports, one after the other", (*run).services},
	})
	add("claims", map[string]verb{
		"inherited": {"", "NODE within=DURATION",
			"each address that NODE was last heard announcing before the mark has been announced by\nanother station, at most so long after the mark", (*run).inherited},
		"one-owner-each": {"", "NAMESPACE", "exactly one station answers for each address of its Services", (*run).oneOwnerEach},
		"usage":          {"", "[over=10s]", "keeps as a figure the memory of holdfast on each node, and what it takes of a processor", (*run).usage},
	})
}

func (r *run) services(ctx context.Context, args []string) error {
	if err := want(2, args, "how many, and the name of a Service"); err != nil {
		return err
	}
	n, err := number(args[0])
	if err != nil {
		return err
	}
	patch, err := servicePatch(args[1:], true)
	if err != nil {
		return err
	}
	patch["apiVersion"], patch["kind"] = "v1", "Service"
	patch["spec"].(object)["allocateLoadBalancerNodePorts"] = false // there are fewer of those than of Services
	ns, name := splitName(args[1])
	meta := patch["metadata"].(object)
	for i := 1; i <= r.pace.part(n); i++ {
		meta["name"], meta["namespace"] = fmt.Sprintf("%s-%d", name, i), ns
		if _, err := r.api.Resource(services).Namespace(ns).Create(ctx, toUnstructured(patch), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) inherited(_ context.Context, args []string) error {
	args, o, err := options(args, "within")
	if err == nil {
		err = want(1, args, "a node")
	}
	if err != nil {
		return err
	}
	within, err := duration(o, "within", time.Second)
	if err != nil {
		return err
	}
	mac, err := r.lab.MAC(args[0])
	if err != nil {
		return err
	}
	var took []time.Duration
	var lost []string
	for addr, d := range r.heard.Heirs(mac.String(), r.mark) {
		if d < 0 || d > within {
			lost = append(lost, addr.String())
		}
		if d >= 0 {
			took = append(took, d)
		}
	}
	slices.Sort(took)
	if len(took) > 0 {
		r.note("%d addresses inherited from %s: p50 %s, p99 %s, last %s", len(took), args[0], short(percentile(took, 50)), short(percentile(took, 99)), short(took[len(took)-1]))
	}
	switch slices.Sort(lost); {
	case len(lost) > 0:
		return claim("%d of the addresses of %s have no heir, or it came later than %s: %v", len(lost), args[0], within, lost[:min(len(lost), 10)])
	case len(took) == 0:
		return claim("%s had no address", args[0])
	}
	return nil
}

// oneOwnerEach asks for every address, and again for those that are not answered.
func (r *run) oneOwnerEach(ctx context.Context, args []string) error {
	if err := want(1, args, "a namespace"); err != nil {
		return err
	}
	var open []netip.Addr
	err := r.api.each(ctx, services, args[0], func(name string) error {
		open = append(open, r.history.Now(full(args[0]+"/"+name)).Addresses...)
		return nil
	})
	if err != nil {
		return err
	}
	if len(open) == 0 {
		return claim("no Service of %s has an address", args[0])
	}
	asked, counts := len(open), map[string]int{}
	for range 5 {
		from := time.Now()
		for i, addr := range open {
			if err := r.wire.Ask(addr); err != nil {
				return err
			}
			if i%50 == 49 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		time.Sleep(500 * time.Millisecond)
		var silent []netip.Addr
		for _, addr := range open {
			switch macs := r.heard.Stations(addr, from); len(macs) {
			case 0:
				silent = append(silent, addr)
			case 1:
				counts[r.nodeOf(macs[0])]++
			default:
				return claim("%s is answered for by %v", addr, macs)
			}
		}
		if open = silent; len(open) == 0 {
			break
		}
	}
	r.note("%d addresses: %v", asked, counts)
	if len(open) > 0 {
		return claim("%d of %d addresses are not answered for: %v", len(open), asked, open[:min(len(open), 10)])
	}
	return nil
}

// usage reads what the kernel counts of holdfast's process on each node that runs.
func (r *run) usage(ctx context.Context, args []string) error {
	_, o, err := options(args, "over")
	if err != nil {
		return err
	}
	over, err := duration(o, "over", 10*time.Second)
	if err != nil {
		return err
	}
	before := map[string]process{}
	for _, node := range r.lab.Nodes() {
		if before[node], err = r.process(node); err != nil {
			return err
		}
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(over):
	}
	for _, node := range r.lab.Nodes() {
		now, err := r.process(node)
		if err != nil {
			return err
		}
		share := float64(now.cpu-before[node].cpu) / float64(time.Since(began))
		r.note("%s: %d MiB, %.1f %% of a processor", node, now.memory>>20, 100*share)
	}
	return nil
}

// process is what holdfast has taken on a node.
type process struct {
	memory int           // resident, octets
	cpu    time.Duration // since its start
}

// process finds it in the node's own /proc (proc_pid_stat(5): 14 and 15 are clock ticks,
// of which there are 100 a second).
func (r *run) process(node string) (p process, err error) {
	out, err := r.lab.Exec(node, "sh", "-c",
		eachHoldfast("cat $p/stat && grep VmRSS $p/status")+"; true").Output()
	if err != nil {
		return p, fmt.Errorf("reading /proc on %s: %w", node, err)
	}
	stat, status, found := strings.Cut(string(out), "VmRSS:")
	fields, memory := strings.Fields(stat), strings.Fields(status)
	if !found || len(fields) < 15 || len(memory) < 1 {
		return p, fmt.Errorf("no process of holdfast on %s", node)
	}
	for _, field := range fields[13:15] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return p, fmt.Errorf("/proc on %s: CPU time %q", node, field)
		}
		p.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	kib, err := strconv.Atoi(memory[0])
	p.memory = kib << 10
	return p, err
}
