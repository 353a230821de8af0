package bfd

import (
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	realTimePriority = 10
	spareProcessors  = 4
)

// spare gives the Go scheduler more processors than there are cores, once. A goroutine that
// returns from waiting needs one of them to go on. Where the kernel has taken the core from a
// thread that holds one, as it does to all but the real-time thread when CPU is short,
// nobody can take that processor away: so there have to be others.
var spare = sync.OnceFunc(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors) })

// realTime puts the calling thread into SCHED_RR, if it may be, and returns what puts it
// back. The threads that Go starts do not inherit it.
func (l *loop) realTime() (undo func()) {
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR,
			Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: realTimePriority}, 0)
	}
	if err != nil {
		l.say(func() {
			l.config.Log.Info("BFD runs without real-time priority: it takes CAP_SYS_NICE", "error", err)
		})
		return func() {}
	}
	spare()
	l.say(func() {
		l.config.Log.Info("BFD runs with real-time priority", "class", fmt.Sprintf("SCHED_RR %d", realTimePriority))
	})
	return func() { _ = unix.SchedSetAttr(0, before, 0) } // a thread that keeps it only sleeps
}
