package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// configs publishes the status of pools and advertisements, when they may differ
// and it was not done just before. It returns when it is to be called again.
func (t *tenure) configs(l *round, changes changes, decided bool, now time.Time) time.Time {
	if !t.begun || decided || changes.configs || len(changes.services) > 0 {
		t.configsDiffer = true
	}
	if !t.configsDiffer {
		return time.Time{}
	}
	if due := t.configsLooked.Add(statusPause); now.Before(due) {
		return due
	}
	t.configsDiffer, t.configsLooked = false, now
	uses := l.snapshot.Uses()
	t.c.stats.count(func(s *Stats) { s.Pools = uses })

	pools, ads := t.c.belief.configs()
	present := map[target]bool{}
	for _, o := range pools {
		to := target{"ipaddresspools", name{Namespace: t.c.Namespace, Name: o.name}}
		present[to] = true
		err, warning := l.snapshot.PoolError(o.name), l.snapshot.PoolWarning(o.name)
		t.writeConfig(poolPatch(o, uses[o.name], err, warning, now), to, 1, o.status.Conditions, acceptedCondition(&o.object, err, warning))
	}
	for _, o := range ads {
		to := target{"l2advertisements", name{Namespace: t.c.Namespace, Name: o.name}}
		present[to] = true
		warning := l.snapshot.AdvertisementError(o.name)
		t.writeConfig(advertisementPatch(o, warning, now), to, 2, o.conditions, acceptedCondition(&o.object, nil, warning))
	}
	for to := range t.objects {
		if !present[to] {
			t.publisher.drop(to)
		}
	}
	t.objects = present
	return time.Time{}
}

// configs returns what is believed of pools and advertisements.
func (b *belief) configs() (pools []*pool, ads []*advertisement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pools.items {
		pools = append(pools, p.fact)
	}
	for _, a := range b.ads.items {
		ads = append(ads, a.fact)
	}
	return pools, ads
}

// writeConfig hands the patch of a pool or an advertisement, which come from the
// source of that index, to the publisher.
func (t *tenure) writeConfig(p patch, to target, source int, before []v1.Condition, now v1.Condition) {
	if p.empty() {
		t.publisher.drop(to)
		return
	}
	w, err := p.write(t.c.clients.metallb, to, 0)
	if err != nil {
		t.c.Log.Error("a write could not be put together", "kind", to.kind, "object", to.name.String(), "err", err)
		return
	}
	w.sent = func(answer runtime.Object) {
		t.c.sources[source].store.answered(answer)
		old := conditionOf(before, now.Type)
		if (old == nil || old.Message != now.Message) && now.Reason != "Accepted" {
			t.c.Log.Warn("an object is not in use as it stands", "kind", to.kind, "object", to.name.String(), "reason", now.Reason, "message", now.Message)
		}
	}
	t.publisher.put(w)
}
