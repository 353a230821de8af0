package script

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/router"
	"holdfast.dev/holdfast/deploy/world"
)

func init() {
	add("claims", map[string]verb{
		"undisturbed": {"", "ROUTER,... ADDR,... by COMMAND...",
			"runs a command, such as sleep 10m, during which the kernel of each of the routers hears of no\nchange of its routes to ADDR", (*run).undisturbed},
		"unrouted": {"", "NAME ROUTER,... ADDR,... NODE [within=5s] by COMMAND...",
			`runs a command, such as power off NODE, and waits until the kernel of each of the routers
has no route to ADDR through NODE. How long that took, from when the node's cable went dark
or else from when the command began, is kept for each router and family as one sample of NAME`, (*run).unrouted},
	})
}

func (r *run) unrouted(ctx context.Context, args []string) error {
	args, do, command, err := commanded(args)
	if err != nil {
		return err
	}
	args, o, err := options(args, "within")
	if err == nil && len(args) != 4 {
		err = errors.New("want a name, routers, an address and a node, by a command")
	}
	if err != nil {
		return err
	}
	within, err := duration(o, "within", 5*time.Second)
	if err != nil {
		return err
	}
	names, err := r.named(args[1])
	if err != nil {
		return err
	}
	prefixes, err := r.prefixes(commas(args[2]))
	if err != nil {
		return err
	}
	gateways, err := r.lab.Addresses(args[3])
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cable, err := startMonitor(ctx, r.lab.NetworkFile("fab"), "link")
	if err != nil {
		return err
	}
	var watches []*watch
	for _, name := range names {
		w, err := startWatch(ctx, name, r.lab.NetworkFile(name), prefixes, gateways)
		if err != nil {
			return err
		}
		watches = append(watches, w)
	}
	begun := time.Now()
	if err := do(r, ctx, command[1:]); err != nil {
		return err
	}
	deadline := time.After(within)
	for _, w := range watches {
		if err := w.wait(ctx, deadline); err != nil {
			return claim("%w, %s after %q", err, within, strings.Join(command, " "))
		}
	}
	cut := begun
	for _, e := range cable.take() {
		if dark(e.text, "v-"+args[3]) && !e.at.Before(begun) {
			cut = e.at
			break
		}
	}
	for _, w := range watches {
		for family, at := range w.gone() {
			r.sampled(args[0], "routed for").add(w.name+", "+family, at.Sub(cut), 0, 0)
			fmt.Fprintf(r.out, "          %s: %s, %s: routed for %s\n", args[0], w.name, family, at.Sub(cut).Round(100*time.Microsecond))
		}
	}
	return nil
}

// commanded parts the arguments of a verb from the command that it runs.
func commanded(args []string) (own []string, do func(*run, context.Context, []string) error, command []string, err error) {
	by := slices.Index(args, "by")
	if by < 0 || by+1 == len(args) {
		return nil, nil, nil, errors.New("want by, and a command")
	}
	command = args[by+1:]
	v, ok := verbs[command[0]]
	if !ok {
		return nil, nil, nil, fmt.Errorf("by %s: no such verb", command[0])
	}
	return args[:by], v.run, command, nil
}

func (r *run) undisturbed(ctx context.Context, args []string) error {
	args, do, command, err := commanded(args)
	if err == nil && len(args) != 2 {
		err = errors.New("want routers and addresses, by a command")
	}
	if err != nil {
		return err
	}
	names, err := r.named(args[0])
	if err != nil {
		return err
	}
	prefixes, err := r.prefixes(commas(args[1]))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	heard := map[string]*monitor{}
	for _, name := range names {
		if heard[name], err = startMonitor(ctx, r.lab.NetworkFile(name), "route"); err != nil {
			return err
		}
	}
	if err := do(r, ctx, command[1:]); err != nil {
		return err
	}
	time.Sleep(straggling)
	var wrong []string
	for _, name := range names {
		for _, e := range heard[name].take() {
			if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return mentions(e.text, p) }) {
				wrong = append(wrong, fmt.Sprintf("%s, %s: %s", name, e.at.Format(time.TimeOnly), e.text))
			}
		}
	}
	if len(wrong) > 0 {
		return claim("routes have changed %d times:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
	}
	return nil
}

// mentions says whether a line of `ip monitor route` is about a prefix.
func mentions(line string, p netip.Prefix) bool {
	for word := range strings.FieldsSeq(line) {
		if word == p.String() || p.IsSingleIP() && word == p.Addr().String() {
			return true
		}
	}
	return false
}

// dark says whether a line of `ip monitor link` tells that an interface is down or gone.
func dark(line, name string) bool {
	_, after, ok := strings.Cut(line, " "+name+"@")
	if !ok {
		return false
	}
	_, after, _ = strings.Cut(after, "<")
	flags, _, _ := strings.Cut(after, ">")
	return strings.HasPrefix(line, "Deleted ") || !slices.Contains(strings.Split(flags, ","), "UP")
}

