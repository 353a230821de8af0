package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// strangersAgain is how often Secrets are looked at that peers name in vain.
const strangersAgain = time.Minute

// strangers looks at Secrets that peers name and that are not among those that hold
// passwords, which alone are watched: one of another type must be told from one that
// is not there. Only the leader, which says so in a status, has it done.
type strangers struct {
	client    rest.Interface
	namespace string
	belief    *belief
	log       *slog.Logger
	names     chan []string // the latest
}

func newStrangers(c Config, client rest.Interface, b *belief) *strangers {
	return &strangers{client: client, namespace: c.Namespace, belief: b, log: c.Log, names: make(chan []string, 1)}
}

// look names the Secrets in question. It does not wait.
func (s *strangers) look(names []string) {
	for {
		select {
		case s.names <- names:
			return
		default:
		}
		select {
		case <-s.names:
		default:
		}
	}
}

func (s *strangers) run(ctx context.Context) {
	var names []string
	again := time.NewTicker(strangersAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case names = <-s.names:
		case <-again.C:
		}
		types := map[string]string{}
		for _, n := range slices.Compact(slices.Sorted(slices.Values(names))) {
			kind, err := s.typeOf(ctx, n)
			if err != nil && ctx.Err() == nil {
				s.log.Warn("looking at a Secret that a BGPPeer names", "err", err)
			}
			if err == nil {
				types[n] = kind
			}
		}
		s.belief.meet(types)
	}
}

// typeOf returns the type of a Secret; "" when it is not there.
func (s *strangers) typeOf(ctx context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	var secret corev1.Secret
	err := timed(ctx, s.client.Get()).Namespace(s.namespace).Resource("secrets").Name(name).Do(ctx).Into(&secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("reading Secret %s/%s: %w", s.namespace, name, err)
	}
	return string(secret.Type), nil
}

// meet takes note of the types of the Secrets that were looked at.
func (b *belief) meet(types map[string]string) {
	b.mu.Lock()
	differs := !maps.Equal(b.strangers, types)
	if differs {
		b.strangers = types
		b.peeringDiffers()
		b.note(func(c *changes) { c.configs = true })
	}
	b.mu.Unlock()
	if differs {
		b.wake()
	}
}
