package router

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Resident is the memory that a daemon of the router holds, in octets: its resident
// set without pages that come from files, RssAnon of proc_pid_status(5).
func (r *Router) Resident(daemon string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.running[daemon]
	if d == nil || !d.alive() {
		return 0, fmt.Errorf("%s: no %s runs", r.name, daemon)
	}
	return Resident(d.cmd.Process.Pid)
}

// Resident is the same of any process.
func Resident(pid int) (int64, error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("asking how much memory a process holds: %w", err)
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			return n << 10, nil
		}
	}
	return 0, fmt.Errorf("%s: no RssAnon line", file)
}
