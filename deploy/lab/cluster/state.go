package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that no lab lives in a directory.
var ErrNotRunning = errors.New("no lab is running here")

// What is in a state directory. Inside the world, and inside each node, the
// same directory is at /run/lab.
const (
	stateInside  = "/run/lab"
	programsDir  = "programs" // link-named copies of the Kubernetes binary
	imagesDir    = "images"   // tars that each node imports
	pkiDir       = "pki"
	nodesDir     = "nodes"
	etcdDir      = "etcd"
	logDir       = "log"
	recordFile   = "lab.json"
	progressFile = "progress"
	controlFile  = "control"
	auditFile    = "audit.log"
)

// StateDir is where the lab of a directory keeps its state.
func StateDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the lab of %s: %w", dir, err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", fmt.Errorf("finding the lab of %s: %w", dir, err)
	}
	if abs == "/run" || strings.HasPrefix(abs, "/run/") {
		return "", fmt.Errorf("%s: a lab has a /run of its own and cannot live in yours; stand elsewhere", abs)
	}
	return filepath.Join(abs, ".lab", "run"), nil
}

// A record says which process is the lab, and what the lab is like.
type record struct {
	Pid     int     `json:"pid"`     // pid 1 of the world, as seen from outside
	Started string  `json:"started"` // its start time, in the kernel's ticks: pids are used again
	Options Options `json:"options"`
}

func (r record) alive() bool {
	started, err := startTime(r.Pid)
	return err == nil && started == r.Started
}

func readRecord(state string) (record, error) {
	var r record
	text, err := os.ReadFile(filepath.Join(state, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, ErrNotRunning
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("reading which lab runs in %s: %w", state, err)
	}
	if !r.alive() {
		return r, ErrNotRunning
	}
	return r, nil
}

// write replaces the record, whole or not at all.
func (r record) write(state string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(state, recordFile)
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return fmt.Errorf("recording which lab runs in %s: %w", state, err)
	}
	return os.Rename(path+".new", path)
}

// startTime is when a living process started, in ticks since boot. A zombie
// does not live.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

// clear empties a state directory of everything but, if kept, the logs.
func clear(state string, keepLogs bool) error {
	entries, err := os.ReadDir(state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clearing %s: %w", state, err)
	}
	for _, e := range entries {
		if keepLogs && (e.Name() == logDir || e.Name() == auditFile) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(state, e.Name())); err != nil {
			return fmt.Errorf("clearing %s: %w", state, err)
		}
	}
	return nil
}

// lock keeps two commands from bringing up or taking down one lab at a time.
func lock(state string) (unlock func(), err error) {
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	file, err := os.Open(state)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: another lab up or lab down is at work there", state)
	}
	return func() { file.Close() }, nil
}
