package controller

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

const (
	// announcePause: how long nobody must announce what nodes may announce before it is
	// said. A new address takes a moment, and so does a hand-over.
	announcePause = 5 * time.Second
	// While reports still come, copies that have much to say may not have come to this
	// Service yet: it is waited until none has come for reportsPause, but no longer than
	// reportsLimit.
	reportsPause = 2 * time.Second
	reportsLimit = time.Minute
	// ownerPause: so long waits what changes nothing but who announces by layer 2: for a
	// moment both do.
	ownerPause = time.Second
	// namesPause: so long waits what changes nothing but which of several nodes
	// advertise by BGP, and countPause what changes only how many more do.
	namesPause = 5 * time.Second
	countPause = time.Minute
	// emptyPause: a Service that has no endpoint when it is made is worth an Event if it
	// still has none after that time.
	emptyPause = time.Minute
)

// announcing decides, for one term, what Services shall say of who announces their
// addresses: by the word of the copies, where nodes may announce them at all.
type announcing struct {
	reports *nodeReports           // nil: nobody says anything, and what may be counts as what is
	tell    func(*service, saying) // tells an Event that no write goes with

	latest  time.Time          // when reports were last taken
	ready   bool               // it is known what all copies say
	pending map[name]pending   // Services that shall say something else than they do
	empty   map[name]bool      // Services whose want of endpoints is to be told
	blind   map[name]bool      // Services of which nothing is said before all reports are known
	due     map[name]time.Time // when they are to be looked at again
	next    time.Time          // the earliest of these, or earlier; zero: there is none
}

// pending is since when a Service shall say something else, and what kind of thing.
type pending struct {
	since   time.Time
	missing bool // that nobody announces it
}

func newAnnouncing(tell func(*service, saying)) announcing {
	return announcing{tell: tell, pending: map[name]pending{}, empty: map[name]bool{}, blind: map[name]bool{}, due: map[name]time.Time{}}
}

// news holds an item while there is something to look at.
func (a *announcing) news() <-chan struct{} {
	if a.reports == nil {
		return nil
	}
	return a.reports.news
}

// again adds the Services that are to be looked at now.
func (a *announcing) again(concerned map[name]bool, now time.Time) {
	if a.reports != nil {
		var changed map[name]bool
		if changed, a.ready = a.reports.take(); len(changed) > 0 {
			maps.Copy(concerned, changed)
			a.latest = now
		}
		if a.ready && len(a.blind) > 0 {
			maps.Copy(concerned, a.blind)
			a.blind = map[name]bool{}
		}
	}
	if a.next.IsZero() || now.Before(a.next) {
		return
	}
	a.next = time.Time{}
	for n, at := range a.due {
		if now.Before(at) {
			a.next = sooner(a.next, at)
			continue
		}
		delete(a.due, n)
		concerned[n] = true
	}
}

func (a *announcing) later(n name, at time.Time) {
	a.due[n] = sooner(a.due[n], at)
	a.next = sooner(a.next, at)
}

// forget drops what is known of a Service that is not ours any more, or holds nothing.
func (a *announcing) forget(n name) {
	delete(a.pending, n)
	delete(a.empty, n)
	delete(a.blind, n)
	delete(a.due, n)
}

// judge returns what a Service shall say now, and the reasons of it that are worth
// Events. What need not be said yet is said when it is due.
func (a *announcing) judge(s *service, remarks []allocator.Reason, snapshot *allocator.Snapshot, now time.Time) (metav1.Condition, []allocator.Reason) {
	old := metav1.Condition{Type: conditionAnnounced}
	if len(s.fact.Holds) == 0 {
		a.forget(s.name)
		return old, remarks
	}
	if c := conditionOf(s.conditions, conditionAnnounced); c != nil {
		old = *c
	}
	a.mindEmpty(s, &old, remarks, now)
	if a.reports == nil {
		return announcedCondition(remarks, nil), remarks
	}
	v := a.look(s, remarks, snapshot)
	reasons := append(v.missing, remarks...)
	c := announcedCondition(reasons, v.said)
	if c.Status == old.Status && c.Reason == old.Reason && c.Message == old.Message {
		delete(a.pending, s.name)
		return c, reasons
	}
	if !a.ready && !v.barred {
		a.blind[s.name] = true
		return old, remarks
	}
	p, ok := a.pending[s.name]
	if missing := len(v.missing) > 0; !ok || p.missing != missing {
		p = pending{now, missing}
		a.pending[s.name] = p
	}
	if end := p.since.Add(a.pause(&old, &c, p)); now.Before(end) {
		a.later(s.name, end)
		return old, remarks
	}
	return c, reasons
}