// event is a line of `ip -ts monitor`.
type event struct {
	at   time.Time
	text string
}

// monitor is a running `ip -ts monitor` of one network namespace.
type monitor struct{ events chan event }

// startMonitor begins to listen to the kernel, and returns when no event can be missed any
// more. It ends with the context.
func startMonitor(ctx context.Context, network, objects string) (*monitor, error) {
	argv := world.EnterNetwork(network, "ip", "-ts", "-oneline", "monitor", objects).Args
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watching the kernel: %w", err)
	}
	m := &monitor{make(chan event, 4096)}
	go func() {
		m.read(out)
		_ = cmd.Wait() // it is killed in the end
	}()
	if err := until(ctx, 5*time.Second, func() error { return subscribed(cmd.Process.Pid) }); err != nil {
		return nil, fmt.Errorf("watching the kernel: %w", err)
	}
	return m, nil
}

// subscribed fails until a process has a netlink socket that listens to a group.
func subscribed(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) { // sk Eth Pid Groups ...
		f := strings.Fields(line)
		if len(f) > 3 && f[1] == "0" && f[2] == strconv.Itoa(pid) && strings.Trim(f[3], "0") != "" {
			return nil
		}
	}
	return fmt.Errorf("process %d does not listen yet", pid)
}

func (m *monitor) read(lines io.Reader) {
	for s := bufio.NewScanner(lines); s.Scan(); {
		if e, err := parseEvent(s.Text()); err == nil {
			m.events <- e
		}
	}
}

// parseEvent reads a line such as "[2026-01-31T12:00:00.123456] Deleted 192.0.2.1 …".
func parseEvent(line string) (event, error) {
	stamp, text, ok := strings.Cut(strings.TrimPrefix(line, "["), "] ")
	if !ok {
		return event{}, fmt.Errorf("%q has no time", line)
	}
	at, err := time.Parse("2006-01-02T15:04:05.999999", stamp)
	return event{at, text}, err
}

// take returns what has been heard and not been taken.
func (m *monitor) take() (all []event) {
	for {
		select {
		case e := <-m.events:
			all = append(all, e)
		default:
			return all
		}
	}
}

// watch waits until routes in one namespace do not lead through a gateway any more.
type watch struct {
	name, network string
	left          []netip.Prefix // those that do
	gateways      []netip.Addr
	monitor       *monitor
	done          chan error
	ended         map[netip.Prefix]time.Time
}

func startWatch(ctx context.Context, name, network string, prefixes []netip.Prefix, gateways []netip.Addr) (*watch, error) {
	m, err := startMonitor(ctx, network, "route")
	if err != nil {
		return nil, err
	}
	w := &watch{name, network, slices.Clone(prefixes), gateways, m, make(chan error, 1), map[netip.Prefix]time.Time{}}
	gone, err := w.look()
	if err != nil {
		return nil, err
	}
	if len(gone) > 0 {
		return nil, fmt.Errorf("%s has no such route to %v", name, gone)
	}
	go func() { w.done <- w.run(ctx) }()
	return w, nil
}

// straggling is how long an event may take from the kernel to here.
const straggling = 100 * time.Millisecond

// run reads the routes after each event. The time of a route's end is that of the last
// event before the reading that missed it had ended: it may be late by the milliseconds
// that reading takes, and is never early.
func (w *watch) run(ctx context.Context) error {
	for len(w.left) > 0 {
		var heard []event
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-w.monitor.events:
			heard = append(heard, e)
		}
		gone, err := w.look()
		if err != nil {
			return err
		}
		if len(gone) == 0 {
			continue
		}
		read := time.Now()
		time.Sleep(straggling)
		heard = append(heard, w.monitor.take()...)
		for _, p := range gone {
			w.ended[p] = lastBefore(heard, read)
		}
	}
	return nil
}

// lastBefore is when the last event until then was; the first one if none was.
func lastBefore(heard []event, then time.Time) time.Time {
	at := heard[0].at
	for _, e := range heard {
		if e.at.After(at) && !e.at.After(then) {
			at = e.at
		}
	}
	return at
}

// look finds out which routes are gone since the last time.
func (w *watch) look() (gone []netip.Prefix, err error) {
	var left []netip.Prefix
	for _, p := range w.left {
		hops, err := router.NextHops(w.network, p)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(hops, func(h router.NextHop) bool { return slices.Contains(w.gateways, h.Addr) }) {
			left = append(left, p)
		} else {
			gone = append(gone, p)
		}
	}
	w.left = left
	return gone, nil
}

func (w *watch) wait(ctx context.Context, deadline <-chan time.Time) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-deadline:
		return fmt.Errorf("%s still has the route", w.name)
	}
}

// gone is when the last route of each family ended.
func (w *watch) gone() map[string]time.Time {
	last := map[string]time.Time{}
	for p, at := range w.ended {
		family := familyOf(p.Addr())
		if at.After(last[family]) {
			last[family] = at
		}
	}
	return last
}
