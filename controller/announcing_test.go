package controller

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

// announcer judges one Service of two addresses that three nodes may announce, and
// publishes what it is to say, as a leader would.
type announcer struct {
	t        *testing.T
	a        announcing
	now      time.Time
	service  *service
	snapshot *allocator.Snapshot
	writes   int
	events   []string
	peers    string // that nodes which advertise tell
}

func newAnnouncer(t *testing.T, holds ...string) *announcer {
	b := &announcer{t: t, now: noon}
	b.a = newAnnouncing(func(_ *service, what saying) { b.events = append(b.events, what.text) })
	b.a.reports = newReports()
	fact := &allocator.Service{Name: web, Families: []allocator.Family{allocator.IPv4}, Created: noon}
	for _, h := range holds {
		fact.Holds = append(fact.Holds, netip.MustParseAddr(h))
	}
	facts := allocator.Facts{
		Services:       []allocator.Service{*fact},
		Pools:          []allocator.Pool{{Name: "p", Addresses: []string{"192.0.2.0/24", "2001:db8::/64"}, AutoAssign: true}},
		Advertisements: []allocator.Advertisement{{Name: "all"}},
		Endpoints:      []allocator.Endpoints{{Service: web, Slice: "e", Nodes: []allocator.NodeEndpoints{{Node: "n1", Ready: 1}}}},
	}
	for i := range 5 {
		facts.Nodes = append(facts.Nodes, allocator.Node{Name: fmt.Sprint("n", i+1)})
	}
	b.service = &service{name: web, fact: fact}
	b.snapshot = allocator.NewSnapshot(facts)
	allocator.Place(b.snapshot)
	return b
}

func (b *announcer) read() {
	b.a.reports.listed(layer2, nil)
	b.a.reports.listed(byBGP, nil)
}

// after lets time pass, and looks whenever it is due.
func (b *announcer) after(d time.Duration) *announcer {
	end := b.now.Add(d)
	for at := b.now; ; at = b.a.next {
		if at.IsZero() || at.After(end) {
			break
		}
		b.now = at
		concerned := map[name]bool{}
		b.a.again(concerned, b.now)
		remarks := b.snapshot.Remarks(web)
		c, reasons := b.a.judge(b.service, remarks, b.snapshot, b.now)
		if conditions, differs := withCondition(b.service.conditions, c, b.now); differs {
			b.writes++
			for _, s := range sayings(b.service, &allocator.Decision{Holds: b.service.fact.Holds}, reasons) {
				b.events = append(b.events, s.text)
			}
			published := *b.service
			published.conditions = conditions
			b.service = &published
			b.a.judge(b.service, remarks, b.snapshot, b.now)
		}
		if b.a.next.IsZero() || !b.a.next.After(at) {
			break
		}
	}
	b.now = end
	return b
}

