package controller

import "strings"

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
