package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast.dev/holdfast/deploy/world"
)

// boot is the life of a node's pid 1: it makes the node's mounts, starts the
// process that runs the node, and reaps.
func boot(order string) (int, error) {
	var o bootOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return 0, fmt.Errorf("reading the boot order: %w", err)
	}
	if err := o.furnish(); err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe", "inside", "runtime", order)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return world.Reap(cmd)
}

func (o bootOrder) station() station { return nodeStation(o.Number) }

// disk is the node's own directory, as the node sees it.
func (o bootOrder) disk() string { return filepath.Join(stateInside, nodesDir, o.station().name) }

// furnish makes the mounts of a node. The kubelet wants them shared at the end.
func (o bootOrder) furnish() error {
	steps := []struct {
		doing string
		do    func() error
	}{
		{"naming the host", func() error { return syscall.Sethostname([]byte(o.station().name)) }},
		{"mounting /proc", func() error { return syscall.Mount("proc", "/proc", "proc", 0, "") }},
		{"mounting /run", o.mountRun},
		{"mounting /sys", world.RemountSys},
		{"mounting the disk", o.mountDisk},
		{"shielding kernel variables", o.shieldSysctls},
		{"sharing the mounts", func() error { return syscall.Mount("", "/", "", syscall.MS_SHARED|syscall.MS_REC, "") }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %s: %w", o.station().name, s.doing, err)
		}
	}
	return nil
}

// mountRun gives the node an empty /run, but for the lab's state.
func (o bootOrder) mountRun() error {
	state, err := unix.Open(stateInside, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(state)
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{stateInside, "/run/netns", "/run/lock", "/run/cni", "/run/containerd", os.TempDir()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	// There are no names to be resolved: the lab has no DNS.
	if err := os.WriteFile("/run/resolv.conf", nil, 0o644); err != nil {
		return err
	}
	return syscall.Mount(fmt.Sprintf("/proc/self/fd/%d", state), stateInside, "", syscall.MS_BIND|syscall.MS_REC, "")
}

// mountDisk puts what must outlive a power failure on the node's disk, under
// its usual name. The machine's own /var/lib is not seen, and nothing is
// written to it.
func (o bootOrder) mountDisk() error {
	if err := syscall.Mount("tmpfs", "/var/lib", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for name, target := range map[string]string{
		"kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd", "cni": "/var/lib/cni", logDir: "/var/log",
	} {
		source := filepath.Join(o.disk(), name)
		if err := errors.Join(os.MkdirAll(source, 0o755), os.MkdirAll(target, 0o755)); err != nil {
			return err
		}
		if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", target, err)
		}
	}
	return nil
}

// shieldSysctls lets the kubelet find the whole machine's variables as it
// wants them, in files of the node's own: it writes only what differs.
func (o bootOrder) shieldSysctls() error {
	if err := os.Mkdir("/run/sysctl", 0o755); err != nil {
		return err
	}
	for target, value := range map[string]string{
		"/proc/sys/vm/overcommit_memory": "1\n", "/proc/sys/vm/panic_on_oom": "0\n",
		"/proc/sys/kernel/panic": "10\n", "/proc/sys/kernel/panic_on_oops": "1\n",
	} {
		source := filepath.Join("/run/sysctl", filepath.Base(target))
		if err := os.WriteFile(source, []byte(value), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", target, err)
		}
	}
	return nil
}
