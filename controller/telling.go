package controller

import (
	"hash/maphash"
	"time"
)

// The limits of client-go's recorder: so much may be said of one object.
const (
	similarLimit  = 10               // Events of one reason that differ in their text, before they are written as one
	similarPeriod = 10 * time.Minute // after which, if nothing more is said, they are forgotten
	eventBurst    = 25               // Events of one type, Normal or Warning, that may come at once
	eventRefill   = 5 * time.Minute  // in which one more may
	objectsTold   = 4096             // of so many objects it is known what was said
)

// combined is what the text begins with of an Event that stands for several.
const combined = "(combined from similar events): "

var textSeed = maphash.MakeSeed()

// tellings are what was said of each object.
type tellings map[about]*telling

// A telling is what was said of one object by this copy. The same again is counted on
// the Event that said it. Where one reason is given with more than a few texts within
// a time, the others are one Event, with the latest text. And of either type no more is
// said than a bucket of tokens allows.
type telling struct {
	uid    string
	last   time.Time
	spends [2]bucket // Normal, Warning
	series map[saying]*series
}

// A bucket says how much may be said.
type bucket struct {
	left float64
	at   time.Time
}

// A series is what was said of one object for one reason.
type series struct {
	last     time.Time
	said     map[uint64]*said // by the hash of the text
	combined said
}

// said is an Event that was written; name is "" before it is.
type said struct {
	name  string
	count int
}

// of returns what was said of an object. One of the same name is another object.
func (all tellings) of(o about, uid string, now time.Time) *telling {
	t := all[o]
	if t == nil || t.uid != uid {
		if t == nil && len(all) >= objectsTold {
			all.forget(now)
		}
		t = &telling{uid: uid, series: map[saying]*series{}}
		for i := range t.spends {
			t.spends[i] = bucket{eventBurst, now}
		}
		all[o] = t
	}
	t.last = now
	return t
}

// forget makes room: what was said longest ago matters least.
func (all tellings) forget(now time.Time) {
	for period := similarPeriod; len(all) >= objectsTold*3/4; period /= 2 {
		for o, t := range all {
			if now.Sub(t.last) >= period {
				delete(all, o)
			}
		}
	}
}

func kind(warning bool) int {
	if warning {
		return 1
	}
	return 0
}

// affords tells whether something more may be said.
func (t *telling) affords(warning bool, now time.Time) bool {
	b := &t.spends[kind(warning)]
	b.left = min(b.left+float64(now.Sub(b.at))/float64(eventRefill), eventBurst)
	b.at = now
	return b.left >= 1
}

// spent notes that something was said.
func (t *telling) spent(warning bool) { t.spends[kind(warning)].left-- }

// said returns the text with which something is to be said, and what is known of the
// Event that says it.
func (t *telling) said(what saying, now time.Time) (text string, event *said) {
	for k, s := range t.series {
		if now.Sub(s.last) > similarPeriod {
			delete(t.series, k)
		}
	}
	key := saying{warning: what.warning, reason: what.reason}
	s := t.series[key]
	if s == nil {
		s = &series{said: map[uint64]*said{}}
		t.series[key] = s
	}
	s.last = now
	hash := maphash.String(textSeed, what.text)
	if event := s.said[hash]; event != nil {
		return what.text, event
	}
	if len(s.said) >= similarLimit {
		return combined + what.text, &s.combined
	}
	event = &said{}
	s.said[hash] = event
	return what.text, event
}
