package script

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A rewriter does what another load balancer does that takes a Service for its own: it
// writes its addresses into the status, and again as soon as others are there.
type rewriter struct {
	service string
	addrs   []netip.Addr
	most    int // writes; 0: as many as the time allows
	long    time.Duration
}

func parseRewriter(args []string) (w rewriter, err error) {
	args, o, err := options(args, "times", "for")
	if err == nil {
		err = want(2, args, "a Service and addresses")
	}
	if err != nil {
		return w, err
	}
	w.service = args[0]
	if text := o["times"]; text != "" {
		if w.most, err = number(text); err != nil {
			return w, err
		}
	} else if o["for"] == "" {
		w.most = 1
	}
	for _, text := range args[1:] {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return w, err
		}
		w.addrs = append(w.addrs, a)
	}
	w.long, err = duration(o, "for", 30*time.Second)
	return w, err
}

func (r *run) overwrite(ctx context.Context, args []string) error {
	w, err := parseRewriter(args)
	if err != nil {
		return err
	}
	n := 0
	for end := time.Now().Add(w.long); time.Now().Before(end) && (w.most == 0 || n < w.most); {
		if !slices.Equal(r.history.Now(full(w.service)).Addresses, w.addrs) {
			if err := r.rewrite(ctx, w); err != nil {
				return err
			}
			n++
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	r.note("%v were written into the status of %s %d times", w.addrs, w.service, n)
	if n < w.most {
		return claim("the status of %s stayed as it was written: %d of %d writes within %s", w.service, n, w.most, w.long)
	}
	return nil
}

// rewrite writes once, and returns when the watch has shown it.
func (r *run) rewrite(ctx context.Context, w rewriter) error {
	var ingress []object
	for _, a := range w.addrs {
		ingress = append(ingress, object{"ip": a.String()})
	}
	before := time.Now()
	status := object{"status": object{"loadBalancer": object{"ingress": ingress}}}
	if err := r.api.merge(ctx, services, w.service, status, "status"); err != nil {
		return err
	}
	return until(ctx, 10*time.Second, func() error {
		for _, s := range r.history.States(full(w.service), before, time.Now()) {
			if slices.Equal(s.Addresses, w.addrs) {
				return nil
			}
		}
		return fmt.Errorf("the watch does not show %v in the status of %s", w.addrs, w.service)
	})
}
