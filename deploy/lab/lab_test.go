package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"holdfast.dev/holdfast/deploy/lab/cluster"
	"holdfast.dev/holdfast/deploy/world"
)

// commandVar makes the test binary be the command.
const commandVar = "LAB_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(commandVar) != "" {
		os.Exit(run(os.Args[1:]))
	}
	world.Main(m.Run)
}

// lab is the command, for the lab of a directory.
func lab(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"--dir=" + dir}, args...)...)
	cmd.Env = append(os.Environ(), commandVar+"=1")
	return cmd
}

func mustLab(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := lab(dir, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("lab %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// newDir is a directory for a lab. It is not in memory, where no runtime could
// put images.
func newDir(t testing.TB) string {
	t.Helper()
	world.Require(t)
	if missing := cluster.MissingPackages(); len(missing) > 0 {
		t.Fatalf("not installed, make packages does it: %v", missing)
	}
	dir, err := os.MkdirTemp("/var/tmp", "lab-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := lab(dir, "down").CombinedOutput(); err != nil {
			t.Errorf("lab down: %v\n%s", err, out)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// traces are all that a lab could leave behind in the namespaces around it.
func traces(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, argv := range map[string][]string{
		"processes":  {"ps", "-eo", "args", "--no-headers"},
		"mounts":     {"sh", "-c", "cut -d' ' -f5- /proc/self/mountinfo"},
		"interfaces": {"sh", "-c", "ip -br addr; ip route; ip -6 route; ip netns"},
		"rules":      {"nft", "list", "ruleset"},
		"files":      {"ls", "-d", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/etc/cni", "/opt/containerd", "/run"},
		"sysctls":    {"sh", "-c", "cat /proc/sys/vm/overcommit_memory /proc/sys/vm/panic_on_oom /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops"},
	} {
		out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput() // ls fails where a directory is absent
		all[name] = string(out)
	}
	all["processes"] = regexp.MustCompile(`(?m)^(\[.*|ps -eo.*)\n`).ReplaceAllString(all["processes"], "")
	return all
}

func compare(t *testing.T, before, after map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if before[name] != after[name] {
			t.Errorf("%s before:\n%s\nafter:\n%s", name, before[name], after[name])
		}
	}
}

// groupOf is the control group of a running lab.
func groupOf(t *testing.T, dir string) string {
	t.Helper()
	text := mustLab(t, dir, "exec", "node1", "grep", "cgroupRoot", "/run/kubelet.yaml")
	return strings.Split(strings.TrimSpace(strings.TrimPrefix(text, "cgroupRoot: /")), "/")[0]
}

func groupsLeft(t *testing.T, group string) []string {
	t.Helper()
	v1, err1 := filepath.Glob("/sys/fs/cgroup/*/" + group)
	v2, err2 := filepath.Glob("/sys/fs/cgroup/" + group)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return append(v1, v2...)
}

// Two labs run side by side; one is taken down, the other killed. Nothing is
// left of either.
func TestAlwaysNothingLeft(t *testing.T) {
	before := traces(t)
	ended, killed := newDir(t), newDir(t)
	mustLab(t, ended, "up", "--without-holdfast", "--nodes=2", "--routers=frr,bird")
	mustLab(t, killed, "up", "--without-holdfast", "--nodes=1", "--proxy=iptables")
	groups := []string{groupOf(t, ended), groupOf(t, killed)}
	for _, g := range groups {
		if len(groupsLeft(t, g)) == 0 {
			t.Errorf("no control group %q while its lab runs", g)
		}
	}
	for dir, want := range map[string]int{ended: 2, killed: 1} {
		runPods(t, dir, want)
	}
	l, err := cluster.Open(killed)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", "-9", fmt.Sprint(l.Pid())).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mustLab(t, ended, "down")
	mustLab(t, killed, "down") // removes what even a kill leaves: empty control groups
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) && len(traces(t)["processes"]) > len(before["processes"]) {
		time.Sleep(20 * time.Millisecond)
	}
	compare(t, before, traces(t))
	for _, g := range groups {
		if left := groupsLeft(t, g); len(left) > 0 {
			t.Errorf("control groups left: %v", left)
		}
	}
}

const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]
      containers:
      - name: echo
        image: lab.local/echo:v1
        args: [--tcp=8080, --udp=8080]
        readinessProbe: {httpGet: {path: /, port: 8079}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`

// runPods runs the workload, one pod a node, from a file beside the lab.
func runPods(t *testing.T, dir string, nodes int) {
	t.Helper()
	file := filepath.Join(dir, "web.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, workload, nodes), 0o644); err != nil {
		t.Fatal(err)
	}
	apply := lab(dir, "kubectl", "apply", "--filename=web.yaml") // relative to where one stands
	apply.Dir = dir
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mustLab(t, dir, "kubectl", "rollout", "status", "deployment/web", "--timeout=60s")
}

// What is broken is broken, and what is mended works, without a trace of the
// outage.
func TestOutages(t *testing.T) {
	dir := newDir(t)
	mustLab(t, dir, "up", "--without-holdfast", "--nodes=2")
	l, err := cluster.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	api, err := kubernetes.NewForConfig(l.REST())
	if err != nil {
		t.Fatal(err)
	}
	runPods(t, dir, 2)
	direct := netip.MustParseAddrPort("172.30.0.2:6443") // the API server

	t.Run("audit", func(t *testing.T) { auditsHoldfast(t, dir, l) })
	t.Run("power", func(t *testing.T) {
		must(t, l.PowerOff("node2"))
		if err := l.PowerOff("node2"); err == nil {
			t.Error("powered off twice")
		}
		if out, err := l.Exec("node2", "true").CombinedOutput(); err == nil || !strings.Contains(err.Error(), "powered off") {
			t.Errorf("ran a command on a node without power: %v %s", err, out)
		}
		waitFor(t, "node2 is not Ready", func() bool { return !ready(t, api, "node2") })
		must(t, l.PowerOn("node2"))
		must(t, l.WaitNodes(ctx))
		mustLab(t, dir, "kubectl", "rollout", "status", "deployment/web", "--timeout=60s")
	})
	t.Run("cable", func(t *testing.T) {
		must(t, l.CablePull("node1"))
		if out := output(t, l.Exec("node1", "cat", "/sys/class/net/eth0/carrier")); out != "0" {
			t.Errorf("carrier %q with the cable pulled", out)
		}
		must(t, l.CablePlug("node1"))
		if out := output(t, l.Exec("node1", "cat", "/sys/class/net/eth0/carrier")); out != "1" {
			t.Errorf("carrier %q with the cable plugged", out)
		}
	})
	t.Run("cut", func(t *testing.T) {
		service := netip.MustParseAddrPort("10.96.0.1:443")
		for _, c := range []struct {
			do              func(string) error
			service, direct bool
		}{{l.APICut, false, false}, {l.APICutPods, false, true}, {l.APIJoin, true, true}} {
			must(t, c.do("node1"))
			if got := reaches(t, l, "node1", service); got != c.service {
				t.Errorf("the API server's Service answers: %v, want %v", got, c.service)
			}
			if got := reaches(t, l, "node1", direct); got != c.direct {
				t.Errorf("the API server answers: %v, want %v", got, c.direct)
			}
		}
	})
	t.Run("api", func(t *testing.T) {
		must(t, l.APIStop())
		must(t, l.APIStop())
		if reaches(t, l, "node1", direct) {
			t.Error("a stopped API server answers")
		}
		must(t, l.APIStart(ctx))
		must(t, l.APIStart(ctx))
	})
	t.Run("restore", func(t *testing.T) {
		must(t, l.PowerOff("node1"))
		must(t, l.CablePull("node2"))
		must(t, l.APIStop())
		must(t, l.Restore(ctx))
		for _, n := range l.Nodes() {
			if !ready(t, api, n) {
				t.Errorf("%s is not Ready", n)
			}
		}
	})
}

// auditsHoldfast checks that a request of a service account of holdfast's
// namespace is in the audit log.
func auditsHoldfast(t *testing.T, dir string, l *cluster.Lab) {
	mustLab(t, dir, "kubectl", "create", "namespace", "holdfast-system")
	mustLab(t, dir, "kubectl", "create", "serviceaccount", "holdfast", "--namespace=holdfast-system")
	token := strings.TrimSpace(mustLab(t, dir, "kubectl", "create", "token", "holdfast", "--namespace=holdfast-system"))
	cfg := l.REST()
	cfg.BearerToken, cfg.CertFile, cfg.KeyFile = token, "", ""
	api, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	if _, err := api.CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{}); err == nil {
		t.Error("a service account without rights lists pods")
	}
	log, err := os.ReadFile(l.AuditLog())
	must(t, err)
	if !bytes.Contains(log, []byte(`"system:serviceaccount:holdfast-system:holdfast"`)) || !bytes.Contains(log, []byte(`"code":403`)) {
		t.Errorf("the audit log has no denied request of holdfast's: %s", log)
	}
	if bytes.Contains(log, []byte(`"system:kube-scheduler"`)) {
		t.Error("the audit log has requests of others")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// reaches asks whether a connection can be opened from a node.
func reaches(t *testing.T, l *cluster.Lab, node string, address netip.AddrPort) bool {
	t.Helper()
	open := fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", address.Addr(), address.Port())
	return l.Exec(node, "timeout", "1", "bash", "-c", open).Run() == nil
}

func ready(t *testing.T, api kubernetes.Interface, node string) bool {
	t.Helper()
	n, err := api.CoreV1().Nodes().Get(context.Background(), node, metav1.GetOptions{})
	must(t, err)
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s", what)
		}
	}
}
