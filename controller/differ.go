package controller

import (
	"maps"
	"reflect"
	"slices"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// This file notes, for the loop, what became of an object that is believed anew.

func (b *belief) serviceDiffers(n name, was, now **service) {
	if mattered, matters := was != nil && (*was).ours(), now != nil && (*now).ours(); mattered != matters {
		b.endpoints.turns(n, matters)
	}
	if now == nil {
		b.changes.services[n] = nil
		b.changes.add(n, allocator.DropService{Name: n})
		return
	}
	b.changes.services[n] = *now
	if (*now).fact == nil {
		b.changes.add(n, allocator.DropService{Name: n})
		return
	}
	b.changes.add(n, allocator.PutService{Service: *(*now).fact})
}

func (b *belief) poolDiffers(n name, was, now **pool) {
	b.changes.configs = true
	if was == nil || now == nil || !maps.Equal((*was).fact.Labels, (*now).fact.Labels) || !slices.Equal((*was).fact.Addresses, (*now).fact.Addresses) {
		b.changes.peering = true
	}
	if now == nil {
		b.changes.add(changed{"pool", n}, allocator.DropPool{Name: n.Name})
		return
	}
	b.changes.add(changed{"pool", n}, allocator.PutPool{Pool: (*now).fact})
}

func (b *belief) advertisementDiffers(n name, _, now **advertisement) {
	b.changes.configs = true
	if now == nil || (*now).refused != nil {
		b.changes.add(changed{"advertisement", n}, allocator.DropAdvertisement{Name: n.Name})
		return
	}
	b.changes.add(changed{"advertisement", n}, allocator.PutAdvertisement{Advertisement: (*now).fact})
}

func (b *belief) nodeDiffers(n name, was, now *allocator.Node) {
	b.changes.configs, b.changes.nodes = true, true
	if was == nil || now == nil || !maps.Equal(was.Labels, now.Labels) || !slices.Equal(was.Addresses, now.Addresses) {
		b.changes.peering = true
	}
	if now == nil {
		b.changes.add(changed{"node", n}, allocator.DropNode{Name: n.Name})
		return
	}
	b.changes.add(changed{"node", n}, allocator.PutNode{Node: *now})
}

func (b *belief) namespaceDiffers(n name, _, now *allocator.Namespace) {
	b.changes.configs = true
	if now == nil {
		b.changes.add(changed{"namespace", n}, allocator.DropNamespace{Name: n.Name})
		return
	}
	b.changes.add(changed{"namespace", n}, allocator.PutNamespace{Namespace: *now})
}

func (b *belief) passwordDiffers(_ name, was, now *peering.Secret) {
	if !reflect.DeepEqual(was, now) {
		b.changes.peering, b.changes.configs = true, true
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
