package controller

import (
	"context"
	"crypto/rand"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The Secret that holds the key of the gossip between the copies, and its entry.
const (
	keySecret = "holdfast-membership"
	keyEntry  = "secretkey"
	keyLength = 32 // bytes, for AES-256
)

// learnKey gives the key on, when it is another than before.
func (c *Controller) learnKey() {
	at := name{Namespace: c.Namespace, Name: keySecret}
	c.belief.mu.Lock()
	key, known := c.belief.keys.items[at]
	c.belief.mu.Unlock()
	if !known || slices.Equal(key.fact, c.key) {
		return
	}
	c.key = key.fact
	if n := len(key.fact); n != 16 && n != 24 && n != 32 {
		c.Log.Error("the membership key is not used: it must be 16, 24 or 32 bytes; delete the Secret to have one made",
			"secret", at.String(), "entry", keyEntry, "bytes", n)
		return
	}
	if c.Config.Key != nil {
		c.Config.Key(slices.Clone(key.fact))
	}
}

// makeKey creates the Secret when there is none.
func (t *tenure) makeKey() {
	c := t.c
	to := target{"secrets", name{Namespace: c.Namespace, Name: keySecret}}
	c.belief.mu.Lock()
	_, known := c.belief.keys.items[to.name]
	seen := c.belief.keys.seen
	c.belief.mu.Unlock()
	if known {
		t.publisher.drop(to)
		return
	}
	t.publisher.put(&task{
		to: to, version: seen,
		send: func(ctx context.Context) (runtime.Object, error) {
			key := make([]byte, keyLength)
			rand.Read(key) // never fails
			return timed(ctx, c.clients.core.Post()).Namespace(to.name.Namespace).Resource(to.kind).Body(&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: to.name.Namespace, Name: to.name.Name},
				Type:       corev1.SecretTypeOpaque,
				Data:       map[string][]byte{keyEntry: key},
			}).Do(ctx).Get()
		},
		sent: func(runtime.Object) { c.Log.Info("the membership key was made", "secret", to.name.String()) },
	})
}
