package script

import (
	"context"
	"io"

	"holdfast.dev/holdfast/deploy/lab/probe"
)

// Session runs commands one by one, for a program that is no scenario. Its state is
// clean when it begins.
type Session struct{ r *run }

// Begin cleans the lab and begins to witness. Commands write to out.
func Begin(ctx context.Context, lab Lab, needs Needs, out io.Writer) (*Session, error) {
	quiet()
	r, err := prepare(ctx, lab, &Script{Name: "session", Path: "session", Needs: needs}, out)
	if err != nil {
		return nil, err
	}
	return &Session{r}, nil
}

// Do runs lines of a scenario and stops at the first that fails.
func (s *Session) Do(ctx context.Context, lines string) error {
	parsed, err := Parse("session", []byte(lines))
	if err != nil {
		return err
	}
	for _, l := range parsed.Lines {
		if err := s.r.line(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// Segment returns what the probe that was started last saw since the last call.
func (s *Session) Segment(ctx context.Context) (probe.Segment, error) {
	return s.r.probes[s.r.order[len(s.r.order)-1]].checkpoint(ctx)
}

// OnlyUnclaimed fails if a request was lost while a Service had its port in status and
// spec, or longer than kube-proxy may take after it got it.
func (s *Session) OnlyUnclaimed(seg probe.Segment) error {
	var results []measured
	for _, t := range seg.Results {
		results = append(results, measured{t, "", seg.Start, seg.End})
	}
	return s.r.onlyUnclaimed(proxyTime, results)
}

// Cut counts the requests that were lost because their TCP handshake had begun at one
// node when the address moved to another one.
func (s *Session) Cut(seg probe.Segment) (n int) {
	for _, t := range seg.Results {
		if t.Target.Protocol == probe.TCP {
			n += cut(s.r.heard.Moves(t.Target.Addr.Addr()), nil, t.Silences)
		}
	}
	return n
}

// Clean makes the clean state again, so that a lab that is not the program's own is left
// as it was.
func (s *Session) Clean(ctx context.Context) error {
	s.r.stopAll()
	if err := cleanObjects(ctx, s.r.api); err != nil {
		return err
	}
	return cleanNodes(ctx, s.r.api)
}

// Variable returns a variable that a command set.
func (s *Session) Variable(name string) string { return s.r.vars[name] }

// Close stops what runs.
func (s *Session) Close() {
	s.r.stopAll()
	s.r.close()
}
