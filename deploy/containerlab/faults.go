package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// endures is what happens to a daemon and to a node. Each check begins where the
// one before it has ended well.
func (w *watch) endures(r *report) bool {
	victim, others := w.nodes[0], w.nodes[1:]
	daemon := "holdfast" + strings.TrimPrefix(victim, "node")
	all := r.check("the daemon of "+victim+" is killed and comes back, "+w.promise(), func() (string, error) {
		return w.restart(victim, func() error { return w.kill(w, daemon) })
	})
	all = all && r.check("it is told to end, as for an upgrade, and comes back, "+w.promise(), func() (string, error) {
		return w.restart(victim, func() error { return w.upgrade(w, daemon) })
	})
	all = all && r.check(victim+" falls silent, the routes to it go, then nothing is lost", func() (string, error) { return w.death(victim, others) })
	for _, p := range w.points {
		all = all && r.check(p.name+": "+victim+" is back", func() (string, error) {
			return "", within(w, upMax, lookEvery, func() error { return w.routes(p, w.nodes) })
		})
	}
	return all && r.check("every node answers the client again, nothing is lost", w.traffic)
}

// underWay bounds how many requests may be under way, and be lost, when a router
// sends flows to another node and then back: those of 25 ms each time. A node
// that did not serve while routers send to it would cost ten times that.
const underWay = 100

// bearable is how many requests the restart of a daemon may cost: none, unless a
// router gives up its routes meanwhile.
func (w *watch) bearable() int {
	if slices.ContainsFunc(w.points, func(p point) bool { return !p.keeps }) {
		return underWay
	}
	return 0
}

// promise is what a restart is held to, in words.
func (w *watch) promise() string {
	var words []string
	for _, p := range w.points {
		if p.keeps {
			words = append(words, p.name+" keeps its routes")
		}
	}
	if w.bearable() == 0 {
		return strings.Join(append(words, "nothing is lost"), ", ")
	}
	return strings.Join(append(words, "nothing is lost but what is under way when a router reroutes"), ", ")
}

// restart ends a node's daemon while the client sends requests, and waits until
// all routers have it back. Those that keep routes may not stop sending to that
// node, which goes on to serve: that nothing is lost would not tell, with others
// that serve too.
func (w *watch) restart(node string, end func() error) (string, error) {
	if err := w.settled(); err != nil {
		return "", err
	}
	var anew []func() error
	for _, p := range w.points {
		if len(p.sessions) > 0 {
			wait, err := w.newSession(p, node)
			if err != nil {
				return "", err
			}
			anew = append(anew, wait)
		}
	}
	client, err := startClient(w.container("client"))
	if err != nil {
		return "", err
	}
	defer client.stop()
	time.Sleep(wellTime / 2)
	began := time.Now()
	over, stayed := w.stays()
	err = end()
	for _, wait := range anew {
		if err == nil {
			err = wait()
		}
	}
	over()
	if err := errors.Join(err, stayed()); err != nil {
		return "", err
	}
	back := time.Since(began)
	time.Sleep(wellTime / 2)
	seen, err := client.end()
	if err != nil {
		return "", err
	}
	if seen.Lost() > w.bearable() {
		return "", fmt.Errorf("%d of %d requests lost, sessions back after %s: %s", seen.Lost(), seen.Sent(), milliseconds(back), silences(seen))
	}
	return fmt.Sprintf("%d of %d requests lost; sessions and BFD are back after %s", seen.Lost(), seen.Sent(), milliseconds(back)), nil
}

// newSession returns what waits until a router has another session with a node
// than it has now, and BFD with it.
func (w *watch) newSession(p point, node string) (wait func() error, err error) {
	old, err := p.session(w, p.sessions[node])
	if err != nil {
		return nil, err
	}
	return func() error {
		return within(w, upMax, askEvery, func() error {
			name, err := p.session(w, p.sessions[node])
			if err == nil && name == old {
				err = fmt.Errorf("%s has not noticed that the daemon ended: its session with %s is the old one, %s", p.name, node, old)
			}
			return errors.Join(err, p.router.bfd(w, p.bfd[node]))
		})
	}, nil
}

// stays watches the kernels of the routers that keep routes until over is
// called; stayed then says whether one of them ever did not send to all nodes.
func (w *watch) stays() (over func(), stayed func() error) {
	ctx, over := context.WithCancel(w)
	errs := make([]error, len(w.points))
	var all sync.WaitGroup
	for i, p := range w.points {
		if !p.keeps {
			continue
		}
		all.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = w.routes(p, w.nodes)
				time.Sleep(lookEvery)
			}
		})
	}
	return over, func() error { all.Wait(); return errors.Join(errs...) }
}

// death silences a node and times how long each router goes on sending to it.
func (w *watch) death(victim string, others []string) (string, error) {
	if err := w.settled(); err != nil {
		return "", err
	}
	client, err := startClient(w.container("client"))
	if err != nil {
		return "", err
	}
	defer client.stop()
	silence, err := w.prepareSilence(victim)
	if err != nil {
		return "", err
	}
	time.Sleep(wellTime / 2)
	took := make([]string, len(w.points))
	errs := make([]error, len(w.points))
	began := time.Now() // before it is done: the times are no shorter than the truth
	if err := silence.fall(); err != nil {
		return "", err
	}
	var all sync.WaitGroup
	for i, p := range w.points {
		all.Go(func() {
			errs[i] = within(w, deathMax, lookEvery, func() error { return w.routes(p, others) })
			took[i] = p.name + " after " + milliseconds(time.Since(began))
		})
	}
	all.Wait()
	rerouted := time.Now()
	time.Sleep(wellTime / 2)
	seen, err := client.end()
	if err := errors.Join(append(errs, err, w.restore(victim))...); err != nil {
		return "", err
	}
	if late := lostAfter(seen, rerouted); late > 0 {
		return "", fmt.Errorf("%s; %d requests lost after that: %s", strings.Join(took, ", "), late, silences(seen))
	}
	return fmt.Sprintf("%s; %d of %d requests lost before", strings.Join(took, ", "), seen.Lost(), seen.Sent()), nil
}
