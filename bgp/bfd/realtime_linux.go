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

// A class is the scheduling class of the loop's thread.
type class struct {
	locked  bool            // the loop is bound to its thread
	before  *unix.SchedAttr // what it was; nil: it still is
	refused bool
}

// hurry puts the loop's thread into SCHED_RR, if that is wanted, may be, and is not so
// yet. It is asked for again with each new session, since an operator may grant it
// while we run. The threads that Go starts do not inherit it.
func (l *loop) hurry() {
	if !l.config.RealTime || !l.class.locked || l.class.before != nil {
		return
	}
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR,
			Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: realTimePriority}, 0)
	}
	if err != nil {
		if !l.class.refused {
			l.class.refused = true
			l.say(func() {
				l.config.Log.Info("BFD runs without real-time priority: it takes CAP_SYS_NICE, and where the kernel has RT_GROUP_SCHED a cgroup with cpu.rt_runtime_us",
					"error", err)
			})
		}
		return
	}
	l.class.before = before
	spare()
	l.say(func() {
		l.config.Log.Info("BFD runs with real-time priority", "class", fmt.Sprintf("SCHED_RR %d", realTimePriority))
	})
}

// calm puts the thread back. One that keeps the priority all the same only sleeps.
func (l *loop) calm() {
	if l.class.before != nil {
		_ = unix.SchedSetAttr(0, l.class.before, 0)
	}
}
