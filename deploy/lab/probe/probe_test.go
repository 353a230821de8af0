package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

var endpoints = []struct {
	protocol Protocol
	address  string
}{{TCP, "127.0.0.1:0"}, {TCP, "[::1]:0"}, {UDP, "127.0.0.1:0"}, {UDP, "[::1]:0"}}

func probe(t *testing.T, cfg Config) Report {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkSilence compares what a prober reports with what the server did: that it was
// sent every request of the run and left so many in a row, and no other, unanswered.
// A prober may have sent late; by no more than it says itself may the length differ.
func checkSilence(r Report, requests, muted int, length time.Duration) error {
	got := r.Results[0]
	switch {
	case got.Sent != requests:
		return fmt.Errorf("sent %d of %d", got.Sent, requests)
	case got.Lost != muted || got.Answered != requests-muted:
		return fmt.Errorf("lost %d, answered %d; the server left %d unanswered", got.Lost, got.Answered, muted)
	case muted == 0:
		return nil
	case len(got.Silences) != 1 || got.Silences[0].Requests != muted:
		return fmt.Errorf("silences %v, want one of %d requests", got.Silences, muted)
	}
	if d := (got.Silences[0].Length - length).Abs(); d > r.LateMax+time.Millisecond {
		return fmt.Errorf("silent for %s, want %s, and at most %s late", got.Silences[0].Length, length, r.LateMax)
	}
	return nil
}

// Invariants 1 and 4: a server that is silent for 50 ms is seen to be, exactly.
func TestAlwaysSeesExactlyTheSilence(t *testing.T) {
	for _, e := range endpoints {
		t.Run(fmt.Sprint(e), func(t *testing.T) {
			t.Parallel()
			s, other := serve(t, e.protocol, e.address, between(300, 350)), serve(t, e.protocol, e.address, nil)
			r := probe(t, Config{Targets: []Target{s.target, other.target}, For: time.Second})
			if err := checkSilence(r, 1000, int(s.muted.Load()), 50*time.Millisecond); err != nil {
				t.Error(err)
			}
			if n := r.Results[0].Backends["backend"]; n != 950 {
				t.Errorf("%d answers name the backend, want 950", n)
			}
			if n := r.Results[0].Stalled; e.protocol == TCP && n != 50 || e.protocol == UDP && n != 0 {
				t.Errorf("%d stalled; the server accepted all of TCP's", n)
			}
			if beside := r.Results[1]; beside.Sent != 1000 || beside.Lost != 0 {
				t.Errorf("the target beside it: %+v", beside)
			}
		})
	}
}

// A prober that waits for each answer before it sends the next request: what it does
// not send it cannot lose, and it passes a silence off as one slow request.
func waitingProber(target Target, length time.Duration) Report {
	r := Report{Start: time.Now()}
	c, err := net.Dial("udp", target.Addr.String())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	sums := newTally(target, r.Start, time.Millisecond)
	for n := uint64(0); time.Since(r.Start) < length; n++ {
		sent, o := time.Since(r.Start), silent
		_, _ = c.Write(payload(nil, n))
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(make([]byte, 100)); err == nil {
			o = answered
		}
		sums.add(sent, o, time.Since(r.Start)-sent, "")
		time.Sleep(time.Until(r.Start.Add(time.Duration(n+1) * time.Millisecond)))
	}
	r.Results = []Result{sums.finish()}
	return r
}

func TestCheckSeesAWaitingProber(t *testing.T) {
	start := time.Now()
	s := serve(t, UDP, "127.0.0.1:0", func(int) bool { // silent by the clock, as a network is
		d := time.Since(start)
		return d >= 100*time.Millisecond && d < 150*time.Millisecond
	})
	if err := checkSilence(waitingProber(s.target, 300*time.Millisecond), 300, 50, 50*time.Millisecond); err == nil {
		t.Error("the check takes a prober that waits for every answer for a good one")
	}
}

// Invariant 2: however late the prober reads, an answer is an answer.
func TestNeverCountsOwnLatenessAsLoss(t *testing.T) {
	for _, steady := range []bool{false, true} {
		for _, e := range endpoints {
			t.Run(fmt.Sprint(e, steady), func(t *testing.T) {
				t.Parallel()
				s := serve(t, e.protocol, e.address, nil)
				cfg := Config{Targets: []Target{s.target}, For: 500 * time.Millisecond, Timeout: 400 * time.Millisecond, Steady: steady,
					Checkpoint: func(Segment) { <-time.After(700 * time.Millisecond) }} // in the prober's own thread
				p, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				p.Checkpoint("stall")
				r, err := p.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := checkSilence(r, 500, 0, 0); err != nil {
					t.Error(err)
				}
				if r.LateMax < 500*time.Millisecond {
					t.Errorf("late by %s at most: the stall is not reported", r.LateMax)
				}
			})
		}
	}
}

func TestSteadyFlows(t *testing.T) {
	t.Run("udp", func(t *testing.T) {
		t.Parallel()
		s := serve(t, UDP, "127.0.0.1:0", between(100, 150))
		r := probe(t, Config{Targets: []Target{s.target}, For: 300 * time.Millisecond, Steady: true})
		if err := checkSilence(r, 300, 50, 50*time.Millisecond); err != nil {
			t.Error(err)
		}
	})
	t.Run("tcp", func(t *testing.T) {
		t.Parallel()
		s := serve(t, TCP, "127.0.0.1:0", between(1, 1<<30)) // greets the first connection only
		cfg := Config{Targets: []Target{s.target}, For: 400 * time.Millisecond, Timeout: 300 * time.Millisecond, Steady: true}
		cut := make(chan bool)
		cfg.Checkpoint = func(Segment) { s.hangUp(); close(cut) }
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for s.seen.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(50 * time.Millisecond)
			p.Checkpoint("cut")
		}()
		r, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		<-cut
		got := r.Results[0]
		if got.Sent != 400 || got.Answered == 0 || len(got.Silences) != 1 || got.Lost < 200 {
			t.Errorf("connection cut at about 50 ms and not served again: %+v", got)
		}
	})
}

