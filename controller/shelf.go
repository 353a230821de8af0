package controller

import "k8s.io/apimachinery/pkg/util/resourceversion"

// A shelf is the belief about one kind. Its methods are called under the
// belief's lock.
type shelf[F any] struct {
	kind   string
	seen   string // every change up to this resourceVersion has been delivered
	items  map[name]item[F]
	differ func(n name, old, now *F) // called when an object is new (old is nil), changed, or gone (now is nil)
}

type item[F any] struct {
	version string
	fact    F
}

func newShelf[F any](b *belief, kind string, differ func(n name, old, now *F)) *shelf[F] {
	b.waits[kind] = true
	return &shelf[F]{kind: kind, items: map[name]item[F]{}, differ: differ}
}

// after tells whether version a is later than b. Where they cannot be compared
// it answers yes: the latest delivery counts.
func after(a, b string) bool {
	if b == "" {
		return true
	}
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || c > 0
}

// delivered takes an object from the watch, or its end; fact is nil when it does
// not matter to us any more.
func (s *shelf[F]) delivered(n name, version string, fact *F) {
	if !after(version, s.seen) {
		return // known from a later list
	}
	s.seen = version
	if old, ok := s.items[n]; ok && !after(version, old.version) {
		return // known from the answer to a write
	}
	s.put(n, version, fact)
}

// answered takes an object that was the answer to a write of ours.
func (s *shelf[F]) answered(n name, version string, fact *F) {
	if !after(version, s.seen) {
		return // the watch has been there already
	}
	if old, ok := s.items[n]; ok && !after(version, old.version) {
		return
	}
	s.put(n, version, fact)
}

// listed takes a whole list.
func (s *shelf[F]) listed(version string, list map[name]item[F]) {
	if s.seen != "" && after(s.seen, version) {
		return // an older list, from a copy of the API that lags
	}
	for n, old := range s.items {
		if _, ok := list[n]; !ok && !after(old.version, version) {
			s.put(n, version, nil)
		}
	}
	for n, i := range list {
		if old, ok := s.items[n]; !ok || after(i.version, old.version) {
			s.put(n, i.version, &i.fact)
		}
	}
	s.seen = version
}

func (s *shelf[F]) put(n name, version string, fact *F) {
	var was *F
	if old, ok := s.items[n]; ok {
		was = &old.fact
	}
	switch {
	case fact != nil:
		s.items[n] = item[F]{version, *fact}
	case was != nil:
		delete(s.items, n)
	default:
		return
	}
	s.differ(n, was, fact)
}
