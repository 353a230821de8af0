package controller

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// This file is what a round of statuses does, from what is new to what is written.

// round makes the objects what they should be. It costs what has changed.
func (s *statuses[P]) round(ctx context.Context) error {
	services, sight := s.now(s.want == nil)
	s.take(services)
	if sight != nil {
		s.see(sight)
	}
	if s.known == nil {
		own, err := s.of(ctx, s.node)
		if err != nil {
			return err
		}
		s.known, s.listed = make(map[name]record, len(own)), time.Now()
		for _, o := range own {
			s.known[serviceAbout(o)] = s.record(o)
		}
		for n := range s.known {
			s.todo[n] = true
		}
		for n := range s.want {
			s.todo[n] = true
		}
		for node := range s.absent {
			s.absent[node] = nil
		}
	}
	if err := s.work(ctx); err != nil {
		return err
	}
	return s.bury(ctx)
}

// take takes in what the node says anew.
func (s *statuses[P]) take(services map[name]allocator.Report) {
	if s.want == nil {
		s.want = make(map[name]account, len(services))
	}
	for n, r := range services {
		if s.todo[n] = true; len(r.Addrs) == 0 {
			delete(s.want, n)
			continue
		}
		s.want[n] = account{r.On, addressesText(r.Addrs)}
	}
	if s.sessions != nil {
		s.takeSessions()
	}
}

// takeSessions takes in which BGP sessions the node has. It says so, also that it has
// none, as long as it advertises anything.
func (s *statuses[P]) takeSessions() {
	var all []string
	for _, session := range s.sessions() {
		if session.IPv4 {
			all = append(all, sessionText(session.Peer, true))
		}
		if session.IPv6 {
			all = append(all, sessionText(session.Peer, false))
		}
	}
	slices.Sort(all)
	s.todo[name{}] = true
	delete(s.want, name{})
	if len(s.want) > 0 {
		s.want[name{}] = account{addrs: strings.Join(all, ",")}
	}
}

func addressesText(addrs []netip.Addr) string {
	var b []byte
	for i, a := range addrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.AppendTo(b)
	}
	return string(b)
}

// see takes in which nodes are in sight.
func (s *statuses[P]) see(sight map[string]bool) {
	for n := range s.sight {
		if !sight[n] {
			s.absent[n] = nil
		}
	}
	maps.DeleteFunc(s.absent, func(n string, _ map[name]string) bool { return sight[n] })
	s.sight = sight
	if s.sighted != nil {
		s.sighted(sight)
	}
}

// statusWriters is how many objects are written at once: a node that takes over
// thousands of addresses says so while it matters.
const statusWriters = 4

// work writes what is not as it should be, sorted, several at once. What is not done
// stays to be done.
func (s *statuses[P]) work(ctx context.Context) error {
	var names []name
	for n := range s.todo {
		want, is := s.want[n]
		if r, exists := s.known[n]; is == exists && (!is || r.right(want)) {
			delete(s.todo, n)
			continue
		}
		names = append(names, n)
	}
	slices.SortFunc(names, name.Compare)
	var mu sync.Mutex // over known, todo and what follows
	var failure error
	next := func() (n name, r record, exists bool) {
		mu.Lock()
		defer mu.Unlock()
		if failure != nil || len(names) == 0 {
			return name{}, record{}, false
		}
		n, names = names[0], names[1:]
		return n, s.known[n], true
	}
	var tasks sync.WaitGroup
	_, width := s.gate.open()
	for range min(statusWriters, len(names), width) {
		tasks.Go(func() {
			for n, r, more := next(); more; n, r, more = next() {
				want, is := s.want[n]
				r, err := s.correct(ctx, n, r, want, is)
				mu.Lock()
				switch {
				case err != nil:
					failure = err
				case is:
					s.known[n] = r
					delete(s.todo, n)
				default:
					delete(s.known, n)
					delete(s.todo, n)
				}
				mu.Unlock()
			}
		})
	}
	tasks.Wait()
	if len(s.todo) == 0 {
		s.todo = map[name]bool{} // one that was once long costs each round
	}
	return failure
}

// correct makes one object what it should be; is tells whether there is to be one.
func (s *statuses[P]) correct(ctx context.Context, of name, r record, want account, is bool) (record, error) {
	if !is {
		return r, s.remove(ctx, r.object)
	}
	return s.put(ctx, of, r, want)
}
