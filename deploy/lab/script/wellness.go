package script

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// What is claimed of holdfast in every scenario, whatever it is about: that the API
// server denied it nothing, and that no copy logged an error.

// auditEnd is how much is in the audit log.
func auditEnd(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// young is how long an API server that was just started may deny everything to
// everybody: it has not read its roles yet.
const young = 10 * time.Second

// ending is what it says, with the same code, of an Event in a namespace that is
// being deleted.
const ending = "because it is being terminated"

// span is a time from a beginning to an end; an end that is zero has not come yet.
type span struct{ from, to time.Time }

// excused says whether a denial at that time says nothing of the roles: the server was
// young, or holdfast was being removed, and its rights with it.
func (r *run) excused(at time.Time) bool {
	return slices.ContainsFunc(r.starts, func(t time.Time) bool { return !at.Before(t) && at.Before(t.Add(young)) }) ||
		slices.ContainsFunc(r.removed, func(s span) bool { return !at.Before(s.from) && (s.to.IsZero() || at.Before(s.to)) })
}

// denied returns the requests in the audit log, from an offset on, that roles forbade,
// but for those at times that are excused.
func denied(path string, from int64, excused func(time.Time) bool) (all []string, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing has been asked yet
	} else if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return all, nil // a line that is not whole is still being written
		} else if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		var e struct {
			Verb, RequestURI         string
			RequestReceivedTimestamp time.Time
			ResponseStatus           struct {
				Code    int
				Message string
			}
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if m := e.ResponseStatus.Message; e.ResponseStatus.Code != 403 || excused(e.RequestReceivedTimestamp) || strings.Contains(m, ending) {
			continue
		}
		path, _, _ := strings.Cut(e.RequestURI, "?")
		if what := e.Verb + " " + path; !slices.Contains(all, what) {
			all = append(all, what)
		}
	}
}

// logs are the arguments of kubectl for what all copies have logged in this run.
func (r *run) logs(more ...string) []string {
	return append([]string{"logs", "-n", namespace, "-l", "app.kubernetes.io/name=holdfast", "--prefix", "--tail=-1",
		"--since-time=" + r.begun.Format(time.RFC3339)}, more...)
}

// unwell says what is wrong with holdfast itself.
func (r *run) unwell(ctx context.Context) (failures []string) {
	if !r.lab.Options().Holdfast {
		return nil
	}
	all, err := denied(r.lab.AuditLog(), r.audited, r.excused)
	if err != nil {
		failures = append(failures, err.Error())
	}
	for _, what := range all {
		failures = append(failures, "the API server denied holdfast: "+what)
	}
	// A node that has just come back does not serve its logs at once.
	var out []byte
	err = until(ctx, 20*time.Second, func() (err error) {
		out, err = r.lab.Kubectl(r.logs()...).Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return fmt.Errorf("reading holdfast's logs: %w: %s", err, exit.Stderr)
		}
		return err
	})
	if err != nil {
		return append(failures, err.Error())
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, " level=ERROR ") {
			failures = append(failures, "holdfast logged an error: "+strings.TrimSpace(line))
		}
	}
	return failures
}
