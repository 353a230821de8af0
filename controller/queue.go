package controller

import "time"

// An urgency says what a write is about: the lower, the sooner it is sent.
type urgency int

const (
	addresses  urgency = iota // of a Service, or what is remembered of them
	farewells                 // our marks, on a Service that is not ours any more
	conditions                // of a Service, and nothing but what they say
	reports                   // the status of pools, advertisements and the like; an annotation alone
	urgencies
)

const (
	// reserved writers are never busy with what can wait: an address finds one free.
	reserved = 4
	// Every so many writes the one is sent that has waited longest, whatever it is
	// about, so that none waits for ever.
	eldest = 8
)

// patient tells whether the write can wait for an address.
func (u urgency) patient() bool { return u >= conditions }

// A queue holds what may be sent now: by urgency, and then in the order in which it
// came. It knows nothing of what is under way but how much of it can wait.
type queue struct {
	lines [urgencies][]waiting
	turn  int // counts what was taken
}

type waiting struct {
	to    target
	lane  *lane
	since time.Time
}

// valid tells whether the lane still waits here: one that became more urgent waits
// in another line since.
func (w *waiting) valid() bool { return w.lane.queued && w.lane.since.Equal(w.since) }

// add puts a lane at the end of its line.
func (q *queue) add(to target, l *lane, now time.Time) {
	if !now.After(l.since) {
		now = l.since.Add(1) // a clock may stand still: no lane waits twice since one time
	}
	l.queued, l.urgency, l.since = true, l.want.urgency, now
	q.lines[l.urgency] = append(q.lines[l.urgency], waiting{to, l, now})
}

// back puts a lane at the head of its line: it has waited already.
func (q *queue) back(to target, l *lane) {
	l.queued, l.urgency, l.since = true, l.want.urgency, l.since.Add(1)
	q.lines[l.urgency] = append([]waiting{{to, l, l.since}}, q.lines[l.urgency]...)
}

// take returns what is to be sent next; nil when nothing may be. Patient writes are
// passed over unless there is room for them.
func (q *queue) take(room bool) (target, *lane) {
	from := -1
	for u := range q.lines {
		line := q.lines[u]
		for len(line) > 0 && !line[0].valid() {
			line[0] = waiting{} // what was taken is not kept alive
			line = line[1:]
		}
		if q.lines[u] = line; len(line) == 0 || urgency(u).patient() && !room {
			continue
		}
		if from < 0 || q.turn%eldest == eldest-1 && line[0].since.Before(q.lines[from][0].since) {
			from = u
		}
	}
	if from < 0 {
		return target{}, nil
	}
	q.turn++
	w := q.lines[from][0]
	q.lines[from][0] = waiting{}
	q.lines[from] = q.lines[from][1:]
	w.lane.queued = false
	return w.to, w.lane
}
