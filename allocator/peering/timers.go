package peering

import (
	"fmt"
	"time"
)

// Where nothing is written, RFC 4271 §10 suggests these for hold time and keepalive.
// To connect it suggests 120 s, which is long for a router next door that was just
// restarted.
const (
	defaultHold    = 90 * time.Second
	defaultConnect = 5 * time.Second

	shortestHold      = 3 * time.Second // RFC 4271 §4.2
	shortestKeepalive = time.Second     // RFC 4271 §4.4
	longestTime       = 65535 * time.Second
)

// readTimers: of hold time and keepalive, one follows from the other.
func (p *peer) readTimers() (err error) {
	s := &p.session
	if s.HoldTime, err = readTime("holdTime", p.HoldTime, defaultHold); err != nil {
		return err
	}
	if s.Keepalive, err = readTime("keepaliveTime", p.Keepalive, 0); err != nil {
		return err
	}
	switch {
	case s.Keepalive < 0 || s.Keepalive > longestTime:
		return fmt.Errorf("spec.keepaliveTime is %s, and must be from 1s to a third of the hold time, or 0s for that", s.Keepalive)
	case p.HoldTime == "" && s.Keepalive > 0:
		s.HoldTime = 3 * s.Keepalive
	}
	if s.HoldTime != 0 && (s.HoldTime < shortestHold || s.HoldTime > longestTime) {
		return fmt.Errorf("the hold time is %s (three times spec.keepaliveTime where spec.holdTime is left out), and must be 0s or from 3s to 65535s (RFC 4271)", s.HoldTime)
	}
	s.HoldTime = s.HoldTime.Truncate(time.Second)
	switch {
	case s.Keepalive > s.HoldTime:
		return fmt.Errorf("spec.keepaliveTime %s is longer than spec.holdTime %s: a third of that is usual", s.Keepalive, s.HoldTime)
	case s.Keepalive == 0:
		s.Keepalive = s.HoldTime / 3
	case s.Keepalive < shortestKeepalive:
		return fmt.Errorf("spec.keepaliveTime %s is shorter than 1s, the shortest that RFC 4271 allows; BFD finds dead routers sooner", s.Keepalive)
	}
	s.Connect, err = readTime("connectTime", p.Connect, defaultConnect)
	if err == nil && (s.Connect < time.Second || s.Connect > longestTime || s.Connect%time.Second != 0) {
		err = fmt.Errorf("spec.connectTime is %s, and must be from 1s to 65535s in whole seconds", s.Connect)
	}
	return err
}

func readTime(field, text string, otherwise time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("spec.%s %q is not a duration: write 90s or 1m30s", field, text)
	}
	return d, nil
}
