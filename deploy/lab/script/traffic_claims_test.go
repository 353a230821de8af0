package script

import "testing"

func TestEvenShares(t *testing.T) {
	for _, test := range []struct {
		counts  map[string]int
		percent int
		want    bool
	}{
		{map[string]int{"a": 100, "b": 100}, 0, true},
		{map[string]int{"a": 105, "b": 100, "c": 95}, 5, true},
		{map[string]int{"a": 106, "b": 100, "c": 94}, 5, false},
		{map[string]int{"a": 50, "b": 17, "c": 17, "d": 17}, 10, false}, // a node's pod beside another node's three
		{nil, 10, true},
	} {
		if got := even(test.counts, test.percent); got != test.want {
			t.Errorf("even(%v, %d) = %t", test.counts, test.percent, got)
		}
	}
}
