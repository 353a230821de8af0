package probe

import (
	"math/bits"
	"time"
)

// histogram keeps durations in buckets of 1/16 of a power of two of microseconds:
// a quantile is too high by at most 6.25 %.
type histogram struct {
	counts [40 * 16]int
	total  int
	max    time.Duration
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < 16 {
		return int(us)
	}
	exp := bits.Len64(us) - 5
	return min((exp+1)*16+int(us>>exp)-16, 40*16-1)
}

func bucketTop(b int) time.Duration {
	if b < 16 {
		return time.Duration(b+1) * time.Microsecond
	}
	exp := b/16 - 1
	return time.Duration(uint64(b%16+17)<<exp) * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

// quantile returns an upper bound of the q-quantile, 0 of nothing.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := int(q * float64(h.total))
	for b, n := range h.counts {
		if rank -= n; rank < 0 {
			return min(bucketTop(b), h.max)
		}
	}
	return h.max
}
