package script

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast.dev/holdfast/deploy/lab/witness"
)

func init() {
	add("claims", map[string]verb{
		"never-without-address": {"", "SVC...", "its status held an address at every moment (from the watch)", perService((*witness.History).NeverWithoutAddress)},
		"same-address":          {"", "SVC...", "its status held the same addresses at every moment", perService((*witness.History).SameAddresses)},
		"shares":                {"", "SVC SVC...", "they hold the same addresses now", (*run).shares},
		"sequence":              {"", "SVC SET...", "the sets of addresses that it held, one after another; a SET in quotes has blanks,\nnone is the empty one", (*run).sequence},
		"is":                    {"", "WHAT", "what wait waits for is so now", (*run).is},
		"no-gratuitous":         {"", "ADDR...", "nobody announced it, unasked", (*run).noGratuitous},
		"moved":                 {"", "max N ADDR...", "the client's segment heard it move to another station at most so often in all", (*run).moved},
		"owner":                 {"", "ADDR NODE", "NODE, and nobody else, answers for it", (*run).owner},
		"no-event":              {"", "SVC REASON", "there is no Event with this reason about it", (*run).noEvent},
		"clash-free":            {"", "[within=0s]", "no two Services held one address with one port, or not for longer than within", (*run).clashFree},
		"writes":                {"", "max N SVC...", "its status changed at most so often", (*run).writes},
	})
}

func perService(check func(h *witness.History, name string, from, to time.Time) error) func(*run, context.Context, []string) error {
	return func(r *run, _ context.Context, args []string) error {
		if err := want(1, args, "a Service"); err != nil {
			return err
		}
		for _, arg := range args {
			if err := check(r.history, full(arg), r.mark, time.Now()); err != nil {
				return holds(err)
			}
		}
		return nil
	}
}

func (r *run) shares(_ context.Context, args []string) error {
	if err := want(2, args, "two Services or more"); err != nil {
		return err
	}
	sorted := func(name string) []netip.Addr {
		return slices.SortedFunc(slices.Values(r.history.Now(full(name)).Addresses), netip.Addr.Compare)
	}
	first := sorted(args[0])
	for _, arg := range args[1:] {
		if other := sorted(arg); len(first) == 0 || !slices.Equal(first, other) {
			return claim("%s holds %v and %s %v", args[0], first, arg, other)
		}
	}
	return nil
}

func (r *run) sequence(_ context.Context, args []string) error {
	if err := want(2, args, "a Service and sets of addresses"); err != nil {
		return err
	}
	wanted := make([]string, 0, len(args))
	for _, arg := range args[1:] {
		words := strings.Fields(arg)
		slices.SortFunc(words, func(a, b string) int {
			x, _ := netip.ParseAddr(a)
			y, _ := netip.ParseAddr(b)
			return x.Compare(y)
		})
		wanted = append(wanted, strings.Join(words, " "))
	}
	if got := r.history.Sequence(full(args[0]), r.mark, time.Now()); !slices.Equal(got, wanted) {
		return claim("%s held %q, want %q", args[0], got, wanted)
	}
	return nil
}

func (r *run) is(ctx context.Context, args []string) error {
	if err := want(1, args, "what is to be so"); err != nil {
		return err
	}
	ask, ok := waits[args[0]]
	if !ok {
		return fmt.Errorf("is %s: want one of those that wait knows", args[0])
	}
	return holds(ask(r, ctx, args[1:]))
}

func (r *run) noGratuitous(_ context.Context, args []string) error {
	addrs, err := r.addrs(args)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := r.heard.NoGratuitous(a, r.mark); err != nil {
			return holds(err)
		}
	}
	return nil
}

func (r *run) moved(_ context.Context, args []string) error {
	if len(args) < 3 || args[0] != "max" {
		return fmt.Errorf("want max, a number and addresses")
	}
	most, err := number(args[1])
	if err != nil {
		return err
	}
	addrs, err := r.addrs(args[2:])
	if err != nil {
		return err
	}
	var at []string
	for _, a := range addrs {
		for _, m := range r.heard.Moves(a) {
			if !m.Before(r.mark) {
				at = append(at, fmt.Sprintf("%s at %s, %s", a, m.Format("15:04:05.000"), r.stepAt(m)))
			}
		}
	}
	r.note("%d moves of %d addresses", len(at), len(addrs))
	if len(at) > most {
		return claim("moved %d times: %s", len(at), strings.Join(at[:min(len(at), 10)], "; "))
	}
	return nil
}

func (r *run) owner(ctx context.Context, args []string) error { return holds(r.isOwner(ctx, args)) }

func (r *run) noEvent(ctx context.Context, args []string) error {
	if err := want(2, args, "a Service and a reason"); err != nil {
		return err
	}
	if err := r.hasEvent(ctx, args); err == nil {
		return claim("there is an Event %s about %s", args[1], args[0])
	}
	return nil
}

func (r *run) clashFree(_ context.Context, args []string) error {
	_, o, err := options(args, "within")
	if err != nil {
		return err
	}
	most, err := duration(o, "within", 0)
	if err != nil {
		return err
	}
	clashes, err := r.history.Clashes(r.mark, time.Now())
	if err != nil {
		return holds(err)
	}
	var longest time.Duration
	for _, c := range clashes {
		length := c.End.Sub(c.Start)
		longest = max(longest, length)
		if length > most {
			return claim("%s", c)
		}
	}
	if most > 0 {
		r.note("%d clashes, the longest %s", len(clashes), longest.Round(time.Millisecond))
	}
	return nil
}

func (r *run) writes(_ context.Context, args []string) error {
	if len(args) < 3 || args[0] != "max" {
		return fmt.Errorf("want max, a number and Services")
	}
	most, err := number(args[1])
	if err != nil {
		return err
	}
	for _, arg := range args[2:] {
		if n := len(r.history.States(full(arg), r.mark, time.Now())) - 1; n > most {
			return claim("%s changed %d times", arg, n)
		}
	}
	return nil
}
