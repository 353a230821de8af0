package probe

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of a [Config].
const (
	DefaultRate    = 1000
	DefaultTimeout = 900 * time.Millisecond
)

// Config says what is probed, and how.
type Config struct {
	// Targets are probed side by side, each at the full rate.
	Targets []Target
	// Rate is in requests per second and target, 0 < Rate <= 20000. Zero means
	// [DefaultRate].
	Rate float64
	// Timeout is how long an answer may take. Zero means [DefaultTimeout].
	Timeout time.Duration
	// For ends the run after this time, with Rate x For requests per target. Zero
	// means until the context ends.
	For time.Duration
	// Steady keeps one flow per target instead of a new source port per request.
	Steady bool
	// Checkpoint is called, from Run's goroutine, for every finished segment.
	Checkpoint func(Segment)
}

// Segment holds the results of the requests sent between two checkpoints.
type Segment struct {
	Name    string    `json:"checkpoint"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Results []Result  `json:"results"`
}

// Report is what a whole run saw.
type Report struct {
	Start   time.Time     `json:"start"`
	Length  time.Duration `json:"length"`
	Rate    float64       `json:"rate"`
	Steady  bool          `json:"steady,omitempty"`
	Timeout time.Duration `json:"timeout"`
	Results []Result      `json:"results"`
	// LateMax is how long after its tick the latest request was sent, and Late
	// counts those that were more than 10 ms late.
	LateMax time.Duration `json:"late_max"`
	Late    int           `json:"late,omitempty"`
}

// Lost sums the lost requests of all targets.
func (r Report) Lost() int { return sum(r.Results, func(t Result) int { return t.Lost }) }

// Sent sums the requests sent to all targets.
func (r Report) Sent() int { return sum(r.Results, func(t Result) int { return t.Sent }) }

// Errors sums the local errors of all targets.
func (r Report) Errors() int {
	return sum(r.Results, func(t Result) int {
		n := 0
		for _, c := range t.Errors {
			n += c
		}
		return n
	})
}

func sum(results []Result, of func(Result) int) (n int) {
	for _, r := range results {
		n += of(r)
	}
	return n
}

// Prober probes a set of targets once.
type Prober struct {
	cfg         Config
	checkpoints chan string
}

// New checks the configuration.
func New(cfg Config) (*Prober, error) {
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	switch {
	case len(cfg.Targets) == 0:
		return nil, errors.New("probing: no target")
	case cfg.Rate < 0 || cfg.Rate > 20000:
		return nil, fmt.Errorf("probing at %g requests a second: want more than 0, at most 20000", cfg.Rate)
	case cfg.Timeout < 0 || cfg.For < 0:
		return nil, fmt.Errorf("probing for %s with a timeout of %s: want more than 0", cfg.For, cfg.Timeout)
	}
	return &Prober{cfg: cfg, checkpoints: make(chan string, 64)}, nil
}

// Checkpoint ends the running segment under this name; another one begins with the
// next request. [Config.Checkpoint] gets the ended one as soon as the outcome of all
// its requests is known, which takes no longer than the timeout.
func (p *Prober) Checkpoint(name string) { p.checkpoints <- name }

// Run sends until the context ends, waits for the outcome of what is under way, and
// reports. It keeps one thread to itself, a preferred one if it may, and fails only if it cannot begin.
func (p *Prober) Run(ctx context.Context) (Report, error) {
	runtime.LockOSThread()                          // and never unlocked: the thread goes with its priority
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -15) // a wish: without privilege it runs as others do
	l, err := newLoop(p.cfg)
	if err != nil {
		return Report{}, err
	}
	defer l.close()
	l.run(ctx.Done(), p.checkpoints)
	return l.report(), nil
}
