package controller

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"strings"

	"holdfast.dev/holdfast/allocator"
)

const slicesKind = "endpointslices"

// A sliceShelf is the belief about EndpointSlices. A cluster has a hundred times as
// many as matter, and which ones do can change at any time: those of a Service that
// becomes ours. So all are kept, in a few octets each, and only those of Services that
// matter become facts for the allocator. Nothing has to be asked of the API when a
// Service comes to matter, so nothing waits for it.
//
// Its methods are called under the belief's lock. A version of each slice is not
// needed: only one watch delivers them, in order, and nobody here writes them.
type sliceShelf struct {
	seen    string                               // every change up to this resourceVersion has been delivered
	begun   int                                  // how often the versions were forgotten
	matters func(service name) bool              // tells whether the endpoints of a Service are facts
	add     func(key any, fact allocator.Change) // takes the facts that differ

	hash    func(name) uint64
	records []sliceRecord     // the first is none
	unused  []uint32          // of the records
	named   map[uint64]uint32 // by the hash of the name: the first record
	of      map[uint64]uint32 // by the hash of the Service's name: likewise
	words   words             // names of nodes and namespaces
}

// A sliceRecord is one slice. Records of which a hash is the same are a list each.
type sliceRecord struct {
	text              string // see sliceShelf.encode
	nextNamed, nextOf uint32 // 0: it is the last
}

// A sliceFact is what matters of one EndpointSlice.
type sliceFact struct {
	name    name
	service name
	nodes   []allocator.NodeEndpoints
	servers []netip.Addr // API servers that it names
}

// sliceKey is the key of a change of endpoints. The allocator keeps a slice with its
// Service: one whose label came to name another Service is dropped from the old.
type sliceKey struct{ of, slice name }

func newSliceShelf(matters func(name) bool, add func(any, allocator.Change)) *sliceShelf {
	seed := maphash.MakeSeed()
	return &sliceShelf{
		matters: matters, add: add, hash: func(n name) uint64 { return maphash.Comparable(seed, n) }, records: make([]sliceRecord, 1),
		named: map[uint64]uint32{}, of: map[uint64]uint32{}, words: newWords(),
	}
}

// put believes in a slice as it is now, and returns where it is.
func (s *sliceShelf) put(f sliceFact) uint32 {
	at, text := s.find(f.name), s.encode(f)
	switch old := s.records[at].text; {
	case at == 0:
		at = s.take()
		s.link(at, f)
	case old == text:
		s.release(text) // it was held twice
		return at
	default:
		before := s.decode(old)
		s.release(old)
		if before.service != f.service {
			s.unlinkOf(at, before.service)
			s.linkOf(at, f.service)
			s.gone(before)
		}
	}
	s.records[at].text = text
	if s.matters(f.service) {
		s.tell(f)
	}
	return at
}

// remove believes that a slice is gone.
func (s *sliceShelf) remove(at uint32) {
	if at == 0 {
		return
	}
	f := s.decode(s.records[at].text)
	s.gone(f)
	s.unlinkOf(at, f.service)
	unlink(s.named, s.hash(f.name), at, func(i uint32) *uint32 { return &s.records[i].nextNamed })
	s.release(s.records[at].text)
	s.records[at] = sliceRecord{}
	s.unused = append(s.unused, at)
}

// delivered takes a slice from the watch; one of no Service is one that is gone.
func (s *sliceShelf) delivered(version string, f sliceFact) {
	if !after(version, s.seen) {
		return // known from a later list
	}
	s.seen = version
	if f.service == (name{}) {
		s.remove(s.find(f.name))
	} else {
		s.put(f)
	}
}

// begin believes in a whole list, whatever the versions.
func (s *sliceShelf) begin(version string, list []sliceFact) {
	s.begun++
	s.seen = ""
	s.listed(version, list)
}

// listed believes in a whole list.
func (s *sliceShelf) listed(version string, list []sliceFact) {
	if older(version, s.seen) {
		return // an older list, from a copy of the API that lags
	}
	there := make([]bool, len(s.records), len(s.records)+len(list))
	for i := range list {
		at := s.put(list[i])
		for int(at) >= len(there) {
			there = append(there, false)
		}
		there[at] = true
	}
	for i := range s.records {
		if s.records[i].text != "" && !there[i] {
			s.remove(uint32(i))
		}
	}
	s.seen = version
}

// turns tells the facts about a Service that has come to matter, or matters no more.
func (s *sliceShelf) turns(service name, matters bool) {
	for f := range s.all(service) {
		if matters {
			s.tell(f)
		} else {
			s.add(sliceKey{service, f.name}, allocator.DropEndpoints{Service: service, Slice: f.name.Name})
		}
	}
}

// facts are those about a Service.
func (s *sliceShelf) facts(service name, to []allocator.Endpoints) []allocator.Endpoints {
	for f := range s.all(service) {
		to = append(to, f.fact())
	}
	return to
}

func (f *sliceFact) fact() allocator.Endpoints {
	return allocator.Endpoints{Service: f.service, Slice: f.name.Name, Nodes: f.nodes}
}

func (s *sliceShelf) tell(f sliceFact) {
	s.add(sliceKey{f.service, f.name}, allocator.PutEndpoints{Endpoints: f.fact()})
}

func (s *sliceShelf) gone(f sliceFact) {
	if s.matters(f.service) {
		s.add(sliceKey{f.service, f.name}, allocator.DropEndpoints{Service: f.service, Slice: f.name.Name})
	}
}

// find returns where a slice is; 0: nowhere.
func (s *sliceShelf) find(n name) uint32 {
	for i := s.named[s.hash(n)]; i != 0; i = s.records[i].nextNamed {
		if s.decodeName(s.records[i].text) == n {
			return i
		}
	}
	return 0
}

