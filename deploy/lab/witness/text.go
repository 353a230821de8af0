package witness

import (
	"fmt"
	"io"
	"time"
)

// WriteText writes the records from then on, for people.
func (h *History) WriteText(w io.Writer, from time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.records {
		if s.At.Before(from) {
			continue
		}
		state := "has " + s.addressSet()
		if s.Gone {
			state = "is gone"
		}
		fmt.Fprintf(w, "%s  %s %s %v%s\n", clock(s.At), s.Name, state, s.Ports, why(s))
	}
	for _, g := range h.breaks {
		fmt.Fprintf(w, "%s  changes until %s may be missing: %v\n", clock(g.from), clock(g.to), g.cause)
	}
}

// WriteText writes the announcements from then on, for people.
func (h *Heard) WriteText(w io.Writer, from time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.records {
		if !a.At.Before(from) {
			fmt.Fprintf(w, "%s  %s announced %s (%s)\n", clock(a.At), a.MAC, a.Addr, a.Kind)
		}
	}
}
