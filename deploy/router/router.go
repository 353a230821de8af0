// Package router runs real routers, FRR and BIRD, in the network namespaces of
// a world (package world), for tests and for the lab.
//
// It decides where such a router keeps its files, how its daemons are started,
// asked and ended, and reads what they put into the kernel's forwarding table.
// What they are configured to do is the caller's business, and so are addresses
// and kernel variables of the namespace.
//
// Invariants:
//
//  1. A router writes below /run and /etc/frr only, which in a world are the
//     world's own; it refuses to start outside one.
//  2. When Start… has returned without an error, every daemon answers commands
//     and the whole configuration has been accepted.
//  3. Routers of different namespaces know nothing of each other.
//  4. After Kill or Stop no process of the router is left, and Start starts it
//     again with the configuration that it was given last.
package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// A Router is FRR or BIRD in one network namespace. Its methods may be called
// by several goroutines at once.
type Router struct {
	name, ns string
	software software

	mu      sync.Mutex // held while daemons are started or ended, or the configuration changes
	running map[string]*daemon
	killed  bool // it was not Stop that ended some last
}

// software is what FRR and BIRD do differently.
type software interface {
	// write lays the configuration where the daemons look for it.
	write() error
	// stages are the daemons in the order in which they start; those of one
	// stage start together. Killed: they follow some that were.
	stages(killed bool) [][]program
	// socket is the socket by which a daemon shows that it is there.
	socket(daemon string) string
	// load gives the configuration to running daemons.
	load(ctx context.Context) error
	// command is argv that has the router carry out one command.
	command(line string) []string
	// answer is what the command said, or the error that it told of.
	answer(out []byte) ([]byte, error)
	// configure changes the configuration of running daemons.
	configure(text string) error
	// bgp and bfd ask for sessions.
	bgp() question
	bfd() question
	// signs are what tells that a graceful restart is over.
	signs(neighbour netip.Addr) []sign
	// logs is the directory of the daemons' logs.
	logs() string
}

// A program is a daemon that is to run.
type program struct {
	name string
	argv []string
}

// A daemon is one process of a router.
type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func (d *daemon) alive() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// stopTime is how long daemons may take to end when they are asked to.
const stopTime = 10 * time.Second

// start makes a router of software, and leaves nothing running if it cannot.
func start(ctx context.Context, ns, name string, s software, pkg string, programs ...string) (*Router, error) {
	r := &Router{name: name, ns: ns, software: s, running: map[string]*daemon{}}
	if name == "" || name[0] == '.' || strings.Contains(name, "/") || len(name) > 40 {
		return nil, fmt.Errorf("starting router %q: its name must be a file's name that does not begin with a dot, of 40 octets at most", name)
	}
	if !world.Inside() {
		return nil, fmt.Errorf("starting router %s: not in a world, where its files would stay apart from the machine's: see package world", name)
	}
	if err := missing(pkg, programs...); err != nil {
		return nil, fmt.Errorf("starting router %s: %w", name, err)
	}
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Kill())
	}
	return r, nil
}

// Name is the router's name.
func (r *Router) Name() string { return r.name }

// Namespace is the network namespace in which it runs.
func (r *Router) Namespace() string { return r.ns }

// Start starts those daemons that do not run, and waits until they have the
// configuration. Its context bounds the wait, not the life of the daemons.
func (r *Router) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.startAll(ctx); err != nil {
		return fmt.Errorf("starting router %s: %w", r.name, err)
	}
	return nil
}

func (r *Router) startAll(ctx context.Context) error {
	if err := r.software.write(); err != nil {
		return err
	}
	for _, stage := range r.software.stages(r.killed) {
		var names []string
		for _, p := range stage {
			if d := r.running[p.name]; d != nil && d.alive() {
				continue
			}
			if err := r.startDaemon(p); err != nil {
				return err
			}
			names = append(names, p.name)
		}
		for _, name := range names {
			if err := r.waitReady(ctx, name); err != nil {
				return err
			}
		}
	}
	return r.software.load(ctx)
}

func (r *Router) logFile(daemon string) string {
	return filepath.Join(r.software.logs(), daemon+".log")
}

