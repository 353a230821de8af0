package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"holdfast.dev/holdfast/deploy/world"
)

// A Lab is a running lab, as seen from outside. Its methods may be called by
// several goroutines at once.
type Lab struct {
	state string
	record
}

// Open finds the lab that runs in a directory, or says [ErrNotRunning].
func Open(dir string) (*Lab, error) {
	state, err := StateDir(dir)
	if err != nil {
		return nil, err
	}
	r, err := readRecord(state)
	if err != nil {
		return nil, err
	}
	return &Lab{state: state, record: r}, nil
}

// Options is what the lab was brought up with. HoldfastArgs are those last set
// when it was opened or by this handle.
func (l *Lab) Options() Options { return l.record.Options }

// Dir is the lab's state directory.
func (l *Lab) Dir() string { return l.state }

// Pid is the world's pid 1: to kill it is to end the lab.
func (l *Lab) Pid() int { return l.record.Pid }

// Nodes are the names of all nodes, powered or not.
func (l *Lab) Nodes() []string { return l.record.Options.nodeNames() }

// AuditLog is the file in which the API server writes, as JSON lines, each
// request of holdfast's service accounts.
func (l *Lab) AuditLog() string { return filepath.Join(l.state, auditFile) }

// Kubeconfig is the administrator's. The address in it is that of the lab's
// own network.
func (l *Lab) Kubeconfig() string { return filepath.Join(l.state, pkiDir, "admin.kubeconfig") }

// MAC is the hardware address of a node's eth0. It is the same after a restart.
func (l *Lab) MAC(node string) (net.HardwareAddr, error) {
	s, err := l.record.Options.stationOf(node)
	return s.mac(), err
}

// NetworkFile is the file of a station's network namespace: of a node, client,
// cp or fab; for world.Within.
func (l *Lab) NetworkFile(name string) string { return world.NetworkFile(l.record.Pid, name) }

// Kubectl is kubectl with the lab's own configuration. It stands where the
// caller stands.
func (l *Lab) Kubectl(args ...string) *exec.Cmd {
	return l.program("kubectl", args...)
}

// program is one that talks to the API server, as its administrator.
func (l *Lab) program(name string, args ...string) *exec.Cmd {
	argv := append([]string{filepath.Join(l.state, programsDir, name)}, args...)
	cmd := world.EnterNetwork(l.NetworkFile(controlPlane), argv...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig(), "KUBECACHEDIR="+filepath.Join(l.state, "kubectl"))
	return cmd
}

// Holdfast is one of the product's commands for operators.
func (l *Lab) Holdfast(args ...string) *exec.Cmd {
	return l.program("holdfast", args...)
}

// Networks are the names of the lab's networks that are no node's.
func (l *Lab) Networks() []string {
	return append([]string{client, client2, controlPlane, fabric}, l.record.Options.behindRouters()...)
}

// Exec is argv run on a node, with the node's own mounts and processes, or in
// one of the other [Lab.Networks]. To start it is an error if the node is off.
func (l *Lab) Exec(name string, argv ...string) *exec.Cmd {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	if slices.Contains(l.Networks(), name) {
		return world.Enter(l.record.Pid, dir, world.Command(name, argv...).Args...)
	}
	pid, err := l.nodePid(name)
	cmd := world.Enter(l.record.Pid, "/", world.Enter(pid, dir, argv...).Args...)
	cmd.Err = errors.Join(cmd.Err, err)
	return cmd
}

// nodePid is pid 1 of a powered node, as seen in the lab's world.
func (l *Lab) nodePid(name string) (int, error) {
	if _, err := l.record.Options.stationOf(name); err != nil {
		return 0, err
	}
	s, err := l.Status()
	if err != nil {
		return 0, err
	}
	for _, n := range s.Nodes {
		if n.Name == name && n.Powered {
			return n.Pid, nil
		}
	}
	return 0, fmt.Errorf("%s is powered off", name)
}

// InPlaceVar is set in the environment of a copy that [Lab.Self] made: it is
// where it is to work.
const InPlaceVar = "LAB_IN_PLACE"

// Self is this binary again, in the network of a station and else where the
// caller is.
func (l *Lab) Self(name string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		exe = "/proc/self/exe"
	}
	cmd := world.EnterNetwork(l.NetworkFile(name), append([]string{exe}, args...)...)
	cmd.Env = append(os.Environ(), InPlaceVar+"=1")
	return cmd
}

// Down ends the lab. Its logs stay in the state directory until the next Up.
func (l *Lab) Down() error {
	unlock, err := lock(l.state)
	if err != nil {
		return err
	}
	defer unlock()
	return l.end()
}

// end kills the world and waits until the last process of it is gone.
func (l *Lab) end() error {
	gone, err := unix.PidfdOpen(l.record.Pid, 0)
	if err == nil {
		defer unix.Close(gone)
		if l.alive() {
			err = unix.PidfdSendSignal(gone, unix.SIGKILL, nil, 0)
		}
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing the lab, process %d: %w", l.record.Pid, err)
	}
	for deadline := time.Now().Add(20 * time.Second); l.alive(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("the lab was killed, and its pid " + strconv.Itoa(l.record.Pid) + " is still there after 20 s")
		}
	}
	world.SweepCgroups()
	return clear(l.state, true)
}

// Clear removes what a lab that has ended left in a directory's state: all of
// it but the logs, and control groups.
func Clear(dir string) error {
	state, err := StateDir(dir)
	if err != nil {
		return err
	}
	world.SweepCgroups()
	if _, err := os.Stat(state); err != nil {
		return nil
	}
	unlock, err := lock(state)
	if err != nil {
		return err
	}
	defer unlock()
	return clear(state, true)
}
