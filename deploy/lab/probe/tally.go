package probe

import (
	"slices"
	"time"
)

type outcome uint8

const (
	pending outcome = iota
	answered
	refused
	stalled // connected, and then silent
	silent
)

// Silence is a row of requests that were all lost.
type Silence struct {
	// Start is when the first of them was sent.
	Start time.Time `json:"start"`
	// Length is the time from Start to the next request that was answered, or to
	// the end of the run, in nanoseconds.
	Length time.Duration `json:"length"`
	// Requests is how many were lost in this row, Refused how many of them were
	// refused, and Stalled how many TCP connected and then got no line, rather than
	// nothing at all.
	Requests int `json:"requests"`
	Refused  int `json:"refused,omitempty"`
	Stalled  int `json:"stalled,omitempty"`
}

// End is when the first request after the silence was sent.
func (s Silence) End() time.Time { return s.Start.Add(s.Length) }

// Result is what one target did with the requests of one segment.
type Result struct {
	Target   Target         `json:"target"`
	Sent     int            `json:"sent"`
	Answered int            `json:"answered"`
	Lost     int            `json:"lost"`
	Refused  int            `json:"refused,omitempty"`
	Stalled  int            `json:"stalled,omitempty"`
	Silences []Silence      `json:"silences,omitempty"`
	Backends map[string]int `json:"backends,omitempty"`
	// P50, P99 and Max are latencies of answered requests in nanoseconds, from
	// before the first system call to after the answer was read.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
	// Errors counts requests that this host could not send, by reason.
	Errors map[string]int `json:"errors,omitempty"`
}

// Longest returns the longest silence, or the zero value.
func (r Result) Longest() Silence {
	var longest Silence
	for _, s := range r.Silences {
		if s.Length > longest.Length {
			longest = s
		}
	}
	return longest
}

// tally gathers one target's outcomes of one segment, in the order of sending.
type tally struct {
	result  Result
	latency histogram
	open    bool          // the last silence in result has not ended
	last    time.Duration // when the last request was sent, since the run's start
	start   time.Time
	step    time.Duration
}

func newTally(t Target, start time.Time, step time.Duration) *tally {
	return &tally{result: Result{Target: t, Backends: map[string]int{}, Errors: map[string]int{}}, start: start, step: step}
}

// add counts a request that was sent at the time sent since the run's start.
func (t *tally) add(sent time.Duration, o outcome, latency time.Duration, backend string) {
	r := &t.result
	r.Sent++
	t.last = sent
	if o == answered {
		t.close(sent)
		r.Answered++
		t.latency.add(latency)
		if backend != "" {
			r.Backends[backend]++
		}
		return
	}
	if !t.open {
		t.open = true
		r.Silences = append(r.Silences, Silence{Start: t.start.Add(sent)})
	}
	s := &r.Silences[len(r.Silences)-1]
	s.Requests++
	r.Lost++
	switch o {
	case refused:
		r.Refused++
		s.Refused++
	case stalled:
		r.Stalled++
		s.Stalled++
	}
}

func (t *tally) close(at time.Duration) {
	if t.open {
		s := &t.result.Silences[len(t.result.Silences)-1]
		s.Length = t.start.Add(at).Sub(s.Start)
		t.open = false
	}
}

// finish ends an open silence one step after the last request and returns a copy.
func (t *tally) finish() Result {
	t.close(t.last + t.step)
	r := t.result
	r.Silences = slices.Clone(r.Silences)
	r.P50, r.P99, r.Max = t.latency.quantile(0.50), t.latency.quantile(0.99), t.latency.max
	return r
}
