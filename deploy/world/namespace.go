package world

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// In this file a network namespace is named as `ip netns` names it; the empty
// name is the one of the caller: in a world, that in which its processes start.

// AddNamespace makes a named network namespace with its loopback up. No frame
// that crosses a bridge in it is seen by iptables.
func AddNamespace(name string) error {
	if err := IP("", "netns add "+name); err != nil {
		return fmt.Errorf("adding network namespace %s: %w", name, err)
	}
	if err := IP(name, "link set lo up"); err != nil {
		return fmt.Errorf("adding network namespace %s: %w", name, err)
	}
	return bridgesUnfiltered(name)
}

// AddBridge makes a bridge in a namespace, up, without multicast snooping.
func AddBridge(ns, name string) error {
	err := IP(ns, "link add "+name+" type bridge mcast_snooping 0", "link set "+name+" up")
	if err != nil {
		return fmt.Errorf("adding bridge %s: %w", name, err)
	}
	return bridgesUnfiltered(ns)
}

// AddCable makes a veth pair, both ends up: name1 in ns1, name2 in ns2.
func AddCable(ns1, name1, ns2, name2 string) error {
	add := "link add " + name1 + " type veth peer name " + name2
	if ns2 != "" {
		add += " netns " + ns2
	}
	if err := IP(ns1, add, "link set "+name1+" up"); err != nil {
		return fmt.Errorf("adding cable %s-%s: %w", name1, name2, err)
	}
	if err := IP(ns2, "link set "+name2+" up"); err != nil {
		return fmt.Errorf("adding cable %s-%s: %w", name1, name2, err)
	}
	return nil
}

// IP runs lines as one `ip -batch` in a namespace, and stops at the first that
// is refused. Each line is what would follow the word ip.
func IP(ns string, lines ...string) error {
	args := []string{"-batch", "-"}
	if ns != "" {
		args = append([]string{"-n", ns}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip in namespace %q: %s: %w: %s", ns, strings.Join(lines, "; "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Command is argv to be run in a network namespace, with a /sys of its own.
func Command(ns string, argv ...string) *exec.Cmd {
	if ns == "" {
		return exec.Command(argv[0], argv[1:]...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", ns}, argv...)...)
}

// Within calls do on a thread that is in a network namespace: sockets that do
// opens are in it, and so are the files of /proc/sys/net that it opens.
// Goroutines that do starts are not. For whole programs use [Command]. Here ns
// may also be the path of a namespace file, for one of another world.
func Within(ns string, do func() error) error {
	if ns == "" {
		return do()
	}
	path := ns
	if !strings.Contains(ns, "/") {
		path = "/run/netns/" + ns
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("entering network namespace %s: %w", ns, err)
	}
	defer file.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering network namespace %s: %w", ns, err)
			return
		}
		done <- do()
	}()
	return <-done
}
