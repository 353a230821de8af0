package controller

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// configs publishes the status of pools, advertisements and the objects about BGP,
// when they may differ and it was not done just before: of all, or, where nothing but
// who sits on which address is another, how full the pools are. It returns when it is
// to be called again.
func (t *tenure) configs(changes changes, now time.Time) time.Time {
	t.configsDiffer = t.configsDiffer || changes.configs
	if !t.configsDiffer && !t.usesDiffer {
		return time.Time{}
	}
	if due := t.configsLooked.Add(statusPause); now.Before(due) {
		return due
	}
	all := t.configsDiffer
	objects, resolved, newer := t.c.belief.configs(t.feed, all)
	if newer { // the next step is about to be made
		return now
	}
	t.configsLooked = now
	uses := t.snapshot.Uses()
	t.c.stats.count(func(s *Stats) { s.Pools = uses })
	t.configsDiffer, t.usesDiffer = all && !resolved, false
	present := map[target]bool{}
	for _, o := range objects {
		to := target{o.kind, name{Namespace: t.c.Namespace, Name: o.name}}
		present[to] = true
		if o.bgp && !resolved {
			continue
		}
		t.writeConfig(&o, to, uses, now)
	}
	if all {
		for to := range t.objects {
			if !present[to] {
				t.publisher.drop(to)
			}
		}
		t.objects = present
	}
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

// configs returns what is believed of the pools or, if it is to, of all of them. It
// tells whether what is written about BGP is what was resolved last, and whether one
// of the objects is newer than what the reader of the feed has taken: a verdict on the
// version before must not be written on it.
func (b *belief) configs(f *feed, whole bool) (all []configObject, resolved, newer bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	resolved, newer = b.peeringState == b.resolvedState, f.newer()
	for _, p := range b.pools.items {
		all = append(all, configObject{b.pools.kind, &p.fact.object, p.fact.status.Conditions, p.fact, false})
	}
	if !whole {
		return all, resolved, newer
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
	return appendWritten(all, b.communities), resolved, newer
}

func appendWritten[F any](all []configObject, s *shelf[*written[F]]) []configObject {
	for _, w := range s.items {
		all = append(all, configObject{s.kind, &w.fact.object, w.fact.conditions, nil, true})
	}
	return all
}

// judged says why the object is refused, and what of it is not in use.
func (o *configObject) judged(s *allocator.Snapshot, p *peering.Plan) (refused, warning error) {
	var v peering.Verdict
	switch o.kind {
	case "ipaddresspools":
		return s.PoolError(o.name), s.PoolWarning(o.name)
	case "l2advertisements":
		return nil, s.AdvertisementError(o.name)
	case "bgppeers":
		v = p.Peers[o.name]
	case "bgpadvertisements":
		v = p.AdvertisementVerdicts[o.name]
		v.Warning = errors.Join(v.Warning, s.BGPAdvertisementError(o.name))
	case "bfdprofiles":
		v = p.Profiles[o.name]
	case "communities":
		v = p.Communities[o.name]
	}
	return v.Refused, v.Warning
}

// writeConfig hands the patch of an object's status to the publisher.
func (t *tenure) writeConfig(o *configObject, to target, uses map[string]allocator.Use, now time.Time) {
	refused, warning := o.judged(t.snapshot, t.peering)
	accepted := acceptedCondition(o.object, refused, warning)
	accepted.Message = cut(accepted.Message, conditionLimit)
	p := configPatch(o.object, o.conditions, accepted, now)
	if o.pool != nil {
		p.count(o.pool, uses[o.name])
	}
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
	w.urgency = reports
	before := o.conditions
	w.sent = func(answer runtime.Object) {
		t.c.store(to.kind).answered(answer)
		old := conditionOf(before, accepted.Type)
		if (old == nil || old.Message != accepted.Message) && accepted.Reason != "Accepted" {
			t.c.Log.Warn("an object is not in use as it stands", "kind", to.kind, "object", to.name.String(), "reason", accepted.Reason, "message", accepted.Message)
		}
	}
	t.publisher.put(w)
}