// all are the slices of a Service.
func (s *sliceShelf) all(service name) func(yield func(sliceFact) bool) {
	return func(yield func(sliceFact) bool) {
		for i := s.of[s.hash(service)]; i != 0; i = s.records[i].nextOf {
			if f := s.decode(s.records[i].text); f.service == service && !yield(f) {
				return
			}
		}
	}
}

// take returns a record that is not in use.
func (s *sliceShelf) take() uint32 {
	if last := len(s.unused) - 1; last >= 0 {
		at := s.unused[last]
		s.unused = s.unused[:last]
		return at
	}
	s.records = append(s.records, sliceRecord{})
	return uint32(len(s.records) - 1)
}

func (s *sliceShelf) link(at uint32, f sliceFact) {
	h := s.hash(f.name)
	s.records[at].nextNamed, s.named[h] = s.named[h], at
	s.linkOf(at, f.service)
}

func (s *sliceShelf) linkOf(at uint32, service name) {
	h := s.hash(service)
	s.records[at].nextOf, s.of[h] = s.of[h], at
}

func (s *sliceShelf) unlinkOf(at uint32, service name) {
	unlink(s.of, s.hash(service), at, func(i uint32) *uint32 { return &s.records[i].nextOf })
}

// unlink takes a record out of a list.
func unlink(first map[uint64]uint32, hash uint64, at uint32, next func(uint32) *uint32) {
	if first[hash] == at {
		if first[hash] = *next(at); first[hash] == 0 {
			delete(first, hash)
		}
		return
	}
	for i := first[hash]; i != 0; i = *next(i) {
		if *next(i) == at {
			*next(i) = *next(at)
			return
		}
	}
}

// encode writes a slice as: namespace (its number in words), name, how many octets
// of the name the Service's begins with, its other octets, then for each node its
// number in words and the counts. Strings come after their lengths. The words are
// held until the text is released.
func (s *sliceShelf) encode(f sliceFact) string {
	b := make([]byte, 0, 128)
	b = binary.AppendUvarint(b, uint64(s.words.hold(f.name.Namespace)))
	b = binary.AppendUvarint(b, uint64(len(f.name.Name)))
	b = append(b, f.name.Name...)
	same := 0
	for same < min(len(f.name.Name), len(f.service.Name)) && f.name.Name[same] == f.service.Name[same] {
		same++
	}
	b = binary.AppendUvarint(b, uint64(same))
	b = binary.AppendUvarint(b, uint64(len(f.service.Name)-same))
	b = append(b, f.service.Name[same:]...)
	for _, n := range f.nodes {
		b = binary.AppendUvarint(b, uint64(s.words.hold(n.Node)))
		b = binary.AppendUvarint(b, uint64(n.Ready))
		b = binary.AppendUvarint(b, uint64(n.Terminating))
	}
	return string(b)
}

func (s *sliceShelf) decode(text string) (f sliceFact) {
	r := sliceReader(text)
	f.name, f.service = s.names(&r)
	for rest := r; rest != ""; {
		f.nodes = append(f.nodes, allocator.NodeEndpoints{
			Node: s.words.text(uint32(rest.number())), Ready: rest.number(), Terminating: rest.number(),
		})
	}
	return f
}

func (s *sliceShelf) decodeName(text string) name {
	r := sliceReader(text)
	return name{Namespace: s.words.text(uint32(r.number())), Name: r.string(r.number())}
}

func (s *sliceShelf) names(r *sliceReader) (slice, service name) {
	slice.Namespace = s.words.text(uint32(r.number()))
	slice.Name = r.string(r.number())
	same := r.number()
	service = name{Namespace: slice.Namespace, Name: slice.Name[:same]}
	if more := r.string(r.number()); more != "" {
		service.Name = strings.Clone(slice.Name[:same]) + more
	}
	return slice, service
}

// release lets the words of a text go.
func (s *sliceShelf) release(text string) {
	r := sliceReader(text)
	s.words.release(uint32(r.number()))
	r.string(r.number())
	r.number()
	r.string(r.number())
	for r != "" {
		s.words.release(uint32(r.number()))
		r.number()
		r.number()
	}
}

// A sliceReader is what is left to read of a text.
type sliceReader string

func (r *sliceReader) number() int {
	var n uint64
	for i := 0; ; i++ {
		b := (*r)[i]
		if n |= uint64(b&0x7f) << (7 * i); b < 0x80 {
			*r = (*r)[i+1:]
			return int(n)
		}
	}
}

func (r *sliceReader) string(length int) string {
	text := string((*r)[:length])
	*r = (*r)[length:]
	return text
}

// words numbers the names that many slices have in common.
type words struct {
	number map[string]uint32
	list   []word
	unused []uint32
}

type word struct {
	text string
	uses int
}

func newWords() words { return words{number: map[string]uint32{}} }

// hold returns the number of a word, which stays while it is held.
func (w *words) hold(text string) uint32 {
	at, ok := w.number[text]
	switch last := len(w.unused) - 1; {
	case ok:
	case last >= 0:
		at, w.unused = w.unused[last], w.unused[:last]
	default:
		at = uint32(len(w.list))
		w.list = append(w.list, word{})
	}
	if !ok {
		text = strings.Clone(text) // what it was a part of is not kept alive
		w.number[text], w.list[at].text = at, text
	}
	w.list[at].uses++
	return at
}

func (w *words) text(at uint32) string { return w.list[at].text }

func (w *words) release(at uint32) {
	if w.list[at].uses--; w.list[at].uses == 0 {
		delete(w.number, w.list[at].text)
		w.list[at].text = ""
		w.unused = append(w.unused, at)
	}
}