func (r *Router) startDaemon(p program) error {
	if err := os.RemoveAll(r.software.socket(p.name)); err != nil { // of one that was killed
		return err
	}
	log, err := os.OpenFile(r.logFile(p.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := world.Command(r.ns, p.argv...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	d := &daemon{cmd, make(chan struct{})}
	r.running[p.name] = d
	go func() {
		_ = cmd.Wait() // how it ended is seen from its log
		close(d.ended)
	}()
	return nil
}

// waitReady waits until a daemon takes commands.
func (r *Router) waitReady(ctx context.Context, name string) error {
	socket := r.software.socket(name)
	for {
		err := answers(socket)
		if err == nil {
			return nil
		}
		select {
		case <-r.running[name].ended:
			return fmt.Errorf("%s ended at once:\n%s", name, r.Log(name))
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s takes commands: %w: %w", name, ctx.Err(), err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Signal sends a signal to the named daemons (FRR: zebra, bgpd, …; BIRD: bird),
// or to all if none is named. SIGSTOP makes a router fall silent with its
// links up, SIGCONT wakes it.
func (r *Router) Signal(sig syscall.Signal, daemons ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.signal(sig, daemons)
	return err
}

// signal returns those that got the signal.
func (r *Router) signal(sig syscall.Signal, names []string) (got []*daemon, err error) {
	for _, n := range names {
		if d := r.running[n]; d == nil || !d.alive() {
			err = errors.Join(err, fmt.Errorf("router %s: %s does not run", r.name, n))
		}
	}
	for n, d := range r.running {
		if !d.alive() || len(names) > 0 && !slices.Contains(names, n) {
			continue
		}
		_ = d.cmd.Process.Signal(sig) // ended meanwhile: as good
		got = append(got, d)
	}
	return got, err
}

// Kill ends the named daemons, or all, as a crash would, and waits until they
// are gone: nothing is said to a peer but what the kernel says, TCP's FIN; the
// routes stay in the kernel, and keep forwarding, until Start. A BIRD or a bgpd whose
// sessions have graceful restart keeps them until its neighbours have told them again.
func (r *Router) Kill(daemons ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	killed, err := r.signal(syscall.SIGKILL, daemons)
	for _, d := range killed {
		<-d.ended
	}
	r.killed = true
	return err
}

// Stop ends all daemons as an operator would: sessions are closed with a
// NOTIFICATION, and the routes are taken out of the kernel.
func (r *Router) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = false
	deadline := time.After(stopTime)
	for _, stage := range slices.Backward(r.software.stages(r.killed)) {
		for _, p := range stage {
			d := r.running[p.name]
			if d == nil || !d.alive() {
				continue
			}
			_ = d.cmd.Process.Signal(syscall.SIGTERM) // ended meanwhile: as good
			select {
			case <-d.ended:
			case <-deadline:
				_, err := r.signal(syscall.SIGKILL, nil)
				return errors.Join(fmt.Errorf("stopping router %s: %s did not end in %v and was killed", r.name, p.name, stopTime), err)
			}
		}
	}
	return nil
}

// Running reports whether any daemon of the router runs.
func (r *Router) Running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.running {
		if d.alive() {
			return true
		}
	}
	return false
}

// Show has the router carry out one command of its own language ("show bgp
// summary", "clear bgp *"; "show protocols", "disable node1") and returns what
// it prints. A command that the router refuses is an error.
func (r *Router) Show(command string) ([]byte, error) {
	argv := r.software.command(command)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err == nil {
		out, err = r.software.answer(out)
	}
	if err != nil {
		return nil, fmt.Errorf("router %s: %s: %w: %s", r.name, command, err, bytes.TrimSpace(out))
	}
	return out, nil
}

// JSON has FRR carry out a command that prints JSON ("show bgp summary json")
// and decodes that. BIRD prints none.
func (r *Router) JSON(command string, into any) error {
	out, err := r.Show(command)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("router %s: reading what %q prints as JSON: %w", r.name, command, err)
	}
	return nil
}

// Configure changes the configuration at run time. For FRR, text are lines as
// they are typed after "configure terminal"; they are not part of what Start
// loads after the daemons were killed. For BIRD, text is the whole new
// configuration, and protocols that it leaves as they were go on undisturbed.
func (r *Router) Configure(text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.software.configure(text); err != nil {
		return fmt.Errorf("configuring router %s: %w", r.name, err)
	}
	return nil
}

// NextHops are the next hops of exactly this prefix in the kernel's forwarding
// table of the router's namespace: see [NextHops].
func (r *Router) NextHops(prefix netip.Prefix) ([]NextHop, error) {
	return NextHops(r.ns, prefix)
}

// Log is what the named daemon, or all, wrote since the router was made.
func (r *Router) Log(daemons ...string) string {
	if len(daemons) == 0 {
		for _, stage := range r.software.stages(r.killed) {
			for _, p := range stage {
				daemons = append(daemons, p.name)
			}
		}
	}
	var all strings.Builder
	for _, d := range daemons {
		text, err := os.ReadFile(r.logFile(d))
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&all, "--- %s\n%s\n", d, bytes.TrimSpace(text))
	}
	return all.String()
}
