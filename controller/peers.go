package controller

import (
	"reflect"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

// peer resolves what is written about BGP, when something of it is another than
// before: it tells the sessions of this node, and adds what became of the
// advertisements to the changes. Who plans learns it through the belief. An
// advertisement that came to be refused stays as it was in use, for as long as this
// process lives: what it was is written nowhere else.
func (l *round) peer(changes *changes) {
	if l.peering != nil && !changes.peering {
		return
	}
	first, was := l.peering == nil, map[string]allocator.BGPAdvertisement{}
	if !first {
		for _, a := range l.peering.Advertisements {
			was[a.Name] = a
		}
	}
	facts, state := l.c.belief.written()
	facts.Before = l.peering
	l.peering = peering.Resolve(facts)
	var became []allocator.Change
	for _, a := range l.peering.Advertisements {
		if old, ok := was[a.Name]; !ok || !reflect.DeepEqual(old, a) {
			became = append(became, allocator.PutBGPAdvertisement{BGPAdvertisement: a})
		}
		delete(was, a.Name)
	}
	for n := range was {
		became = append(became, allocator.DropBGPAdvertisement{Name: n})
	}
	changes.facts = append(changes.facts, became...)
	l.c.belief.resolve(l.feed, l.peering, state, became, unusable(facts))
	if sessions := l.peering.Sessions(l.c.Node); first || !reflect.DeepEqual(sessions, l.sessions) {
		l.sessions = sessions
		if l.c.Config.Sessions != nil {
			l.c.Config.Sessions(sessions)
		}
	}
}

// unusable names the Secrets that peers name and that hold no password.
func unusable(f peering.Facts) (names []string) {
	usable := map[string]bool{}
	for _, s := range f.Secrets {
		usable[s.Name] = s.Type == peering.SecretType
	}
	for _, p := range f.Peers {
		if n := p.PasswordSecret; n != "" && !usable[n] {
			names = append(names, n)
		}
	}
	return names
}
