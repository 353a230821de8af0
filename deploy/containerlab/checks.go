package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	comesUp  = 60 * time.Second // the longest that anything may take to come up
	deathMax = 3 * time.Second  // the longest that a dead node may keep its routes
	wellTime = 2 * time.Second  // how long traffic is watched while nothing happens

	askEvery  = 100 * time.Millisecond // a routing daemon, by a command in its container
	lookEvery = 2 * time.Millisecond   // into a kernel's routing table
)

// A watch is a topology that is up, seen from its routers.
type watch struct {
	context.Context
	*topology
	plan
	fibs map[string]*fib
}

// checkTopology brings a topology up, checks it and takes it down.
func checkTopology(ctx context.Context, r *report, t *topology) {
	fmt.Fprintf(r.out, "%s\n", t.name)
	w := &watch{Context: ctx, topology: t, plan: planOf(t), fibs: map[string]*fib{}}
	r.step("deployed", func() error { return errors.Join(t.deploy(ctx), w.open()) })
	if w.comesUp(r) {
		w.endures(r)
	}
	for _, f := range w.fibs {
		f.close()
	}
	r.step("destroyed", func() error { return t.destroy(ctx) })
}

func (w *watch) open() error {
	for _, p := range w.points {
		f, err := openFIB(p.name, w.container(p.name))
		if err != nil {
			return err
		}
		w.fibs[p.name] = f
	}
	return nil
}

// comesUp is what must be so before anything else makes sense.
func (w *watch) comesUp(r *report) bool {
	all := true
	for _, p := range w.points {
		if len(p.sessions) > 0 {
			all = all && r.check(p.name+": sessions with all nodes, both families", func() (string, error) {
				return "", within(w, comesUp, askEvery, func() error { return each(w.nodes, func(n string) error { return p.session(w, p.sessions[n]) }) })
			})
			all = all && r.check(p.name+": BFD with all nodes", func() (string, error) {
				return "", within(w, comesUp, askEvery, func() error { return each(w.nodes, func(n string) error { return p.router.bfd(w, p.bfd[n]) }) })
			})
		}
		all = all && r.check(p.name+": the kernel sends both addresses to all nodes", func() (string, error) {
			if err := within(w, comesUp, lookEvery, func() error { return w.routes(p, w.nodes) }); err != nil {
				return "", err
			}
			hops, err := w.fibs[p.name].nextHops(service[0])
			return strings.Join(hops, ", "), err
		})
	}
	all = all && r.check("every node answers the client, nothing is lost", w.traffic)
	for _, c := range w.more {
		all = r.check(c.what, func() (string, error) { return c.holds(w) }) && all
	}
	return all
}

// routes says whether the kernel of a router sends the Service's addresses to
// these nodes and to no other.
func (w *watch) routes(p point, nodes []string) error {
	for i, address := range service {
		var want []string
		for _, n := range nodes {
			want = append(want, p.hops[n][i])
		}
		if err := w.fibs[p.name].expect(address, want); err != nil {
			return err
		}
	}
	return nil
}

// traffic watches the client's requests for a while: all are answered, and by
// every node.
func (w *watch) traffic() (string, error) {
	probe, err := startProbe(w.container("client"))
	if err != nil {
		return "", err
	}
	time.Sleep(wellTime)
	seen, err := probe.end()
	if err != nil {
		return "", err
	}
	if seen.Lost() > 0 {
		return "", fmt.Errorf("%d of %d requests lost: %s", seen.Lost(), seen.Sent(), silences(seen))
	}
	for _, target := range seen.Results {
		if len(target.Backends) != len(w.nodes) {
			return "", fmt.Errorf("%s is answered by %v, want all of %v", target.Target, target.Backends, w.nodes)
		}
	}
	return fmt.Sprintf("%d requests", seen.Sent()), nil
}

// each asks about all nodes.
func each(nodes []string, ask func(string) error) error {
	for _, n := range nodes {
		if err := ask(n); err != nil {
			return err
		}
	}
	return nil
}

// within calls ask now and then until it has no error, and gives up after a time.
func within(ctx context.Context, most, every time.Duration, ask func() error) error {
	for end := time.Now().Add(most); ; time.Sleep(every) {
		err := ask()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(end):
			return fmt.Errorf("not within %s: %w", most, err)
		}
	}
}
