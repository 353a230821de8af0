package controller

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"holdfast.dev/holdfast/allocator/peering"
)

// configs publishes the status of pools, advertisements and the objects about BGP,
// when they may differ and it was not done just before. It returns when it is to be called again.
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

	present := map[target]bool{}
	objects, resolved := t.c.belief.configs()
	t.configsDiffer = !resolved
	for _, o := range objects {
		to := target{o.kind, name{Namespace: t.c.Namespace, Name: o.name}}
		present[to] = true
		if o.bgp && !resolved {
			continue
		}
		err, warning := o.judged(l)
		accepted := acceptedCondition(o.object, err, warning)
		p := configPatch(o.object, o.conditions, accepted, now)
		if o.pool != nil {
			p.count(o.pool, uses[o.name])
		}
		t.writeConfig(p, to, o.conditions, accepted)
	}
	for to := range t.objects {
		if !present[to] {
			t.publisher.drop(to)
		}
	}
	t.objects = present
	return time.Time{}
}

// A configObject is an object whose status says whether it is in use as it stands.
type configObject struct {
	kind string
	*object
	conditions []v1.Condition // as published
	pool       *pool          // nil: it is no pool
	bgp        bool           // package peering judges it
}

// configs returns what is believed of them, and whether that is what was resolved:
// what came since is the next step's, and a verdict on the version before must not be
// written on it.
func (b *belief) configs() (all []configObject, resolved bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pools.items {
		all = append(all, configObject{b.pools.kind, &p.fact.object, p.fact.status.Conditions, p.fact, false})
	}
	for _, a := range b.ads.items {
		all = append(all, configObject{b.ads.kind, &a.fact.object, a.fact.conditions, nil, false})
	}
	for _, p := range b.peers.items {
		if secret := p.fact.fact.PasswordSecret; secret == "" || b.lookedAt(secret) {
			all = append(all, configObject{b.peers.kind, &p.fact.object, p.fact.conditions, nil, true})
		}
	}
	all = appendWritten(all, b.routes)
	all = appendWritten(all, b.profiles)
	return appendWritten(all, b.communities), !b.changes.peering
}

func appendWritten[F any](all []configObject, s *shelf[*written[F]]) []configObject {
	for _, w := range s.items {
		all = append(all, configObject{s.kind, &w.fact.object, w.fact.conditions, nil, true})
	}
	return all
}

// judged says why the object is refused, and what of it is not in use.
func (o *configObject) judged(l *round) (refused, warning error) {
	var v peering.Verdict
	switch o.kind {
	case "ipaddresspools":
		return l.snapshot.PoolError(o.name), l.snapshot.PoolWarning(o.name)
	case "l2advertisements":
		return nil, l.snapshot.AdvertisementError(o.name)
	case "bgppeers":
		v = l.peering.Peers[o.name]
	case "bgpadvertisements":
		v = l.peering.AdvertisementVerdicts[o.name]
		v.Warning = errors.Join(v.Warning, l.snapshot.BGPAdvertisementError(o.name))
	case "bfdprofiles":
		v = l.peering.Profiles[o.name]
	case "communities":
		v = l.peering.Communities[o.name]
	}
	return v.Refused, v.Warning
}

// writeConfig hands the patch of an object's status to the publisher.
func (t *tenure) writeConfig(p patch, to target, before []v1.Condition, now v1.Condition) {
	if p.empty() {
		t.publisher.drop(to)
		return
	}
	client := t.c.clients.metallb
	if to.kind == "bgppeers" {
		client = t.c.clients.metallb2
	}
	w, err := p.write(client, to, 0)
	if err != nil {
		t.c.Log.Error("a write could not be put together", "kind", to.kind, "object", to.name.String(), "err", err)
		return
	}
	w.sent = func(answer runtime.Object) {
		t.c.store(to.kind).answered(answer)
		old := conditionOf(before, now.Type)
		if (old == nil || old.Message != now.Message) && now.Reason != "Accepted" {
			t.c.Log.Warn("an object is not in use as it stands", "kind", to.kind, "object", to.name.String(), "reason", now.Reason, "message", now.Message)
		}
	}
	t.publisher.put(w)
}
