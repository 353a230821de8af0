package world

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot   = "/sys/fs/cgroup"
	cgroupPrefix = "holdfast-"
)

// controllers are the version 1 hierarchies that container runtimes use, and
// the one of version 2 that may stand beside them.
var controllers = []string{"cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "blkio", "systemd", "unified"}

// A Cgroup is a control group with a unique name, in every version 1
// hierarchy or in the one of version 2. It holds no process itself. It belongs
// to the process that made it: when that one ends, whoever sweeps next removes
// the group and everything below it.
type Cgroup struct {
	name  string
	locks []*os.File // one directory a hierarchy, flocked: what a sweep cannot lock, lives
}

// NewCgroup makes a control group.
func NewCgroup() (*Cgroup, error) {
	g := &Cgroup{name: cgroupPrefix + strings.ToLower(rand.Text()[:8])}
	for _, h := range hierarchies() {
		lock, err := makeLocked(filepath.Join(h, g.name))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("making control group %s: %w", g.name, err), g.Close())
		}
		g.locks = append(g.locks, lock)
	}
	return g, nil
}

// Path is the group's path in its hierarchies, as kubelets and runtimes take it.
func (g *Cgroup) Path() string { return "/" + g.name }

// Add makes a group below this one, and returns its path in the hierarchies.
func (g *Cgroup) Add(child string) (string, error) {
	for _, l := range g.locks {
		if err := makeGroup(filepath.Join(l.Name(), child)); err != nil {
			return "", fmt.Errorf("making control group %s/%s: %w", g.name, child, err)
		}
	}
	return filepath.Join(g.Path(), child), nil
}

// Remove removes a group below this one and all groups below that. It waits up
// to two seconds for the processes in them to be gone.
func (g *Cgroup) Remove(child string) error {
	for _, l := range g.locks {
		top := filepath.Join(l.Name(), child)
		for deadline := time.Now().Add(2 * time.Second); !removeTree(top); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("removing control group %s: still in use", top)
			}
		}
	}
	return nil
}

// Close gives the group up to the next sweep.
func (g *Cgroup) Close() error {
	var err error
	for _, l := range g.locks {
		err = errors.Join(err, l.Close())
	}
	return err
}

// SweepCgroups removes the control groups of worlds that have ended. A group
// that has an owner, or a process, stays.
func SweepCgroups() {
	for _, h := range hierarchies() {
		tops, _ := filepath.Glob(filepath.Join(h, cgroupPrefix+"*")) // the pattern is well formed
		for _, top := range tops {
			sweep(top)
		}
	}
}

// sweep removes one group if nobody holds its lock.
func sweep(top string) {
	lock, err := os.Open(top)
	if err != nil {
		return // gone meanwhile
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		removeTree(top)
	}
}

// hierarchies are the directories in which a world makes its groups.
func hierarchies() []string {
	if unified() {
		return []string{cgroupRoot}
	}
	var found []string
	for _, c := range controllers {
		dir, err := filepath.EvalSymlinks(filepath.Join(cgroupRoot, c)) // cpu may be a link to cpu,cpuacct
		if err != nil || slices.Contains(found, dir) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			found = append(found, dir)
		}
	}
	return found
}

func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// makeLocked makes a group and locks its directory. A sweep that comes between
// the two may take the new group away: then once more.
func makeLocked(path string) (*os.File, error) {
	for {
		if err := makeGroup(path); err != nil {
			return nil, err
		}
		lock, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), lock.Close())
		}
		if _, err := os.Stat(path); err == nil {
			return lock, nil
		}
		lock.Close()
	}
}

// makeGroup makes one group and lets groups below it have every controller
// that there is.
func makeGroup(path string) error {
	if unified() {
		delegate(filepath.Dir(path))
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A version 1 cpuset starts empty, and would hold no process.
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		own := filepath.Join(path, f)
		if _, err := os.Stat(own); unified() || err != nil {
			continue
		}
		above, err := os.ReadFile(filepath.Join(filepath.Dir(path), f))
		if err != nil {
			return err
		}
		if err := os.WriteFile(own, above, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// delegate enables each controller of a version 2 group for its children; one
// that cannot be enabled is not needed.
func delegate(path string) {
	names, _ := os.ReadFile(filepath.Join(path, "cgroup.controllers"))
	for _, c := range strings.Fields(string(names)) {
		_ = os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// removeTree removes a group and all below it, deepest first, and reports
// whether it is gone.
func removeTree(top string) bool {
	var dirs []string
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		_ = unix.Rmdir(d) // in use: the caller sees that the top is still there
	}
	_, err := os.Stat(top)
	return errors.Is(err, fs.ErrNotExist)
}
