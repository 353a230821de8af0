package speaker

import (
	"container/heap"
	"iter"
	"net/netip"
	"time"
)

// timer says that a seat has to be judged at a time. A seat may have several;
// only the one that its wake names counts.
type timer struct {
	at   time.Time
	addr netip.Addr
}

// timers is a heap, the earliest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push is for container/heap.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop is for container/heap.
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}

// due takes out what is due.
func (t *timers) due(now time.Time) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for len(*t) > 0 && !(*t)[0].at.After(now) {
			if !yield(heap.Pop(t).(timer).addr) {
				return
			}
		}
	}
}

// next is when the first one is due; zero if there is none.
func (t timers) next() time.Time {
	if len(t) == 0 {
		return time.Time{}
	}
	return t[0].at
}
