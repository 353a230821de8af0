package controller

import "holdfast.dev/holdfast/allocator"

// This file notes, for the loop, what became of an object that is believed anew.

func (b *belief) serviceDiffers(n name, _, now **service) {
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

func (b *belief) poolDiffers(n name, _, now **pool) {
	b.changes.configs = true
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

func (b *belief) nodeDiffers(n name, _, now *allocator.Node) {
	b.changes.configs, b.changes.nodes = true, true
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

// A slice is known by namespace and name, and the allocator keeps it with its
// Service: one whose label came to name another Service is dropped from the old.
func (b *belief) endpointsDiffer(n name, was, now *allocator.Endpoints) {
	type slice struct{ of, slice name }
	if was != nil && (now == nil || now.Service != was.Service) {
		b.changes.add(slice{was.Service, n}, allocator.DropEndpoints{Service: was.Service, Slice: n.Name})
	}
	if now != nil {
		b.changes.add(slice{now.Service, n}, allocator.PutEndpoints{Endpoints: *now})
	}
}

// changed is the key of a change of any other object.
type changed struct {
	kind string
	name name
}
