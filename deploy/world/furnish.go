package world

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// temporary is TMPDIR in a world: in memory, gone with it.
const temporary = "/run/tmp"

// emptied are directories that network tools write into. A world sees them
// empty, those that exist.
var emptied = []string{"/etc/ssh/ssh_config.d", "/etc/frr"}

// furnish makes the namespaces of pid 1 fit to live in.
func furnish() error {
	steps := []struct {
		doing string
		do    func() error
	}{
		{"mounting /proc", func() error { return syscall.Mount("proc", "/proc", "proc", 0, "") }},
		{"mounting /run", mountRun},
		{"mounting /sys", RemountSys},
		{"copying /etc/hosts", privateHosts},
		{"emptying directories", emptyDirectories},
		{"naming the host", func() error { return syscall.Sethostname([]byte("holdfast-world")) }},
		{"starting the loopback interface", func() error { return IP("", "link set lo up") }},
		{"keeping packet filters off bridges", func() error { return bridgesUnfiltered("") }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.doing, err)
		}
	}
	return nil
}

func mountRun() error {
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	return errors.Join(os.MkdirAll("/run/netns", 0o755), os.MkdirAll("/run/lock", 0o755),
		os.MkdirAll("/run/world", 0o755), os.Mkdir(temporary, 0o1777))
}

// RemountSys mounts a fresh sysfs on /sys with the control groups bound back
// below it. A sysfs shows the network namespace of the process that mounted
// it. For a process in a mount namespace of its own, with a writable /run.
func RemountSys() error {
	const kept, groups = "/run/world/cgroup", "/sys/fs/cgroup"
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(groups, kept, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s: %w", groups, err)
	}
	if err := syscall.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	if err := syscall.Mount(kept, groups, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s back: %w", groups, err)
	}
	return syscall.Unmount(kept, syscall.MNT_DETACH)
}

// privateHosts lets tools edit /etc/hosts without anybody outside seeing it.
func privateHosts() error {
	const hosts, copied = "/etc/hosts", "/run/world/hosts"
	text, err := os.ReadFile(hosts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(copied, text, 0o644); err != nil {
		return err
	}
	return syscall.Mount(copied, hosts, "", syscall.MS_BIND, "")
}

func emptyDirectories() error {
	for _, d := range emptied {
		if info, err := os.Stat(d); err != nil || !info.IsDir() {
			continue
		}
		if err := syscall.Mount("tmpfs", d, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting on %s: %w", d, err)
		}
	}
	return nil
}

// bridgesUnfiltered lets frames cross the bridges of a network namespace
// without a look from iptables. The switches are absent where the kernel has
// no such filter.
func bridgesUnfiltered(ns string) error {
	return Within(ns, func() error {
		files, err := filepath.Glob("/proc/sys/net/bridge/bridge-nf-call-*tables")
		for _, f := range files {
			err = errors.Join(err, os.WriteFile(f, []byte("0"), 0o644))
		}
		return err
	})
}
