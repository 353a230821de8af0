package witness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Port is a protocol and a port, for example TCP/80.
type Port struct {
	Protocol string `json:"protocol"` // as Kubernetes writes it: TCP, UDP, SCTP
	Number   uint16 `json:"port"`
}

func (p Port) String() string { return fmt.Sprintf("%s/%d", p.Protocol, p.Number) }

// Condition is a condition of a Service's status.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Service is a Service from the moment At until its next record.
type Service struct {
	At         time.Time    `json:"at"`
	Name       string       `json:"name"` // namespace/name
	Gone       bool         `json:"gone,omitempty"`
	Addresses  []netip.Addr `json:"addresses,omitempty"` // of the load balancer's status, in its order
	Ports      []Port       `json:"ports,omitempty"`
	Conditions []Condition  `json:"conditions,omitempty"`
	Version    string       `json:"version"` // of the object, as the API counts

	asked time.Time // when this was asked for, if it was asked for here; the API has it since then at the earliest
}

// earliest is when others can have seen the state first.
func (s Service) earliest() time.Time {
	if s.asked.IsZero() {
		return s.At
	}
	return s.asked
}

// Has says whether the Service's status holds the address.
func (s Service) Has(a netip.Addr) bool { return !s.Gone && slices.Contains(s.Addresses, a) }

// Claims says whether kube-proxy is told to serve this port of this address for it.
func (s Service) Claims(a netip.Addr, p Port) bool { return s.Has(a) && slices.Contains(s.Ports, p) }

// Condition returns the condition of that type, or the zero value.
func (s Service) Condition(kind string) Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return Condition{}
}

// addressSet writes the addresses without regard to their order.
func (s Service) addressSet() string {
	if s.Gone || len(s.Addresses) == 0 {
		return "none"
	}
	sorted := slices.SortedFunc(slices.Values(s.Addresses), netip.Addr.Compare)
	var b strings.Builder
	for i, a := range sorted {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return b.String()
}

// History is every state of every Service that was seen, in the order of the watch. It
// may be added to and read at the same time.
type History struct {
	mu      sync.Mutex
	records []Service
	latest  map[string]int       // index of a Service's newest record
	asked   map[string]time.Time // changes that were asked for and have not been seen
	breaks  []gap
}

// gap is a time over which changes may be missing.
type gap struct {
	from, to time.Time
	cause    error
}

// Add appends a state.
func (h *History) Add(s Service) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.latest == nil {
		h.latest = map[string]int{}
	}
	s.asked = h.asked[s.Name]
	delete(h.asked, s.Name)
	h.latest[s.Name] = len(h.records)
	h.records = append(h.records, s)
}

// Asked notes that a change of a Service is about to be asked for: others may see it
// before the watch shows it here.
func (h *History) Asked(name string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked == nil {
		h.asked = map[string]time.Time{}
	}
	h.asked[name] = at
}

// Break notes that changes between the two times may be missing.
func (h *History) Break(from, to time.Time, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.breaks = append(h.breaks, gap{from, to, cause})
}

// Now returns a Service's newest state; one never seen is gone.
func (h *History) Now(name string) Service {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i, ok := h.latest[name]; ok {
		return h.records[i]
	}
	return Service{Name: name, Gone: true}
}

// States returns what the Service was at from, and every state since until to.
func (h *History) States(name string, from, to time.Time) []Service {
	h.mu.Lock()
	defer h.mu.Unlock()
	states := []Service{{At: from, Name: name, Gone: true}}
	for _, r := range h.records {
		switch {
		case r.Name != name || r.At.After(to):
		case r.At.After(from):
			states = append(states, r)
		default:
			states[0] = r
		}
	}
	return states
}

// whole fails if the history of the time has a gap.
func (h *History) whole(from, to time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.breaks {
		if g.from.Before(to) && g.to.After(from) {
			return fmt.Errorf("changes from %s to %s may be missing: %w", clock(g.from), clock(g.to), g.cause)
		}
	}
	return nil
}

// between returns the states of all Services at from, and the records since until to.
func (h *History) between(from, to time.Time) (at map[string]Service, since []Service) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at = map[string]Service{}
	for _, r := range h.records {
		switch {
		case r.At.After(to):
		case r.At.After(from):
			since = append(since, r)
		default:
			at[r.Name] = r
		}
	}
	return at, since
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
