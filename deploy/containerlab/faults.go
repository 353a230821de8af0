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

// endures is what happens to a daemon and to a node.
func (w *watch) endures(r *report) {
	victim, others := w.nodes[0], w.nodes[1:]
	daemon := "holdfast" + strings.TrimPrefix(victim, "node")
	r.check("the daemon of "+victim+" is killed and comes back: "+w.promise(), func() (string, error) {
		return w.restart(victim, func() error { return w.kill(w, daemon) })
	})
	r.check("it is told to end, as for an upgrade, and comes back: "+w.promise(), func() (string, error) {
		return w.restart(victim, func() error { return w.upgrade(w, daemon) })
	})
	r.check(victim+" falls silent, and the routes to it go", func() (string, error) { return w.death(victim, others) })
	for _, p := range w.points {
		r.check(p.name+": "+victim+" is back", func() (string, error) {
			return "", within(w, comesUp, lookEvery, func() error { return w.routes(p, w.nodes) })
		})
	}
	r.check("every node answers the client again, nothing is lost", w.traffic)
}

// inFlight is how many handshakes may be under way, and be lost, when a router
// sends flows to another node and back.
const inFlight = 10

// bearable is how many requests the restart of a daemon may cost: none, unless a
// router gives up its routes meanwhile.
func (w *watch) bearable() int {
	if slices.ContainsFunc(w.points, func(p point) bool { return !p.keeps }) {
		return inFlight
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
	return strings.Join(append(words, "nothing is lost but handshakes that are under way when a router reroutes"), ", ")
}

// restart ends a node's daemon while the client sends requests, and waits until
// all routers have it back. Those that keep routes may not stop sending to that
// node, which goes on to serve: that nothing is lost would not tell, with others
// that serve too.
func (w *watch) restart(node string, end func() error) (string, error) {
	probe, err := startProbe(w.container("client"))
	if err != nil {
		return "", err
	}
	defer probe.end()
	time.Sleep(wellTime / 2)
	began := time.Now()
	over, stayed := w.stays()
	var all sync.WaitGroup
	errs := make([]error, len(w.points)+1)
	for i, p := range w.points {
		if len(p.sessions) > 0 {
			all.Go(func() { errs[i] = w.downAndUp(p, node) })
		}
	}
	errs[len(w.points)] = end()
	all.Wait()
	over()
	if err := errors.Join(append(errs, stayed())...); err != nil {
		return "", err
	}
	back := time.Since(began)
	time.Sleep(wellTime / 2)
	seen, err := probe.end()
	if err != nil {
		return "", err
	}
	if seen.Lost() > w.bearable() {
		return "", fmt.Errorf("%d of %d requests lost, sessions back after %s: %s", seen.Lost(), seen.Sent(), milliseconds(back), silences(seen))
	}
	return fmt.Sprintf("%d of %d requests lost; sessions and BFD are back after %s", seen.Lost(), seen.Sent(), milliseconds(back)), nil
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

// downAndUp waits until a router's session with a node has ended and is back,
// and BFD with it.
func (w *watch) downAndUp(p point, node string) error {
	up := func() error { return errors.Join(p.session(w, p.sessions[node]), p.router.bfd(w, p.bfd[node])) }
	err := within(w, comesUp, askEvery, func() error { return reversed(up(), p.name+" has not noticed that the daemon ended") })
	if err != nil {
		return err
	}
	return within(w, comesUp, askEvery, up)
}

// death silences a node and times how long each router goes on sending to it.
func (w *watch) death(victim string, others []string) (string, error) {
	probe, err := startProbe(w.container("client"))
	if err != nil {
		return "", err
	}
	defer probe.end()
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
	time.Sleep(wellTime / 2)
	seen, err := probe.end()
	if err := errors.Join(append(errs, err, w.restore(victim))...); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; %d of %d requests lost", strings.Join(took, ", "), seen.Lost(), seen.Sent()), nil
}

// reversed is an error if there is none.
func reversed(err error, otherwise string) error {
	if err == nil {
		return errors.New(otherwise)
	}
	return nil
}
