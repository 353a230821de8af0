package main

import (
	"fmt"
	"io"
	"time"
)

// A report prints a line for each thing that is done or checked, and remembers
// what went wrong.
type report struct {
	out            io.Writer
	checks, failed int
	fatal          error // without this nothing goes on
}

// step does what everything after it needs.
func (r *report) step(doing string, do func() error) {
	if r.fatal != nil {
		return
	}
	began := time.Now()
	if err := do(); err != nil {
		r.fatal = fmt.Errorf("%s: %w", doing, err)
		return
	}
	fmt.Fprintf(r.out, "      %7s  %s\n", seconds(time.Since(began)), doing)
}

// check does one check, which may tell more about what it saw.
func (r *report) check(what string, do func() (seen string, err error)) bool {
	if r.fatal != nil {
		return false
	}
	r.checks++
	began := time.Now()
	seen, err := do()
	took := seconds(time.Since(began))
	if err != nil {
		r.failed++
		fmt.Fprintf(r.out, "FAIL  %7s  %s: %v\n", took, what, err)
		return false
	}
	if seen != "" {
		what += ": " + seen
	}
	fmt.Fprintf(r.out, "ok    %7s  %s\n", took, what)
	return true
}

// verdict is the end of it all.
func (r *report) verdict() error {
	if r.fatal != nil {
		return r.fatal
	}
	if r.failed > 0 {
		return fmt.Errorf("%d of %d checks failed", r.failed, r.checks)
	}
	fmt.Fprintf(r.out, "all %d checks passed\n", r.checks)
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
