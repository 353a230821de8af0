package witness

import (
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var begin = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

// story reads lines "SECONDS NAME [ADDRESS...] [PROTOCOL/PORT...]"; "gone" removes.
func story(t *testing.T, text string) *History {
	t.Helper()
	h := &History{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		seconds, err := time.ParseDuration(f[0] + "s")
		if err != nil {
			t.Fatal(err)
		}
		s := Service{At: begin.Add(seconds), Name: f[1]}
		for _, word := range f[2:] {
			if word == "gone" {
				s.Gone = true
			} else if a, err := netip.ParseAddr(word); err == nil {
				s.Addresses = append(s.Addresses, a)
			} else {
				s.Ports = append(s.Ports, port(word))
			}
		}
		h.Add(s)
	}
	return h
}

func port(s string) Port {
	protocol, number, _ := strings.Cut(s, "/")
	var n uint16
	for _, c := range number {
		n = n*10 + uint16(c-'0')
	}
	return Port{protocol, n}
}

func TestAddressClaims(t *testing.T) {
	for _, c := range []struct{ name, story, never, same string }{
		{"kept", "0 a 10.0.0.1 TCP/80\n5 a 10.0.0.1 TCP/81", "", ""},
		{"lost for a moment", "0 a 10.0.0.1\n5 a\n5.001 a 10.0.0.1", "had no address at 12:00:05.000", "had no address"},
		{"lost before the time only", "0 a\n0.5 a 10.0.0.1", "", ""},
		{"lost at the beginning", "0 a\n1.5 a 10.0.0.1", "had no address at 12:00:00.000", "had no address"},
		{"lost after the time", "0 a 10.0.0.1\n11 a", "", ""},
		{"moved", "0 a 10.0.0.1\n5 a 10.0.0.2", "", "had 10.0.0.1 and at 12:00:05.000 10.0.0.2"},
		{"one more", "0 a 10.0.0.1\n5 a 10.0.0.1 fd00::1", "", "10.0.0.1 fd00::1"},
		{"order turned", "0 a fd00::1 10.0.0.1\n5 a 10.0.0.1 fd00::1", "", ""},
		{"another one's loss", "0 a 10.0.0.1\n0 b 10.0.0.1\n5 b", "", ""},
		{"deleted", "0 a 10.0.0.1\n5 a gone", "did not exist at 12:00:05.000", "did not exist"},
		{"never there", "0 b 10.0.0.1", "did not exist", "did not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := story(t, c.story)
			check(t, h.NeverWithoutAddress("a", at(1), at(10)), c.never)
			check(t, h.SameAddresses("a", at(1), at(10)), c.same)
		})
	}
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%v, want %q", err, want)
	}
}

// What a poll every second would say, kept to show that the claim needs every state.
func polled(h *History, name string, from, to time.Time) bool {
	for now := from; !now.After(to); now = now.Add(time.Second) {
		states := h.States(name, from, now)
		if len(states[len(states)-1].Addresses) == 0 {
			return false
		}
	}
	return true
}

func TestClaimSeesWhatAPollDoesNot(t *testing.T) {
	h := story(t, "0 a 10.0.0.1\n5.2 a\n5.3 a 10.0.0.1")
	if !polled(h, "a", at(1), at(10)) {
		t.Error("the poll saw the gap: it is no example of one that does not")
	}
	check(t, h.NeverWithoutAddress("a", at(1), at(10)), "had no address at 12:00:05.200")
}

// Invariant 1.
func TestNeverProvesAnythingOverAGap(t *testing.T) {
	h := story(t, "0 a 10.0.0.1 TCP/80")
	h.Break(at(5), at(6), errors.New("too old"))
	check(t, h.NeverWithoutAddress("a", at(1), at(10)), "may be missing: too old")
	check(t, h.SameAddresses("a", at(1), at(10)), "may be missing: too old")
	if _, err := h.Clashes(at(1), at(10)); err == nil {
		t.Error("no clash over a gap")
	}
	if _, err := h.Unclaimed(netip.MustParseAddr("10.0.0.1"), port("TCP/80"), at(1), at(10)); err == nil {
		t.Error("claimed all the time over a gap")
	}
	check(t, h.NeverWithoutAddress("a", at(7), at(10)), "")
}

