package script

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func init() {
	add("objects", map[string]verb{
		"churn": {"", "N for=DURATION [every=100ms] [seed=1] [namespace=churn]",
			"creates, edits and deletes up to N Services of the namespace in random order: keys, ports,\npolicies, selectors, families, types", (*run).churn},
		"all-have-addresses": {"", "NAMESPACE [within=60s]", "waits until every Service of type LoadBalancer in the namespace has one of each family", (*run).allHave},
	})
}

func (r *run) churn(ctx context.Context, args []string) error {
	args, o, err := options(args, "for", "every", "seed", "namespace")
	if err == nil {
		err = want(1, args, "how many Services")
	}
	if err != nil {
		return err
	}
	n, err := number(args[0])
	if err != nil {
		return err
	}
	length, err := duration(o, "for", time.Minute)
	if err != nil {
		return err
	}
	every, err := duration(o, "every", 100*time.Millisecond)
	if err != nil {
		return err
	}
	seed, err := number(orElse(o["seed"], "1"))
	if err != nil {
		return err
	}
	ns := orElse(o["namespace"], "churn")
	if err := r.namespace(ctx, []string{ns}); err != nil {
		return err
	}
	c := churning{r: r, ns: ns, rand: rand.New(rand.NewPCG(uint64(seed), 0)), there: make([]bool, n)}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(r.pace.time(length)); time.Now().Before(end); {
		if err := c.step(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	r.note("%d created, %d edited, %d deleted, seed %d", c.created, c.edited, c.deleted, seed)
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// churning is the state of a churn.
type churning struct {
	r                        *run
	ns                       string
	rand                     *rand.Rand
	there                    []bool
	created, edited, deleted int
}

func (c *churning) step(ctx context.Context) (err error) {
	i := c.rand.IntN(len(c.there))
	name := fmt.Sprintf("%s/s%03d", c.ns, i)
	switch {
	case !c.there[i]:
		err = c.r.service(ctx, append([]string{name}, c.words(true)...))
		c.there[i] = true
		c.created++
	case c.rand.IntN(4) == 0:
		err = c.r.api.remove(ctx, services, c.ns, strings.TrimPrefix(name, c.ns+"/"), nil)
		c.there[i] = false
		c.deleted++
	default:
		err = c.r.edit(ctx, append([]string{name}, c.words(false)...))
		c.edited++
	}
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// words are the options of a random Service, or of a random edit.
func (c *churning) words(create bool) (words []string) {
	pick := func(from ...string) string { return from[c.rand.IntN(len(from))] }
	port := func() string { return fmt.Sprintf("%s/%d", pick("tcp", "udp"), 80+c.rand.IntN(10)) }
	for _, word := range []string{
		"key=" + pick("", "k1", "k2", "k3", "k4"),
		"policy=" + pick("Cluster", "Local"),
		"app=" + pick("web", "other"),
		port(),
	} {
		if create || c.rand.IntN(4) == 0 {
			words = append(words, word)
		}
	}
	if create {
		words = append(words, "families="+pick("dual", "prefer", "v4", "v6"))
	}
	if len(words) == 0 {
		words = append(words, "policy="+pick("Cluster", "Local"))
	}
	return words
}

func (r *run) allHave(ctx context.Context, args []string) error {
	args, o, err := options(args, "within")
	if err == nil {
		err = want(1, args, "a namespace")
	}
	if err != nil {
		return err
	}
	within, err := duration(o, "within", time.Minute)
	if err != nil {
		return err
	}
	return until(ctx, within, func() error {
		return r.api.each(ctx, services, args[0], func(name string) error { return r.hasAddress(ctx, args[0]+"/"+name) })
	})
}
