// Package world runs a process tree that leaves nothing behind.
//
// A world is one set of network, mount, pid, host name and IPC namespaces.
// What is started, mounted or configured in it lives in these namespaces only,
// and all of it is gone when the world's pid 1 ends, however it ends.
//
// The package decides how a world is made and joined: its pid 1, its mounts,
// its named network namespaces and its control groups. What runs in it is the
// caller's business.
//
// Invariants:
//
//  1. The death of a world's pid 1, kill -9 included, ends every process in
//     it, and with them every mount, network namespace and interface.
//  2. A world made by [Main] dies with the process that made it.
//  3. Nothing that a world mounts or configures is visible outside.
//  4. The one thing the kernel keeps, empty control groups, is removed by the
//     next [SweepCgroups], and no sweep touches those of a living world.
//  5. Orphans are reaped by pid 1; children that the code inside waits for
//     are never reaped by somebody else.
//
// A world consists of pid 1, which only mounts, reaps and passes signals on,
// and of its one child, which runs the caller's code. SIGINT is not passed on:
// a terminal sends it to the whole foreground group, the child included.
package world

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// stageVar tells a process which part of a world it is.
const stageVar = "HOLDFAST_WORLD"

const (
	stageInit   = "init"   // pid 1
	stageInside = "inside" // its child and everything below
)

// Main runs run in a world of its own and exits with its result. Outside, it
// starts this binary again with the same arguments and environment; in that
// second process, inside, it calls run. It is made for TestMain:
//
//	func TestMain(m *testing.M) { world.Main(m.Run) }
//
// A process that may not make namespaces (see [Missing]) calls run where it
// stands; tests that need a world then skip by [Require]. A process that is in
// a world already stays in it.
func Main(run func() int) {
	Init()
	if Inside() || Missing() != "" {
		os.Exit(run())
	}
	code, err := outside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "world:", err)
		code = 1
	}
	os.Exit(code)
}

// Inside reports whether this process runs in a world.
func Inside() bool { return os.Getenv(stageVar) == stageInside }

// Init must be the first call in main of a command that calls [Spawn]: in the
// process that is pid 1 of a new world it never returns, elsewhere it does
// nothing. [Main] calls it.
func Init() {
	if os.Getenv(stageVar) != stageInit || os.Getpid() != 1 {
		return
	}
	code, err := initialise()
	if err != nil {
		fmt.Fprintln(os.Stderr, "world:", err)
		code = 1
	}
	os.Exit(code)
}

// Spawn starts this binary with args in a new world that outlives the caller,
// in a session of its own, standing in "/", its output in log. Killing the
// returned process, which is the world's pid 1, ends the world. The binary's
// main must call [Init] first.
func Spawn(args []string, log *os.File) (*os.Process, error) {
	cmd := again(args)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a world: %w", err)
	}
	return cmd.Process, nil
}

// again is this binary once more, as pid 1 of new namespaces.
func again(args []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVar+"="+stageInit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Unshareflags: syscall.CLONE_NEWNS, // this way the mounts become private too
	}
	return cmd
}

// outside makes a world that dies with this process, and waits for its end.
func outside() (int, error) {
	SweepCgroups()
	defer SweepCgroups()
	runtime.LockOSThread() // the death signal comes when this thread ends
	defer runtime.UnlockOSThread()
	cmd := again(os.Args[1:])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	signals := caught()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting a world: %w", err)
	}
	go passOn(signals, cmd.Process.Pid)
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exitCode(exit.Sys().(syscall.WaitStatus)), nil
	}
	return 0, err
}

// initialise is the life of a world's pid 1.
func initialise() (int, error) {
	if err := furnish(); err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVar+"="+stageInside, "TMPDIR="+temporary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return Reap(cmd)
}

// Reap is the life of a pid 1 that has made its mounts: it starts cmd, passes
// signals on to it, and reaps whatever is orphaned until cmd ends. It returns
// the exit code of cmd. The calling process must have no other children.
func Reap(cmd *exec.Cmd) (int, error) {
	signals := caught()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go passOn(signals, cmd.Process.Pid)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("waiting for orphans: %w", err)
		case pid == cmd.Process.Pid:
			return exitCode(status), nil
		}
	}
}

// caught starts to collect the signals that a world knows.
func caught() <-chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	return c
}

// passOn sends what is caught to pid, all but SIGINT.
func passOn(signals <-chan os.Signal, pid int) {
	for s := range signals {
		if s != syscall.SIGINT {
			_ = syscall.Kill(pid, s.(syscall.Signal)) // gone already: nobody to tell
		}
	}
}

// exitCode is what a shell would report.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
