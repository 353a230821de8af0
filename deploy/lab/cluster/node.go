package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"holdfast.dev/holdfast/deploy/world"
)

// bootedFile appears in a node's directory when its runtime has every image.
const bootedFile = "booted"

// A machine is a node as the supervisor sees it.
type machine struct {
	station
	cmd    *exec.Cmd     // pid 1 of the node; nil while it is off
	ended  chan struct{} // closed when that has ended
	pulled bool          // its cable
	cut    cut           // from the API server
}

func (m *machine) dir() string { return filepath.Join(stateInside, nodesDir, m.name) }

func (m *machine) powered() bool {
	if m.cmd == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// A bootOrder is what a node's pid 1 is told.
type bootOrder struct {
	Number int    // of the node
	Group  string // control group below which its pods go
	Proxy  string // kube-proxy's mode
}

// powerOn makes the node's network and starts its pid 1. It does not wait.
func (s *supervisor) powerOn(m *machine) error {
	if m.powered() {
		return fmt.Errorf("%s is on already", m.name)
	}
	if m.cmd != nil { // it died by itself
		if err := s.powerOff(m); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(m.dir(), logDir), 0o755); err != nil {
		return fmt.Errorf("making the disk of %s: %w", m.name, err)
	}
	if err := os.RemoveAll(filepath.Join(m.dir(), bootedFile)); err != nil {
		return err
	}
	if err := plugNode(s.options, m.station); err != nil {
		return fmt.Errorf("making the network of %s: %w", m.name, err)
	}
	if m.pulled {
		if err := world.IP(fabric, "link set "+m.cable()+" down"); err != nil {
			return err
		}
	}
	if err := applyCut(m.name, m.cut); err != nil {
		return err
	}
	group, err := s.group.Add(m.name)
	if err != nil {
		return err
	}
	return s.boot(m, bootOrder{m.number(), group, s.options.Proxy})
}

// boot starts the node's pid 1 in namespaces of its own.
func (s *supervisor) boot(m *machine, order bootOrder) error {
	text, err := json.Marshal(order)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(m.dir(), logDir, "boot.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("booting %s: %w", m.name, err)
	}
	defer out.Close()
	cmd := exec.Command("/proc/self/exe", "inside", "node", string(text))
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Unshareflags: syscall.CLONE_NEWNS,
	}
	if err := world.Within(m.name, cmd.Start); err != nil {
		return fmt.Errorf("booting %s: %w", m.name, err)
	}
	m.cmd, m.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		err := cmd.Wait()
		s.log.Info("node is off", "node", m.name, "how", err)
		close(ended)
	}(m.ended)
	return nil
}

// powerOff cuts the cable, kills every process of the node, and takes away all
// that was not on its disk.
func (s *supervisor) powerOff(m *machine) error {
	if m.cmd == nil {
		return fmt.Errorf("%s is off already", m.name)
	}
	err := world.IP(fabric, "link set "+m.cable()+" down")
	_ = m.cmd.Process.Kill() // ended by itself: as good
	<-m.ended
	m.cmd = nil
	if err := errors.Join(err, unplug(m.station), s.group.Remove(m.name)); err != nil {
		return fmt.Errorf("powering %s off: %w", m.name, err)
	}
	return nil
}
