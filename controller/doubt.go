package controller

import (
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A doubt is a write that was sent and whose outcome is not known: it may take
// effect until the API has given it up.
type doubt struct {
	*task
	until time.Time
}

// doubtful returns the writes whose outcome is not known and that may give an
// address to a Service.
func (p *publisher) doubtful(now time.Time) (out []doubt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.swept) > sweepPause {
		p.swept = now
		p.forgive(p.doubting, now)
	} else {
		p.forgive(p.giving, now)
	}
	for _, l := range p.giving {
		out = append(out, l.doubts...)
	}
	return out
}

// forgive drops the doubts of some lanes that are too old to matter.
func (p *publisher) forgive(lanes map[target]*lane, now time.Time) {
	for to, l := range lanes {
		l.forgive(now)
		p.doubt(to, l)
		p.tidy(to, l)
	}
}

// doubt notes whether there are doubts in a lane.
func (p *publisher) doubt(to target, l *lane) {
	note := func(lanes map[target]*lane, is bool) {
		if is {
			lanes[to] = l
		} else {
			delete(lanes, to)
		}
	}
	note(p.doubting, len(l.doubts) > 0)
	note(p.giving, slices.ContainsFunc(l.doubts, func(d doubt) bool { return len(d.takes) > 0 }))
}

// settle removes the doubt about a write that was answered. A success proves that
// no earlier write for the same version can take effect any more.
func (p *publisher) settle(l *lane, t *task, err error) {
	if err == nil {
		l.doubts = nil
		return
	}
	if !errors.Is(err, errFenced) && !refused(err) {
		return
	}
	for i := len(l.doubts) - 1; i >= 0; i-- {
		if l.doubts[i].task == t { // the latest sending of it
			l.doubts = append(l.doubts[:i], l.doubts[i+1:]...)
			return
		}
	}
}

// refused tells whether the error is the API's word that nothing was written.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500
}

// forgive drops the doubts that are too old to matter: the API gives up on a request
// when the time limit that the request carries is over.
func (l *lane) forgive(now time.Time) {
	kept := l.doubts[:0]
	for _, d := range l.doubts {
		if now.Before(d.until) {
			kept = append(kept, d)
		}
	}
	l.doubts = kept
}