// says checks what is published, and how many writes it took since the last time.
func (b *announcer) says(what, want string, writes int) {
	b.t.Helper()
	got := ""
	if c := conditionOf(b.service.conditions, conditionAnnounced); c != nil {
		got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
	if !strings.HasPrefix(got, want) || want == "" && got != "" || b.writes != writes {
		b.t.Errorf("%s: says %q by %d writes, and should say %q by %d", what, got, b.writes, want, writes)
	}
	b.writes = 0
}

func (b *announcer) put(m medium, addrs string, nodes ...string) {
	for _, n := range nodes {
		b.a.reports.put(m, reportFact{web, n, content{addrs: addrs, peers: b.peers}})
	}
}

const first = "192.0.2.1"

// A new Service says that it is announced as soon as a node says so, by one write; and
// what is read takes its time, and nothing is said before.
func TestNeverSaysWhatNobodyHasSaid(t *testing.T) {
	b := newAnnouncer(t, first)
	b.after(time.Hour).says("before the reports are known", "", 0)
	b.read()
	b.after(0)
	b.after(announcePause/2).says("before a node had the time", "", 0)
	b.put(layer2, first, "n2")
	b.after(0).says("when a node says it", "True Announced: 192.0.2.1 is announced by n2 (layer 2)", 1)
	b.after(time.Hour).says("when nothing happens", "True Announced", 0)
}

// What nodes may announce and none does is said, with an Event, after a pause.
func TestSaysThatNobodyAnnounces(t *testing.T) {
	b := newAnnouncer(t, first)
	b.read()
	b.after(0)
	b.after(announcePause+time.Second).says("after the pause",
		"False NotAnnounced: 192.0.2.1 is announced by nobody, though it may be by n1, n2, n3 and 2 more nodes (layer 2)", 1)
	if len(b.events) != 1 {
		t.Errorf("Events: %q", b.events)
	}
	b.put(layer2, first+",192.0.2.9", "n2")
	b.after(0).says("when a node does", "True Announced: 192.0.2.1 is announced by n2 (layer 2)", 1)
}

// A hand-over, and one that takes two seconds because a machine died, is no time in
// which nobody announces; the second address of a Service is one of its own.
func TestNeverFlapsInAHandOver(t *testing.T) {
	b := newAnnouncer(t, first, "192.0.2.2")
	b.read()
	b.put(layer2, first+",192.0.2.2", "n1")
	b.after(0).says("at first", "True Announced: 192.0.2.1 is announced by n1 (layer 2); 192.0.2.2 is announced by n1 (layer 2)", 1)
	b.put(layer2, first, "n1")
	b.after(2*time.Second).says("while nobody has the second one", "True Announced", 0)
	b.put(layer2, "192.0.2.2", "n2")
	b.after(2*time.Second).says("when n2 has it", "True Announced: 192.0.2.1 is announced by n1 (layer 2); 192.0.2.2 is announced by n2 (layer 2)", 1)
	b.a.reports.remove(layer2, web, "n2")
	b.after(announcePause+time.Second).says("when nobody has it for long", "False NotAnnounced: 192.0.2.2 is announced by nobody", 1)
}

// While copies have much to say, who has said nothing yet is waited for, but not for ever.
func TestWaitsForCopiesThatStillSpeak(t *testing.T) {
	b := newAnnouncer(t, first)
	b.read()
	speak := func(d time.Duration) {
		for end := b.now.Add(d); b.now.Before(end); {
			b.a.reports.put(layer2, reportFact{dns, "n1", content{addrs: b.now.String()}})
			b.after(0)
			b.after(time.Second)
		}
	}
	speak(reportsLimit - 5*time.Second)
	b.says("while they speak", "", 0)
	speak(10 * time.Second)
	b.says("after the limit", "False NotAnnounced", 1)
}

// Of a thousand nodes that join one by one, not every one is worth a write.
func TestNeverWritesForEachNode(t *testing.T) {
	b := newAnnouncer(t, first)
	b.read()
	for i := range 1000 {
		b.put(byBGP, first, fmt.Sprintf("m%04d", 1000-i))
		b.after(0)
		b.after(100 * time.Millisecond)
	}
	b.after(2 * countPause)
	if b.writes > 30 {
		t.Errorf("%d writes for 1,000 nodes in 100 s", b.writes)
	}
	b.writes = 0
	b.says("in the end", "True Announced: 192.0.2.1 is announced by BGP from m0001, m0002, m0003 and 997 more nodes", 0)
}

// A Service without endpoints is told so by an Event if it had some, and else if it
// still has none after a while; by one leader.
func TestWantOfEndpointsIsTold(t *testing.T) {
	empty := func(b *announcer) {
		b.snapshot = b.snapshot.With(allocator.DropEndpoints{Service: web, Slice: "e"})
		allocator.Place(b.snapshot)
	}
	t.Run("never had one", func(t *testing.T) {
		b := newAnnouncer(t, first)
		empty(b)
		b.read()
		b.after(emptyPause / 2)
		if b.says("at first", "False NoEndpoints", 1); len(b.events) != 0 {
			t.Errorf("Events: %q", b.events)
		}
		next := *b
		b.after(emptyPause)
		if b.says("later", "False NoEndpoints", 0); len(b.events) != 1 || !strings.Contains(b.events[0], "no ready endpoint") {
			t.Errorf("Events: %q", b.events)
		}
		b.after(time.Hour)
		next.now, next.events = b.now, nil
		next.a = newAnnouncing(func(_ *service, what saying) { next.events = append(next.events, what.text) })
		next.a.reports = newReports()
		if next.after(time.Hour); len(b.events)+len(next.events) != 1 {
			t.Errorf("Events: %q, of the next leader %q", b.events, next.events)
		}
	})
	t.Run("had one", func(t *testing.T) {
		b := newAnnouncer(t, first)
		b.read()
		b.put(layer2, first, "n1")
		b.after(0).says("at first", "True Announced", 1)
		empty(b)
		b.after(0)
		if b.says("then", "False NoEndpoints", 1); len(b.events) != 1 {
			t.Errorf("Events: %q", b.events)
		}
	})
}

// silence is what is read where the kinds by which copies speak are not there.
func silence() *nodeReports {
	r := newReports()
	r.missing(layer2)
	r.missing(byBGP)
	return r
}

// Where the kinds by which copies speak are not there, what may be counts as what is.
func TestSaysWhatMayBeWhereNobodyCanSpeak(t *testing.T) {
	b := newAnnouncer(t, first)
	b.a.reports = silence()
	b.after(0).says("without the kinds", "True Announced: every address has a node that may answer for it", 1)
}

// What is advertised to routers that do not hear it is not announced: there is no
// session, or none for such addresses. A session that flaps is worth no write.
func TestNeverSaysWhatNoRouterHears(t *testing.T) {
	b := newAnnouncer(t, first, "2001:db8::1")
	b.peers = "tor1,tor2"
	hear := func(node, sessions string) {
		b.a.reports.put(byBGP, reportFact{node: node, content: content{addrs: sessions}})
	}
	b.read()
	hear("n2", "tor1/IPv4,tor3/IPv6")
	b.put(byBGP, first+",2001:db8::1", "n1", "n2")
	b.after(0).says("n1 is of an older version", "True Announced: 192.0.2.1 is announced by BGP from n1, n2; 2001:db8::1 is announced by BGP from n1", 1)
	hear("n1", "")
	b.after(2*time.Second).says("no session for a while", "True Announced", 0)
	hear("n1", "tor1/IPv4,tor2/IPv6")
	b.after(time.Minute).says("and again", "True Announced: 192.0.2.1 is announced by BGP from n1, n2;", 0)
	hear("n1", "tor1/IPv4")
	b.after(announcePause+time.Second).says("nobody hears IPv6", "False NotAnnounced: 2001:db8::1 is announced by nobody", 1)
	hear("n1", "")
	hear("n2", "")
	b.after(announcePause+time.Second).says("nobody hears anything", "False NotAnnounced: 192.0.2.1 is announced by nobody", 1)
	b.a.reports.listed(byBGP, nil)
	if len(b.a.reports.heard) > 0 {
		t.Errorf("kept of nodes that say nothing: %v", b.a.reports.heard)
	}
}
