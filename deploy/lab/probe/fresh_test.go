package probe

import (
	"testing"
	"time"
)

// A run to a target goes on beyond where the last one ended, though that one was
// slower and had other targets beside: its lost flows may still be remembered.
func TestNextRunGoesOnBeyondTheLast(t *testing.T) {
	target, err := ParseTarget("tcp:192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	begin := func(index, targets int, rate float64) uint32 {
		return newFresh(&lane{index: index, target: target, loop: &loop{cfg: Config{Targets: make([]Target, targets), Rate: rate}}}).port
	}
	first := begin(0, 2, 100)
	time.Sleep(10 * time.Millisecond) // in which one request was sent
	if ahead := (begin(5, 8, 1000) + ports - first) % ports; ahead < 5 || ahead > ports/2 {
		t.Errorf("begins %d ports further on", ahead)
	}
}
