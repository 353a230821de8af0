package layer2

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"holdfast.dev/holdfast/deploy/world"
)

// What goes wrong on one interface is tried again, and disturbs no other.
func TestTroubleStaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSegment{}
		n, st := s.node(t).(*fakeNode), s.station(t, foreign)
		n.broken = map[string]error{"eth0": errors.New("out of order")}
		n.send = map[string]error{}
		n.add(t, "eth0", macA)
		n.add(t, "eth1", macB)
		a := n.run(t, Config{})
		a.Set(entries(both...))
		announced(t, a, both, "eth1")
		served(t, st, macB, both...)
		n.mu.Lock()
		clear(n.broken)
		n.send["eth1"] = errBusy
		n.mu.Unlock()
		time.Sleep(resync)
		announced(t, a, both, "eth0", "eth1")
		n.remove(t, "eth1")
		served(t, st, macA, both...)
	})
}

// A full queue delays an announcement; it does not lose it.
func TestBusyQueueIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSegment{}
		n, st := s.node(t).(*fakeNode), s.station(t, foreign)
		n.send = map[string]error{"eth0": errBusy}
		n.add(t, "eth0", macA)
		a := n.run(t, Config{})
		a.Set(entries(both...))
		time.Sleep(5 * time.Second)
		if got := a.Status(); len(got[0].Interfaces) > 0 || !got[0].Since.IsZero() {
			t.Errorf("announced without a frame: %+v", got)
		}
		n.mu.Lock()
		clear(n.send)
		n.mu.Unlock()
		announced(t, a, both, "eth0")
		time.Sleep(10 * time.Second)
		for _, addr := range both {
			if got := st.sightings(announces(addr)); len(got) != len(rounds)*frames(addr) {
				t.Errorf("%v: %d announcements", addr, len(got))
			}
		}
	})
}

// Events that get lost, and a subscription that breaks, are made up for.
func TestLostEvents(t *testing.T) {
	for _, broken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &fakeSegment{}
			n, st := s.node(t).(*fakeNode), s.station(t, foreign)
			a := n.run(t, Config{})
			a.Set(entries(both...))
			synctest.Wait()
			n.deafen(broken)
			n.add(t, "eth0", macA)
			begin := time.Now()
			announced(t, a, both, "eth0")
			if d := time.Since(begin); broken && d > 2*retry || d > 2*resync {
				t.Errorf("took %v", d)
			}
			served(t, st, macA, both...)
		})
	}
}

// Groups that can not be joined are counted and tried again.
func TestMissingGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := (&fakeSegment{}).node(t).(*fakeNode)
		n.joins = func(joined int) error {
			if joined > 0 && time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < time.Minute {
				return unix.ENOBUFS
			}
			return nil
		}
		n.add(t, "eth0", macA)
		a := n.run(t, Config{})
		a.Set(entries(vip6, other6))
		time.Sleep(time.Second)
		if s := a.Stats(); s.Groups != 1 || s.Missing != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute + resync)
		if s := a.Stats(); s.Groups != 2 || s.Missing != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRefusedAddresses(t *testing.T) {
	a := New(Config{Exclude: []*regexp.Regexp{}})
	var all []netip.Addr
	for _, s := range []string{"0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255"} {
		all = append(all, netip.MustParseAddr(s))
	}
	all = append(all, netip.Addr{}, netip.MustParseAddr("::ffff:192.0.2.10"), netip.MustParseAddr("fe80::1%eth0"))
	a.Set(entries(all...))
	got := a.Status()
	if len(got) != 2 || got[0].Addr != vip4 || got[1].Addr != netip.MustParseAddr("fe80::1") {
		t.Errorf("%+v", got)
	}
	if !a.auto("veth0") || New(Config{}).auto("veth0") {
		t.Error("Exclude")
	}
}

// Entries for one address add up.
func TestEntriesAddUp(t *testing.T) {
	next, _ := (&table{}).replace([]Entry{
		{vip4, []string{"b", "a"}}, {vip4, []string{"c", "a"}}, {vip6, []string{"a"}}, {vip6, nil},
	})
	if got := next.byAddr[vip4].names; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Error(got)
	}
	if got := next.byAddr[vip6].names; len(got) > 0 {
		t.Error(got)
	}
	same, _ := next.replace([]Entry{{vip6, nil}, {vip4, []string{"c", "b", "a"}}})
	if same != next {
		t.Error("the same set makes a new table")
	}
}

