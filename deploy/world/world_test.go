package world_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// roleVar makes the test binary play another part: see roles.
const roleVar = "WORLD_TEST_ROLE"

// roles are run by a second copy of the test binary, outside or in a world of
// its own.
var roles = map[string]func() int{
	// A world that makes one of everything, says so, and waits to be killed.
	"busy": func() int {
		group, err := world.NewCgroup()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		if _, err := group.Add("child"); err != nil {
			fmt.Println(err)
			return 1
		}
		if err := world.AddNamespace("left"); err != nil {
			fmt.Println(err)
			return 1
		}
		orphan := exec.Command("sh", "-c", "setsid sleep 1000 & setsid sleep 1000 &")
		if err := orphan.Run(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("ready", group.Path())
		return forever()
	},
	"code": func() int { return 37 },
	"signal": func() int {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		return forever()
	},
	// Many orphans end while the child waits for processes of its own.
	"orphans": func() int {
		for range 50 {
			if err := exec.Command("sh", "-c", "true & true & true").Run(); err != nil {
				fmt.Println(err)
				return 1
			}
		}
		deadline := time.Now().Add(5 * time.Second)
		for zombies() > 0 {
			if time.Now().After(deadline) {
				fmt.Println("zombies left:", zombies())
				return 1
			}
			time.Sleep(10 * time.Millisecond)
		}
		return 0
	},
}

// forever sleeps: a bare select would be taken for a deadlock, and end the process,
// whenever nothing else in it has a timer.
func forever() int {
	for {
		time.Sleep(time.Hour)
	}
}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVar)]; role != nil {
		world.Main(role)
	}
	world.Main(m.Run)
}

// again is this test binary in a role, in a world of its own.
func again(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"="+role, "HOLDFAST_WORLD=")
	return cmd
}

func TestMainExitsAsRunDoes(t *testing.T) {
	world.Require(t)
	for role, want := range map[string]int{"code": 37, "signal": 128 + 9, "orphans": 0} {
		cmd := again(role)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit code %d, want %d: %s", role, got, want, out)
		}
	}
}

// Invariants 1, 2, 4: whichever of its processes is killed, nothing is left.
func TestAlwaysNothingLeftAfterKill(t *testing.T) {
	world.Require(t)
	for _, victim := range []string{"outside", "pid 1", "inside"} {
		t.Run(victim, func(t *testing.T) {
			before := processes(t)
			cmd := again("busy")
			group := startReady(t, cmd)
			outside := cmd.Process.Pid
			first, second := chain(t, outside)
			kill := map[string]int{"outside": outside, "pid 1": first, "inside": second}[victim]
			if err := syscall.Kill(kill, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			waitUntil(t, "its processes are gone", func() bool { return len(processes(t)) <= len(before) })
			waitUntil(t, "its control groups are gone", func() bool {
				world.SweepCgroups()
				return len(groups(t, group)) == 0
			})
			if _, err := os.Stat("/run/netns/left"); err == nil {
				t.Error("its network namespace is to be seen outside")
			}
		})
	}
}

// Invariant 4: a sweep leaves a living world's groups alone.
func TestNeverSweepsALivingWorld(t *testing.T) {
	world.Require(t)
	group, err := world.NewCgroup()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := group.Add("child"); err != nil {
		t.Fatal(err)
	}
	made := groups(t, group.Path())
	if len(made) == 0 {
		t.Fatal("no group was made")
	}
	world.SweepCgroups()
	if left := groups(t, group.Path()); len(left) != len(made) {
		t.Errorf("a sweep left %v of %v", left, made)
	}
	if err := group.Close(); err != nil {
		t.Fatal(err)
	}
	world.SweepCgroups()
	if left := groups(t, group.Path()); len(left) != 0 {
		t.Errorf("left after the owner gave it up: %v", left)
	}
}

func TestCableAndBridgeCarryFrames(t *testing.T) {
	world.Require(t)
	must(t, world.AddNamespace("fab"))
	must(t, world.AddBridge("fab", "br0"))
	for i, n := range []string{"a", "b"} {
		must(t, world.AddNamespace(n))
		must(t, world.AddCable("fab", "v-"+n, n, "eth0"))
		must(t, world.IP("fab", "link set v-"+n+" master br0"))
		must(t, world.IP(n, fmt.Sprintf("addr add 192.0.2.%d/24 dev eth0", i+1)))
	}
	var listener net.Listener
	must(t, world.Within("a", func() (err error) {
		listener, err = net.Listen("tcp", "192.0.2.1:7")
		return err
	}))
	defer listener.Close()
	must(t, world.Within("b", func() error {
		c, err := net.DialTimeout("tcp", "192.0.2.1:7", 5*time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	}))
	out, err := world.Command("b", "ip", "-4", "neigh", "show").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "192.0.2.1") {
		t.Errorf("neighbours of b: %v: %s", err, out)
	}
}

// Invariant 3: what network tools write into their usual directories stays in
// the world.
func TestNeverWritesIntoTheMachinesDirectories(t *testing.T) {
	world.Require(t)
	for _, dir := range []string{"/run", "/etc/frr"} {
		if _, err := os.Stat(dir); err != nil {
			continue // the machine has none
		}
		mark, err := os.CreateTemp(dir, "world-test-*")
		must(t, err)
		must(t, mark.Close())
		out, err := exec.Command("findmnt", "--noheadings", "--output", "FSTYPE,TARGET", "--target", mark.Name()).CombinedOutput()
		if f := strings.Fields(string(out)); err != nil || len(f) != 2 || f[0] != "tmpfs" || f[1] != dir {
			t.Errorf("%s is mounted as %s, %v; want a tmpfs of its own", dir, out, err)
		}
	}
}

func TestIPSaysWhatItRefused(t *testing.T) {
	world.Require(t)
	err := world.IP("", "link set nosuch up")
	if err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("error %v, want one that names the link", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startReady starts a busy world and returns its control group.
func startReady(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	var group string
	if _, err := fmt.Fscanf(out, "ready %s\n", &group); err != nil {
		t.Fatalf("a world that is to be killed: %v", err)
	}
	return group
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s until %s", what)
		}
	}
}

func groups(t *testing.T, path string) []string {
	t.Helper()
	v1, err1 := filepath.Glob("/sys/fs/cgroup/*" + path)
	v2, err2 := filepath.Glob("/sys/fs/cgroup" + path)
	must(t, err1)
	must(t, err2)
	return append(v1, v2...)
}

// chain is pid 1 of the world that outside made, and the process inside that it
// started: the child of pid that has a child, both this test binary.
func chain(t *testing.T, outside int) (first, second int) {
	t.Helper()
	waitUntil(t, "the world's processes are seen", func() bool {
		parent := map[int]int{}
		for _, dir := range processes(t) {
			status, _ := os.ReadFile(dir + "/status")
			command, _ := os.ReadFile(dir + "/cmdline")
			_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
			line, _, _ := strings.Cut(rest, "\n")
			if up, err := strconv.Atoi(line); err == nil && strings.HasPrefix(string(command), os.Args[0]) {
				pid, _ := strconv.Atoi(filepath.Base(dir))
				parent[pid] = up
			}
		}
		for pid, up := range parent {
			if parent[up] == outside {
				first, second = up, pid
			}
		}
		return second != 0
	})
	return first, second
}

func processes(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	return all
}

// zombies counts the processes of this world that nobody has reaped.
func zombies() int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	n := 0
	for _, f := range stats {
		text, _ := os.ReadFile(f)
		if _, rest, ok := strings.Cut(string(text), ") "); ok && strings.HasPrefix(rest, "Z") {
			n++
		}
	}
	return n
}
