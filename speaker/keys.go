package speaker

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	keyUse  = 5 * time.Second // a new key is understood at once, and used after this
	keyDrop = time.Minute     // an old key is understood this long after that
)

// keys is the ring of keys of the gossip. A new key is first only understood,
// then used, and the old ones are forgotten later: nodes learn of it at
// different times.
type keys struct {
	log *slog.Logger

	mu     sync.Mutex
	keys   *memberlist.Keyring
	newest []byte
	use    time.Time // when newest is to be used; zero: it is
	drop   time.Time // when the others are to be forgotten; zero: they are
}

// set takes in a key. company: there are others to keep in touch with.
func (k *keys) set(secret []byte, company bool) {
	if len(secret) == 0 {
		k.log.Error("the membership key is empty; this node keeps what it has")
		return
	}
	sum := sha256.Sum256(secret)
	key := sum[:]
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(key, k.newest) {
		return
	}
	now := time.Now()
	if k.keys == nil {
		k.keys, _ = memberlist.NewKeyring(nil, key) // 32 octets are always accepted
		k.newest = key
		return
	}
	_ = k.keys.AddKey(key)
	k.newest, k.use, k.drop = key, now.Add(keyUse), now.Add(keyUse+keyDrop)
	if !company {
		k.use = now
	}
	k.log.Info("membership key changed", "delay", time.Until(k.use).Round(time.Millisecond))
	if !company {
		k.step(now)
	}
}

// advance takes the next step if its time has come.
func (k *keys) advance(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.step(now)
}

func (k *keys) step(now time.Time) {
	if !k.use.IsZero() && !now.Before(k.use) {
		k.use = time.Time{}
		_ = k.keys.UseKey(k.newest)
	}
	if !k.drop.IsZero() && !now.Before(k.drop) {
		k.drop = time.Time{}
		for _, old := range slices.Clone(k.keys.GetKeys()) {
			if !bytes.Equal(old, k.newest) {
				_ = k.keys.RemoveKey(old)
			}
		}
	}
}

func (k *keys) none() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys == nil
}

func (k *keys) ring() *memberlist.Keyring {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}
