package speaker

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// logWriter makes records of the lines that memberlist logs. What it says of
// members, this package says itself, so all is Debug but for errors; the same
// error is told once in tellAgain.
type logWriter struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[string]time.Time
}

const (
	tellAgain = 10 * time.Minute
	toldMost  = 1000 // different errors that are remembered
)

// where matches what differs between two lines of the same meaning.
var where = regexp.MustCompile(`from=\S+|\[?[0-9a-fA-F.:]+\]?:\d+`)

// Write takes one line.
func (w *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if rest, is := strings.CutPrefix(text, "[ERR]"); is {
		text, level = rest, slog.LevelWarn
	} else if i := strings.IndexByte(text, ']'); i > 0 && text[0] == '[' {
		text = text[i+1:]
	}
	text = strings.TrimPrefix(strings.TrimSpace(text), "memberlist: ")
	from := source(text)
	if strings.Contains(text, "no installed keys could decrypt") {
		text = "a station talks with another membership key; it is not heard"
		level = slog.LevelWarn
	}
	if level > slog.LevelDebug && w.again(where.ReplaceAllString(text, "")+from) {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, "gossip: "+text, "from", from)
	return len(line), nil
}

// source is the host that a line names.
func source(text string) string {
	_, rest, found := strings.Cut(text, "from=")
	if !found {
		return ""
	}
	host, _, _ := strings.Cut(rest, " ")
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = host[:i]
	}
	return host
}

// again tells whether the same has been said a short while ago.
func (w *logWriter) again(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if last, is := w.told[what]; is && now.Sub(last) < tellAgain {
		return true
	}
	if w.told == nil || len(w.told) >= toldMost {
		w.told = map[string]time.Time{}
	}
	w.told[what] = now
	return false
}
