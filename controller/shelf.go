package controller

import "k8s.io/apimachinery/pkg/util/resourceversion"

// A shelf is the belief about one kind. Its methods are called under the
// belief's lock.
type shelf[F any] struct {
	kind   string
	seen   string // every change up to this resourceVersion has been delivered
	newest string // the highest resourceVersion that was ever taken, since the last beginning
	begun  int    // how often the versions were forgotten
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

// older tells whether version a is certainly older than b: no if they cannot be
// compared.
func older(a, b string) bool {
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && c < 0
}

// delivered takes an object from the watch, or its end; fact is nil when it does
// not matter to us any more.
func (s *shelf[F]) delivered(n name, version string, fact *F) {
	if !after(version, s.seen) {
		return // known from a later list
	}
	s.saw(version)
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
	s.note(version)
	s.put(n, version, fact)
}

// listed takes a whole list. It tells whether the list proves that versions have
// gone back: it is not older than what it holds an older version of.
func (s *shelf[F]) listed(version string, list map[name]item[F]) (back bool) {
	if older(version, s.seen) {
		return false // an older list, from a copy of the API that lags
	}
	for n, old := range s.items {
		if _, ok := list[n]; !ok && !older(version, old.version) {
			s.put(n, version, nil)
		}
	}
	for n, i := range list {
		old, ok := s.items[n]
		switch {
		case !ok || after(i.version, old.version):
			s.put(n, i.version, &i.fact)
		case older(i.version, old.version) && !older(version, old.version):
			back = true
			s.put(n, i.version, &i.fact)
		}
	}
	s.saw(version)
	return back
}

// begin takes a whole list in place of everything that was believed, whatever the
// versions: what is not in the list is gone, and what is older counts. Only what
// differs by same is told.
func (s *shelf[F]) begin(version string, list map[name]item[F], same func(a, b F) bool) {
	s.begun++
	s.seen, s.newest = version, version
	for n := range s.items {
		if _, ok := list[n]; !ok {
			s.put(n, version, nil)
		}
	}
	for n, i := range list {
		if old, ok := s.items[n]; !ok || old.version != i.version || !same(old.fact, i.fact) {
			s.put(n, i.version, &i.fact)
		}
	}
}

// saw: every change up to the version has been delivered.
func (s *shelf[F]) saw(version string) {
	s.seen = version
	s.note(version)
}

func (s *shelf[F]) note(version string) {
	if !older(version, s.newest) {
		s.newest = version
	}
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
