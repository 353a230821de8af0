package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Times are judged only where they tell one thing from another; how long it
// took is printed.
const (
	deployMax = 3 * time.Minute  // the longest that a topology may take to be there, with its API
	upMax     = 60 * time.Second // the longest that anything in it may take to come up
	deathMax  = 5 * time.Second  // the longest that a dead node may keep its routes: it is BFD that notices, not the hold time, which takes six seconds at least
	wellTime  = 2 * time.Second  // how long traffic is watched while nothing happens

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
	fmt.Fprintln(r.out, t.name)
	w := &watch{Context: ctx, topology: t, plan: plans[t.name](t), fibs: map[string]*fib{}}
	r.step("deploying "+t.name, func() error {
		if err := t.deploy(ctx); err != nil {
			return err
		}
		return w.open()
	})
	well := w.comesUp(r) && w.endures(r)
	for _, f := range w.fibs {
		f.close()
	}
	if ctx.Err() != nil {
		return // the world's end is the topology's
	}
	if !well {
		t.tell(ctx, r.out)
	}
	r.step("destroying "+t.name, func() error { return t.destroy(ctx) })
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
				return "", w.ofEach(askEvery, func(node string) error {
					_, err := p.session(w, p.sessions[node])
					return err
				})
			})
			all = all && r.check(p.name+": BFD with all nodes", func() (string, error) {
				return "", w.ofEach(askEvery, func(node string) error { return p.router.bfd(w, p.bfd[node]) })
			})
		}
		all = all && r.check(p.name+": the kernel sends both addresses to all nodes", func() (string, error) {
			if err := within(w, upMax, lookEvery, func() error { return w.routes(p, w.nodes) }); err != nil {
				return "", err
			}
			hops, err := w.fibs[p.name].nextHops(service[0])
			return strings.Join(hops, ", "), err
		})
	}
	all = all && r.check("every node answers the client, nothing is lost", w.traffic)
	for _, c := range w.more {
		all = all && r.check(c.what, func() (string, error) { return c.holds(w) })
	}
	return all
}

// settled waits until every router has its sessions with all nodes, and sends to
// all of them.
func (w *watch) settled() error {
	for _, p := range w.points {
		err := w.ofEach(askEvery, func(node string) error {
			if len(p.sessions) == 0 {
				return nil
			}
			_, err := p.session(w, p.sessions[node])
			return errors.Join(err, p.router.bfd(w, p.bfd[node]))
		})
		if err != nil {
			return err
		}
		if err := within(w, upMax, lookEvery, func() error { return w.routes(p, w.nodes) }); err != nil {
			return err
		}
	}
	return nil
}

// ofEach waits until something is so of each node.
func (w *watch) ofEach(every time.Duration, so func(node string) error) error {
	for _, n := range w.nodes {
		if err := within(w, upMax, every, func() error { return so(n) }); err != nil {
			return err
		}
	}
	return nil
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
	client, err := startClient(w.container("client"))
	if err != nil {
		return "", err
	}
	defer client.stop()
	time.Sleep(wellTime)
	seen, err := client.end()
	if err != nil {
		return "", err
	}
	if seen.Lost() > 0 {
		return "", fmt.Errorf("%d of %d requests lost: %s", seen.Lost(), seen.Sent(), silences(seen))
	}
	for _, target := range seen.Results {
		if who := slices.Sorted(maps.Keys(target.Backends)); !slices.Equal(who, w.nodes) {
			return "", fmt.Errorf("%s is answered by %v, want all of %v", target.Target, who, w.nodes)
		}
	}
	return fmt.Sprintf("%d requests", seen.Sent()), nil
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
