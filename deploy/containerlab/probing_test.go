package main

import (
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/lab/probe"
)

// What is lost after a time is told from what was lost before, also by a silence
// that had begun before.
func TestLostAfter(t *testing.T) {
	at := time.Now()
	silence := func(begin, length time.Duration) probe.Silence {
		return probe.Silence{Start: at.Add(begin), Length: length, Requests: 1}
	}
	for _, c := range []struct {
		silence probe.Silence
		want    int
	}{
		{silence(-300*time.Millisecond, 299*time.Millisecond), 0},
		{silence(-300*time.Millisecond, 310*time.Millisecond), 0}, // the prober was late
		{silence(-300*time.Millisecond, 900*time.Millisecond), 1},
		{silence(time.Millisecond, time.Millisecond), 1},
	} {
		seen := probe.Report{Results: []probe.Result{{}, {Silences: []probe.Silence{c.silence}}}}
		if got := lostAfter(seen, at); got != c.want {
			t.Errorf("from %s for %s: %d lost, want %d", c.silence.Start.Sub(at), c.silence.Length, got, c.want)
		}
	}
}