// Invariant 3, and refusals told apart.
func TestRefusedAndLocalErrors(t *testing.T) {
	for _, p := range []Protocol{TCP, UDP} {
		// Below 1024: a socket of the probe's own is never bound to it.
		closed, err := ParseTarget(p.String() + ":127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		t.Run(p.String(), func(t *testing.T) {
			r := probe(t, Config{Targets: []Target{closed}, For: 50 * time.Millisecond})
			if got := r.Results[0]; got.Sent != 50 || got.Lost != 50 || got.Refused != 50 || r.Errors() != 0 {
				t.Errorf("a closed port: %+v", got)
			}
		})
	}
	broadcast, _ := ParseTarget("udp:255.255.255.255:9")
	r := probe(t, Config{Targets: []Target{broadcast}, For: 20 * time.Millisecond})
	if got := r.Results[0]; got.Sent != 0 || got.Lost != 0 || got.Errors["EACCES"] != 20 {
		t.Errorf("a datagram that this host may not send: %+v", got)
	}
}

// Invariant 5: no source port twice.
func TestNeverReusesASourcePort(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.(*net.UDPConn).SetReadBuffer(4 << 20)
	seen := make(chan map[string]int)
	go func() {
		ports, b := map[string]int{}, make([]byte, 100)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				seen <- ports
				return
			}
			ports[from.String()]++
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	target, _ := ParseTarget("udp:" + c.LocalAddr().String())
	r := probe(t, Config{Targets: []Target{target}, Rate: 10000, For: 500 * time.Millisecond})
	c.Close()
	ports := <-seen
	if len(ports) != 5000 || r.Lost() != 0 {
		t.Errorf("%d source ports in 5000 requests, %d lost", len(ports), r.Lost())
	}
}

func TestCheckpointsDivideTheRun(t *testing.T) {
	s := serve(t, UDP, "127.0.0.1:0", between(0, 10))
	in, control := io.Pipe()
	var out, errs bytes.Buffer
	exit := make(chan int)
	go func() { exit <- run([]string{"-control", "-timeout=200ms", s.target.String()}, in, &out, &errs) }()
	wait := func(n int64) {
		for s.seen.Load() < n {
			time.Sleep(time.Millisecond)
		}
	}
	wait(20)
	fmt.Fprintln(control, "first")
	wait(s.seen.Load() + 20)
	fmt.Fprintln(control, "second")
	control.Close()
	if code := <-exit; code != 1 {
		t.Errorf("exit %d with losses: %s", code, errs.String())
	}
	dec := json.NewDecoder(&out)
	var first, second Segment
	var whole Report
	if err := dec.Decode(&first); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&second); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&whole); err != nil {
		t.Fatal(err)
	}
	if first.Name != "first" || first.Results[0].Lost != 10 || second.Name != "second" || second.Results[0].Lost != 0 || second.Results[0].Sent == 0 {
		t.Errorf("segments\n%+v\n%+v", first, second)
	}
	if n := first.Results[0].Sent + second.Results[0].Sent; whole.Sent() < n || whole.Sent() > n+50 {
		t.Errorf("%d requests in the segments, %d in all", n, whole.Sent())
	}
}

func TestMainRefusesWrongUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "no target"},
		{"tcp:1.2.3.4", "want tcp:ADDRESS:PORT"},
		{"tcp:fd00::1:80", "in brackets"},
		{"sctp:1.2.3.4:80", "want tcp:ADDRESS:PORT or udp"},
		{"udp:1.2.3.4:0", "port 0"},
		{"-rate=0.0001 -for=-1s tcp:1.2.3.4:80", "want more than 0"},
		{"-rate=1e6 tcp:1.2.3.4:80", "at most 20000"},
		{"-flows=new tcp:1.2.3.4:80", "fresh or steady"},
	} {
		var errs bytes.Buffer
		if code := run(strings.Fields(c.args), nil, io.Discard, &errs); code != 2 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%q: exit %d, %s; want %q", c.args, code, errs.String(), c.want)
		}
	}
}

func TestTextReport(t *testing.T) {
	target, _ := ParseTarget("tcp:[fd00::1]:80")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sums := newTally(target, at, time.Millisecond)
	for n := range 100 {
		o := answered
		if n >= 40 && n < 50 {
			o = refused
		}
		sums.add(time.Duration(n)*time.Millisecond, o, 250*time.Microsecond, "web-1")
	}
	var b strings.Builder
	if err := (Report{Start: at, Results: []Result{sums.finish()}}).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tcp:[fd00::1]:80", "100", "90", "10ms", "250µs",
		"silent at 03:04:05.040 for 10ms, 10 lost (10 of them refused)", "answered by web-1 90"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestRunEndsWithTheContext(t *testing.T) {
	s := serve(t, TCP, "127.0.0.1:0", nil)
	p, err := New(Config{Targets: []Target{s.target}, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if r, err := p.Run(ctx); err != nil || r.Sent() != 0 {
		t.Errorf("a run that ended before it began: %+v, %v", r, err)
	}
}