func TestSequence(t *testing.T) {
	h := story(t, "0 a 10.0.0.1\n1 a 10.0.0.1 TCP/80\n2 a 10.0.0.2 10.0.0.1\n3 a 10.0.0.2\n4 a")
	got := h.Sequence("a", at(0.5), at(10))
	if want := []string{"10.0.0.1", "10.0.0.1 10.0.0.2", "10.0.0.2", "none"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestClashes(t *testing.T) {
	for _, c := range []struct{ name, story, want string }{
		{"none", "0 a 10.0.0.1 TCP/80\n0 b 10.0.0.1 TCP/81\n0 c 10.0.0.1 UDP/80\n0 d 10.0.0.2 TCP/80", ""},
		{"at the beginning", "0 a 10.0.0.1 TCP/80\n0 b 10.0.0.1 TCP/80", "a and b both had 10.0.0.1 TCP/80 from 12:00:01.000 for 9s"},
		{"for a moment", "0 a 10.0.0.1 TCP/80\n0 b 10.0.0.1 TCP/81\n3 b 10.0.0.1 TCP/80\n3.01 b TCP/80",
			"a and b both had 10.0.0.1 TCP/80 from 12:00:03.000 for 10ms"},
		{"ended by deletion", "0 a 10.0.0.1 TCP/80\n3 b 10.0.0.1 TCP/80\n4 a gone", "from 12:00:03.000 for 1s"},
		{"swap in one step each", "0 a 10.0.0.1 TCP/80\n0 b 10.0.0.1 TCP/81\n3 a TCP/81\n4 b 10.0.0.1 TCP/80\n5 a 10.0.0.1 TCP/81", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			clashes, err := story(t, c.story).Clashes(at(1), at(10))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == "" && len(clashes) > 0:
				t.Errorf("%v, want none", clashes)
			case c.want != "" && (len(clashes) != 1 || !strings.Contains(clashes[0].String(), c.want)):
				t.Errorf("%v, want %q", clashes, c.want)
			}
		})
	}
}

func TestUnclaimedAndHeld(t *testing.T) {
	h := story(t, "0 a 10.0.0.1 TCP/80\n0 b 10.0.0.1 TCP/81\n3 a TCP/81\n5 b 10.0.0.1 TCP/80\n6 a 10.0.0.1 TCP/81")
	addr := netip.MustParseAddr("10.0.0.1")
	for _, c := range []struct {
		port string
		want []Interval
	}{
		{"TCP/80", []Interval{{at(3), at(5)}}},
		{"TCP/81", []Interval{{at(5), at(6)}}},
		{"TCP/82", []Interval{{at(1), at(10)}}},
	} {
		got, err := h.Unclaimed(addr, port(c.port), at(1), at(10))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s unclaimed %v, %v, want %v", c.port, got, err, c.want)
		}
	}
	if got, want := h.Held("a", addr, at(1), at(10)), []Interval{{at(1), at(3)}, {at(6), at(10)}}; !reflect.DeepEqual(got, want) {
		t.Errorf("held %v, want %v", got, want)
	}
}

// An address is inherited when another station than the one that had it announces it.
func TestHeirs(t *testing.T) {
	var h Heard
	addr := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, i}) }
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, a := range []struct {
		addr  byte
		mac   string
		after time.Duration
	}{
		{1, "dead", -time.Second}, {2, "dead", -time.Second}, {3, "dead", -2 * time.Second}, {4, "b", -time.Second},
		{3, "b", -time.Second},
		{1, "dead", time.Millisecond}, {1, "b", 200 * time.Millisecond}, {1, "c", time.Second}, {4, "c", time.Second}, {5, "b", time.Second},
	} {
		h.Add(Announcement{At: at.Add(a.after), Addr: addr(a.addr), MAC: a.mac})
	}
	want := map[netip.Addr]time.Duration{addr(1): 200 * time.Millisecond, addr(2): -1}
	if got := h.Heirs("dead", at); !maps.Equal(got, want) {
		t.Errorf("heirs %v, want %v", got, want)
	}
}
