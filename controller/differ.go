package controller

import (
	"maps"
	"reflect"
	"slices"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// This file notes, for the readers of the belief, what became of an object that is
// believed anew. Nothing is noted of one of which all is as it was that matters.

// factDiffers notes the change of one fact.
func (b *belief) factDiffers(key any, fact allocator.Change) {
	b.note(func(c *changes) { c.add(key, fact) })
}

func (b *belief) configsDiffer() { b.note(func(c *changes) { c.configs = true }) }

func (b *belief) serviceDiffers(n name, was, now **service) {
	var before, after *service
	if was != nil {
		before = *was
	}
	if now != nil {
		after = *now
	}
	if before.ours() {
		b.ours--
	}
	if after.ours() {
		b.ours++
	}
	b.noteService(n, after)
	b.serviceUses(n, after)
	if before.ours() != after.ours() {
		b.endpoints.turns(n, after.ours())
	}
	switch {
	case after == nil || after.fact == nil:
		if before == nil || before.fact != nil {
			b.factDiffers(n, allocator.DropService{Name: n})
		}
	case before == nil || before.fact == nil || !reflect.DeepEqual(before.fact, after.fact):
		b.factDiffers(n, allocator.PutService{Service: *after.fact})
	}
}

func (b *belief) poolDiffers(n name, was, now **pool) {
	b.configsDiffer()
	if was == nil || now == nil || !maps.Equal((*was).fact.Labels, (*now).fact.Labels) || !slices.Equal((*was).fact.Addresses, (*now).fact.Addresses) {
		b.peeringDiffers()
	}
	if now == nil {
		b.factDiffers(changed{"pool", n}, allocator.DropPool{Name: n.Name})
		return
	}
	b.factDiffers(changed{"pool", n}, allocator.PutPool{Pool: (*now).fact})
}

func (b *belief) advertisementDiffers(n name, _, now **advertisement) {
	b.configsDiffer()
	if now == nil || (*now).refused != nil {
		b.factDiffers(changed{"advertisement", n}, allocator.DropAdvertisement{Name: n.Name})
		return
	}
	b.factDiffers(changed{"advertisement", n}, allocator.PutAdvertisement{Advertisement: (*now).fact})
}

func (b *belief) nodeDiffers(n name, was, now *allocator.Node) {
	if was != nil && now != nil && reflect.DeepEqual(was, now) {
		return // the kubelet says every few minutes that it lives
	}
	b.note(func(c *changes) { c.configs, c.nodes = true, true })
	if was == nil || now == nil || !maps.Equal(was.Labels, now.Labels) || !slices.Equal(was.Addresses, now.Addresses) {
		b.peeringDiffers()
	}
	if now == nil {
		b.factDiffers(changed{"node", n}, allocator.DropNode{Name: n.Name})
		return
	}
	b.factDiffers(changed{"node", n}, allocator.PutNode{Node: *now})
}

func (b *belief) namespaceDiffers(n name, was, now *allocator.Namespace) {
	if was != nil && now != nil && reflect.DeepEqual(was, now) {
		return
	}
	b.configsDiffer()
	if now == nil {
		b.factDiffers(changed{"namespace", n}, allocator.DropNamespace{Name: n.Name})
		return
	}
	b.factDiffers(changed{"namespace", n}, allocator.PutNamespace{Namespace: *now})
}

func (b *belief) passwordDiffers(_ name, was, now *peering.Secret) {
	if !reflect.DeepEqual(was, now) {
		b.peeringDiffers()
		b.configsDiffer()
	}
}

// mattersFor tells whether the endpoints of a Service matter: whether it is ours.
func (b *belief) mattersFor(service name) bool {
	i, ok := b.services.items[service]
	return ok && i.fact.ours()
}

// changed is the key of a change of any other object.
type changed struct {
	kind string
	name name
}
