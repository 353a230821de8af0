package bfd

import (
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// scheduled counts the threads of this process in SCHED_RR.
func scheduled(t *testing.T) (n int) {
	threads, err := filepath.Glob("/proc/self/task/*")
	must(t, err)
	for _, path := range threads {
		tid, err := strconv.Atoi(filepath.Base(path))
		must(t, err)
		if attr, err := unix.SchedGetAttr(tid, 0); err == nil && attr.Policy == unix.SCHED_RR {
			n++
		}
	}
	return n
}

// Only the thread that sends and detects has real-time priority, and only while it runs.
func TestRealTime(t *testing.T) {
	p := newPair(t)
	a := speak(t, p.a, Config{RealTime: true}, with("10.0.0.2", fast))
	eventually(t, "it speaks", func() bool { return a.only(t).PacketsOut > 0 })
	if n := scheduled(t); n > 1 {
		t.Errorf("%d threads have real-time priority", n)
	} else if n == 0 {
		t.Skip("real-time priority is not granted here")
	}
	a.stop()
	eventually(t, "no thread has real-time priority", func() bool { return scheduled(t) == 0 })
}