// Thousands of addresses: more groups than one socket can hold.
func TestManyAddresses(t *testing.T) {
	s := newVeth(t)
	t.Parallel()
	n, st := s.node(t), s.station(t, foreign)
	n.add(t, "eth0", macA)
	a := n.run(t, Config{})
	all := manyAddrs(5000)
	for i := range 5000 {
		b := vip6.As16()
		b[13], b[14], b[15] = 0x99, byte(i>>8), byte(i)
		all = append(all, netip.AddrFrom16(b))
	}
	begin := time.Now()
	a.Set(entries(all...))
	took := time.Since(begin)
	until(t, "announced", func() bool {
		return !slices.ContainsFunc(a.Status(), func(s Status) bool { return s.Since.IsZero() })
	})
	stats := a.Stats()
	t.Logf("Set %v, all announced after %v, %+v", took, time.Since(begin), stats)
	if stats.Groups != 5000 || stats.Missing != 0 || stats.Sockets < 4 {
		t.Errorf("%+v", stats)
	}
	if got := len(n.groups(t, "eth0")); got != 5000 {
		t.Errorf("%d groups of the kernel", got)
	}
	quiet(t, a, st) // thousands of frames more than the station may have room for
	served(t, st, macA, all[0], all[4999], all[5000], all[9999])
	a.Set(nil)
	until(t, "left", func() bool { return len(n.groups(t, "eth0")) == 0 })
}

// A switch that snoops MLD brings us the solicitations for our addresses, and
// does not flood them: the groups are joined so that it learns of it.
func TestSnoopingSwitch(t *testing.T) {
	s := newVeth(t)
	t.Parallel()
	setting(t, s.name, "net/ipv6/conf/br0/accept_dad", "0")
	must(t, world.IP(s.name, "link set br0 down",
		"link set br0 type bridge mcast_query_interval 100 mcast_query_response_interval 20",
		"link set br0 type bridge mcast_snooping 1 mcast_querier 1", // trusts its own queries after a response interval
		"link set br0 up"))
	h, n := s.host(t, hostNet4, hostNet6), s.node(t)
	n.add(t, "eth0", macA)
	asker, deaf := s.station(t, foreign), s.station(t, macB) // in no group: deaf sees what is flooded
	asked := func(addr netip.Addr) bool {
		return len(deaf.sightings(func(f sighting) bool { return f.asked == addr })) > 0
	}
	a := n.run(t, Config{})
	kept := 0
	until(t, "the switch does not flood what nobody joined", func() bool {
		deaf.forget()
		asker.ask(t, other6)
		time.Sleep(50 * time.Millisecond)
		if kept++; asked(other6) {
			kept = 0
		}
		return kept == 5
	})
	a.Set(entries(vip6))
	announced(t, a, []netip.Addr{vip6}, "eth0")
	h.reach(t, vip6)
	until(t, "answered", func() bool { m, ok := h.neighbour(t, vip6); return ok && m == macA })
	if asked(vip6) {
		t.Error("the switch flooded")
	}
}

// bareVar makes this binary be the process of nobody in TestCapability.
const bareVar = "HOLDFAST_LAYER2_BARE"

// One capability is enough, and without it Run says so.
func TestCapability(t *testing.T) {
	if os.Getenv(bareVar) != "" {
		bare(t)
		return
	}
	s := newVeth(t)
	t.Parallel()
	for _, c := range []struct {
		caps []uintptr
		want string
	}{{[]uintptr{unix.CAP_NET_RAW}, "served"}, {nil, "give the process CAP_NET_RAW"}} {
		st, n := s.station(t, mac{2, 0, 0, 0, 7, byte(len(c.caps))}), s.node(t).(*vethNode)
		n.add(t, "eth0", macA)
		cmd := exec.Command(readable(t), "-test.run=^TestCapability$", "-test.v")
		cmd.Env = append(os.Environ(), bareVar+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: c.caps,
		}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		must(t, world.Within(n.ns, cmd.Start))
		if len(c.caps) > 0 {
			until(t, "announced", func() bool { return len(st.sightings(announces(vip4))) > 0 })
			served(t, st, macA, both...)
		}
		_ = cmd.Wait() // what it says counts
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("with capabilities %v: want %q, got:\n%s", c.caps, c.want, out.String())
		}
	}
}

// readable copies this binary to where nobody can run it.
func readable(t *testing.T) string {
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	dir, err := os.MkdirTemp("", "layer2")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	must(t, os.WriteFile(dir+"/test", self, 0o755))
	return dir + "/test"
}

// bare runs as nobody in the node's namespace.
func bare(t *testing.T) {
	a := New(Config{})
	a.Set(entries(both...))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := a.Run(ctx); err != nil {
		t.Log(err)
		return
	}
	if s := a.Stats(); s.Answered.IPv4 > 0 && s.Answered.IPv6 > 0 {
		t.Logf("served: %+v", s)
	}
}
