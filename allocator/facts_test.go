package allocator_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	. "holdfast.dev/holdfast/allocator"
)

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"a": "1"}
	for _, c := range []struct {
		Requirement
		want bool
	}{
		{Requirement{"a", In, []string{"0", "1"}}, true}, {Requirement{"a", In, []string{"2"}}, false}, {Requirement{"b", In, []string{""}}, false},
		{Requirement{"a", NotIn, []string{"1"}}, false}, {Requirement{"a", NotIn, []string{"2"}}, true}, {Requirement{"b", NotIn, []string{"1"}}, true},
		{Requirement{"a", Exists, nil}, true}, {Requirement{"b", Exists, nil}, false},
		{Requirement{"a", DoesNotExist, nil}, false}, {Requirement{"b", DoesNotExist, nil}, true},
		{Requirement{"a", "Gt", []string{"0"}}, false},
	} {
		if got := (Selector{c.Requirement}).Matches(labels); got != c.want {
			t.Errorf("%+v matches: %v", c.Requirement, got)
		}
	}
	if !(Selector{}).Matches(nil) || (Selector{{"a", Exists, nil}, {"b", Exists, nil}}).Matches(labels) {
		t.Error("none selects everything, and all must hold")
	}
}

func TestPoolsAreCounted(t *testing.T) {
	for _, c := range []struct {
		entry        string
		avoid        bool
		four, six    int64
		acceptedLike string
	}{
		{"10.0.0.0/8", false, 1 << 24, 0, ""},
		{"10.0.0.0/8", true, 1<<24 - 1<<17, 0, ""},
		{"10.0.0.255-10.0.1.0", true, 0, 0, ""},
		{"10.0.0.254-10.0.1.1", true, 2, 0, ""},
		{"0.0.0.0/0", false, 1<<32 - 2<<24 - 1<<28 - 1<<16 - 1, 0, "without what no host can use"},
		{"192.0.2.77/24", false, 256, 0, "host bits are masked off"},
		{" 192.0.2.1 - 192.0.2.3 ", false, 3, 0, "spaces"},
		{"fd00::/120", true, 0, 256, "buggy is a matter of IPv4"},
		{"fd00::/66", false, 0, 1 << 62, ""},
		{"fd00::/65", false, 0, math.MaxInt64, "as many as can be said"},
		{"::/0", false, 0, math.MaxInt64, ""},
		{"::ffff:10.0.0.1-::ffff:10.0.0.2", false, 2, 0, "IPv4 in IPv6 form"},
	} {
		s := NewSnapshot(Facts{Pools: []Pool{{Name: "p", Addresses: []string{c.entry}, AvoidBuggyIPs: c.avoid}}})
		if u := s.Uses()["p"]; s.PoolError("p") != nil || u.Available4 != c.four || u.Available6 != c.six {
			t.Errorf("%s: %+v, %v (%s)", c.entry, u, s.PoolError("p"), c.acceptedLike)
		}
	}
	s := NewSnapshot(Facts{Pools: []Pool{{Name: "p", Addresses: []string{"fd00::/65", "fd01::/65", "10.0.0.0/31"}}}})
	if u := s.Uses()["p"]; u.Available6 != math.MaxInt64 || u.Available4 != 2 {
		t.Errorf("%+v", u)
	}
}

// counted compares what is said of the pools with a count of all addresses. What is
// in use elsewhere may be counted as available or not.
func counted(w *world) error {
	j := w.judge()
	got, all, free := fmt.Sprint(w.snapshot.Uses()), fmt.Sprint(j.uses(true)), fmt.Sprint(j.uses(false))
	if got != all && got != free {
		return fmt.Errorf("pools are said to be used %s, and are %s, or %s", got, all, free)
	}
	for n := range w.pools {
		if refused := w.snapshot.PoolError(n) != nil; refused != j.refused[n] {
			return fmt.Errorf("pool %s: %v", n, w.snapshot.PoolError(n))
		}
	}
	return nil
}

func (j *judge) uses(elsewhere bool) map[string]Use {
	uses := map[string]Use{}
	for n := range j.pools {
		uses[n] = Use{}
	}
	for a, pool := range j.owners {
		u := uses[pool]
		used, four := len(j.there(Service{}, a, true)) > 0, a.Is4()
		odd := four && j.pools[pool].AvoidBuggyIPs && (a.As4()[3] == 0 || a.As4()[3] == 255)
		free := elsewhere || !j.usedElsewhere(Service{Name: ServiceName{"nobody", "at all"}}, a)
		switch {
		case used && four:
			u.Assigned4++
		case used:
			u.Assigned6++
		case four && !odd && free:
			u.Available4++
		case !four && free:
			u.Available6++
		}
		uses[pool] = u
	}
	return uses
}

func TestAlwaysCountsPoolsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if w, err := allocation().Draw(t, "history").run(rightPlanner, counted); err != nil {
			fail(t, w, err)
		}
	})
}

func TestCheckKnowsWhoIsNotOurs(t *testing.T) {
	n := ServiceName{"default", "web"}
	s := NewSnapshot(Facts{Services: []Service{{Name: n, Foreign: true}}})
	if p := Plan(s, noon); len(p.Decisions) != 0 {
		t.Errorf("decides about another load balancer's Service: %+v", p)
	}
	for _, of := range []ServiceName{n, {"default", "nobody"}} {
		if err := Check(s, Decision{Service: of}, noon); err == nil {
			t.Errorf("%s: no error", of)
		}
	}
}

func TestWarnsOfAPoolForNoNamespace(t *testing.T) {
	pool := Pool{Name: "p", Addresses: []string{"10.0.0.0/24"}, Allocation: &Allocation{Namespaces: []string{"shop"}}}
	facts := Facts{Pools: []Pool{pool}, Namespaces: []Namespace{{Name: "other"}}}
	s := NewSnapshot(facts)
	for _, c := range []struct {
		change Change
		warns  bool
	}{
		{DropNamespace{"shop"}, true},
		{PutNamespace{Namespace{Name: "shop"}}, false}, // it has no labels
		{DropNamespace{"shop"}, true},
	} {
		if s = s.With(c.change); (s.PoolWarning("p") != nil) != c.warns {
			t.Errorf("%+v: %v", c.change, s.PoolWarning("p"))
		}
	}
}

func TestNeverUsesASnapshotThatHasASuccessor(t *testing.T) {
	s := NewSnapshot(Facts{})
	s.With(DropNode{"n"})
	for name, use := range map[string]func(){
		"With": func() { s.With() }, "Plan": func() { Plan(s, noon) }, "Place": func() { Place(s) },
		"Check": func() { _ = Check(s, Decision{}, noon) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s on a spent snapshot", name)
				}
			}()
			use()
		}()
	}
}