// A verdict is what is so of a Service's addresses.
type verdict struct {
	said    []string           // who announces which
	missing []allocator.Reason // addresses that nobody announces, though nodes may
	barred  bool               // of some address the allocator says why none may
}

func (a *announcing) look(s *service, remarks []allocator.Reason, snapshot *allocator.Snapshot) (v verdict) {
	v.barred = slices.ContainsFunc(remarks, func(r allocator.Reason) bool { return !r.Code.Served() })
	for _, addr := range s.fact.Holds {
		seat, _ := snapshot.Seat(addr)
		by := a.reports.on(s.name, addr)
		switch {
		case by[layer2].count+by[byBGP].count > 0:
			v.said = append(v.said, addr.String()+announcedBy(by))
		case !v.barred && !a.reports.cannot(&seat):
			v.missing = append(v.missing, allocator.Reason{Code: allocator.NotAnnounced, Addr: addr, Detail: nobody(&seat)})
		}
	}
	return v
}

// pause is how long what is to be said can wait.
func (a *announcing) pause(old, now *metav1.Condition, p pending) time.Duration {
	switch {
	case p.missing:
		return max(announcePause, min(a.latest.Add(reportsPause).Sub(p.since), reportsLimit))
	case old.Status == now.Status && old.Reason == now.Reason:
		return pauseOf(old.Message, now.Message)
	}
	return 0
}

// mindEmpty tells by an Event that a Service still has no endpoint. One that had is
// told when it is written; most have none at first, for a moment. What an earlier
// leader had the time to tell is not told again.
func (a *announcing) mindEmpty(s *service, old *metav1.Condition, remarks []allocator.Reason, now time.Time) {
	if len(remarks) == 0 || remarks[0].Code != allocator.NoEndpoints || old.Reason != string(allocator.NoEndpoints) {
		delete(a.empty, s.name)
		return
	}
	switch end := old.LastTransitionTime.Add(emptyPause); {
	case now.Before(end):
		a.empty[s.name] = true
		a.later(s.name, end)
	case a.empty[s.name]:
		delete(a.empty, s.name)
		a.tell(s, saying{true, eventUnserved, sentence(&remarks[0])})
	}
}

var (
	moreNodes = regexp.MustCompile(` and \d+ more nodes?`)
	bgpNodes  = regexp.MustCompile(`by BGP from [^;]*`)
)

// pauseOf tells how long a message that says who announces can wait.
func pauseOf(old, now string) time.Duration {
	switch {
	case moreNodes.ReplaceAllString(old, "") == moreNodes.ReplaceAllString(now, ""):
		return countPause
	case bgpNodes.ReplaceAllString(old, "") == bgpNodes.ReplaceAllString(now, ""):
		return namesPause
	}
	return ownerPause
}

// announcedBy says who announces an address. By layer 2 it is one node, but for the
// moment of a hand-over.
func announcedBy(by [media]crew) string {
	text := " is announced"
	if l := by[layer2]; l.count > 0 {
		text += fmt.Sprintf(" by %s (layer 2)", l)
		if by[byBGP].count > 0 {
			text += " and"
		}
	}
	if b := by[byBGP]; b.count > 0 {
		text += fmt.Sprintf(" by BGP from %s", b)
	}
	return text
}

// String names up to three nodes and says how many more there are.
func (c crew) String() string {
	text := strings.Join(c.first, ", ")
	switch more := c.count - len(c.first); {
	case more == 1:
		return text + " and 1 more node"
	case more > 1:
		return fmt.Sprintf("%s and %d more nodes", text, more)
	}
	return text
}

// nobody says that an address is announced by nobody, and where to look.
func nobody(seat *allocator.Seat) string {
	var by [media]crew
	for _, c := range seat.Layer2 {
		by[layer2].add(c.Node)
	}
	nodes := map[string]bool{}
	for _, r := range seat.Routes {
		for _, n := range r.Nodes {
			if !nodes[n] {
				nodes[n] = true
				by[byBGP].add(n)
			}
		}
	}
	var may []string
	if by[layer2].count > 0 {
		may = append(may, fmt.Sprintf("%s (layer 2)", by[layer2]))
	}
	sessions := ""
	if by[byBGP].count > 0 {
		may = append(may, fmt.Sprintf("%s (BGP)", by[byBGP]))
		sessions = " and has a session with a router for such addresses (holdfast peers, and the Events of the BGPPeers)"
	}
	return fmt.Sprintf("%s is announced by nobody, though it may be by %s: see whether holdfast runs there%s, and whether Events "+
		"announceFailed of this Service tell of an interface that is missing, or of another machine that has the address", seat.Addr, strings.Join(may, ", and by "), sessions)
}
