package probe

import (
	"time"
)

// burst is how many requests a target may catch up with before answers are read again.
const burst = 16

// lateness is when a request counts as late.
const lateness = 10 * time.Millisecond

const never = time.Duration(1<<63 - 1)

// loop is one thread that sends for all targets and reads for all of them.
type loop struct {
	cfg      Config
	start    time.Time
	step     time.Duration
	poll     *poller
	lanes    []*lane
	segments []*segment // those that are not finished, the running one last
	stopped  bool       // sends nothing more
	lateMax  time.Duration
	late     int
}

// segment is what lies between two checkpoints.
type segment struct {
	Segment
	tallies []*tally
	open    bool // requests are still sent into it
	waiting int  // requests whose outcome is not counted yet
}

func newLoop(cfg Config) (*loop, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{cfg: cfg, start: time.Now(), step: time.Duration(float64(time.Second) / cfg.Rate), poll: poll}
	for i, t := range cfg.Targets {
		l.lanes = append(l.lanes, newLane(l, i, t))
	}
	l.begin(l.start)
	return l, nil
}

// begin opens a segment.
func (l *loop) begin(at time.Time) {
	s := &segment{Segment: Segment{Start: at}, open: true}
	for _, lane := range l.lanes {
		s.tallies = append(s.tallies, newTally(lane.target, l.start, l.step))
	}
	l.segments = append(l.segments, s)
}

func (l *loop) running() *segment { return l.segments[len(l.segments)-1] }

// since is the time since the run's start.
func (l *loop) since() time.Duration { return time.Since(l.start) }

// due is the tick of request n: always start+n/rate, so that no error adds up.
func (l *loop) due(n uint64) time.Duration {
	return time.Duration(float64(n) * float64(time.Second) / l.cfg.Rate)
}

func (l *loop) run(done <-chan struct{}, checkpoints <-chan string) {
	for {
		select {
		case <-done:
			l.stopped = true
		default:
		}
		for len(checkpoints) > 0 { // after done: what was asked for before it counts
			l.checkpoint(<-checkpoints)
		}
		next := l.send()
		for _, fd := range l.poll.wait(min(next-l.since(), 20*time.Millisecond)) {
			if o := l.poll.owners[fd]; o.lane != nil { // else dropped meanwhile
				o.lane.flows.ready(o.request)
			}
		}
		if l.expire(); l.stopped && l.idle() {
			for _, lane := range l.lanes {
				lane.close()
			}
			return
		}
	}
}

// send sends what is due and returns when the next request is.
func (l *loop) send() time.Duration {
	if l.stopped {
		return never
	}
	next, ended := never, true
	for _, lane := range l.lanes {
		for range burst {
			now, due := l.since(), l.due(lane.ticks)
			if due > now || due >= l.end() {
				break
			}
			l.lateMax = max(l.lateMax, now-due)
			if now-due > lateness {
				l.late++
			}
			lane.ticks++
			lane.request(now)
		}
		if due := l.due(lane.ticks); due < l.end() {
			next, ended = min(next, due), false
		}
	}
	l.stopped = ended
	return next
}

// end is the time of the first tick that is not sent.
func (l *loop) end() time.Duration {
	if l.cfg.For > 0 {
		return l.cfg.For
	}
	return never
}

// expire gives up requests that are older than the timeout, and counts, in the order
// of sending, those whose outcome is known.
func (l *loop) expire() {
	for _, lane := range l.lanes {
		lane.expire(l.since() - l.cfg.Timeout)
	}
	for len(l.segments) > 0 && !l.segments[0].open && l.segments[0].waiting == 0 {
		s := l.segments[0]
		l.segments = l.segments[1:]
		for _, t := range s.tallies {
			s.Results = append(s.Results, t.finish())
		}
		if l.cfg.Checkpoint != nil {
			l.cfg.Checkpoint(s.Segment)
		}
	}
}

func (l *loop) checkpoint(name string) {
	now := time.Now()
	s := l.running()
	s.Name, s.End, s.open = name, now, false
	l.begin(now)
}

// idle says whether no outcome is awaited.
func (l *loop) idle() bool {
	for _, s := range l.segments {
		if s.waiting > 0 {
			return false
		}
	}
	return true
}

func (l *loop) report() Report {
	r := Report{Start: l.start, Length: l.since(), Rate: l.cfg.Rate, Steady: l.cfg.Steady,
		Timeout: l.cfg.Timeout, LateMax: l.lateMax, Late: l.late}
	for _, lane := range l.lanes {
		r.Results = append(r.Results, lane.whole.finish())
	}
	return r
}

func (l *loop) close() { l.poll.close() }
