package bfd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// session is a machine and what it needs to speak.
type session struct {
	want     Session
	m        machine
	listener *listener
	sender   sender
	index    uint32 // of want.Interface; 0: none is named, or it is not there

	wake time.Time
	at   int // in the heap; -1: not there

	in, out, failed uint64
	dropped         [drops]uint64
	trouble         string // why it is not open
	sendTrouble     string // of the newest packet
	turned          drop   // why the newest packet of the peer was not admitted; taken: it was
	turnedTTL       int
	warned          string // last
}

// open tells that the session can hear and speak.
func (s *session) open() bool { return s.trouble == "" }

func (s *session) close() { s.sender.close() }

// set makes the sessions those that are wanted.
func (l *loop) set(wanted []Session) {
	now := time.Now()
	named := map[Key]bool{}
	refused := map[Key]Status{}
	for _, w := range wanted {
		k := w.Key()
		if named[k] {
			continue
		}
		named[k] = true
		if err := w.Check(); err != nil {
			refused[k] = l.refuse(k, w, err, now)
			continue
		}
		l.want(w.complete(), now)
	}
	l.refused = refused
	for k, s := range l.sessions {
		if !named[k] {
			l.retire(s, now)
		}
	}
}

// refuse tells, once, that there can be no such session.
func (l *loop) refuse(k Key, w Session, err error, now time.Time) Status {
	st := Status{Session: w, State: Down, Since: now, Reason: "refused", Trouble: err.Error(), RemoteState: Down}
	if was, is := l.refused[k]; is && was.Trouble == st.Trouble {
		return was
	}
	l.say(func() { l.config.Log.Warn("BFD session refused", "peer", w.Peer, "error", err) })
	return st
}

// want makes a session, or changes the one that there is.
func (l *loop) want(w Session, now time.Time) {
	s := l.sessions[w.Key()]
	if s != nil && s.want.Local != w.Local { // for the peer it is another session
		l.retire(s, now)
		s = nil
	}
	if s != nil {
		s.want = w
		l.equip(s)
		l.do(s, s.m.reprofile(w.Profile, now), now)
		l.schedule(s, now)
		return
	}
	i := slices.IndexFunc(l.leaving, func(s *session) bool { return s.want.Key() == w.Key() && s.want.Local == w.Local })
	if i >= 0 {
		s = l.leaving[i]
		l.leaving = slices.Delete(l.leaving, i, i+1)
		s.want = w
	} else {
		s = &session{want: w, at: -1, m: newMachine(w.Profile, l.discriminator(), rand.Uint64(), now)}
		l.byDiscr[s.m.discr] = s
		l.hurry()
	}
	l.sessions[w.Key()] = s
	l.byPeer[w.Peer.WithZone("")] = append(l.byPeer[w.Peer.WithZone("")], s)
	l.equip(s)
	if i >= 0 {
		l.do(s, s.m.revive(w.Profile, now), now)
	} else {
		l.do(s, step{moved: true, from: AdminDown, to: Down, reason: s.m.reason, peer: s.m.remote}, now)
	}
	l.schedule(s, now)
}

// retire lets a session go that is no longer wanted.
func (l *loop) retire(s *session, now time.Time) {
	peer := s.want.Peer.WithZone("")
	delete(l.sessions, s.want.Key())
	l.byPeer[peer] = slices.DeleteFunc(l.byPeer[peer], func(o *session) bool { return o == s })
	if len(l.byPeer[peer]) == 0 {
		delete(l.byPeer, peer)
	}
	l.leaving = append(l.leaving, s)
	l.do(s, s.m.retire("no longer wanted", now), now)
	l.schedule(s, now)
}

// remove forgets a session that has left.
func (l *loop) remove(s *session) {
	l.timers.remove(s)
	l.leaving = slices.DeleteFunc(l.leaving, func(o *session) bool { return o == s })
	delete(l.byDiscr, s.m.discr)
	delete(l.ports, s.sender.port)
	s.close()
	l.release(s)
}

// maintain opens what could not be opened, and looks whether interfaces are still those
// that they were.
func (l *loop) maintain(now time.Time) {
	l.upkeepAt = now.Add(upkeep)
	for _, s := range l.byDiscr {
		l.equip(s)
	}
}

// equip gives a session what it needs to hear and speak, as far as it is there.
func (l *loop) equip(s *session) {
	s.trouble = ""
	if err := l.tryEquip(s); err != nil {
		s.trouble = err.Error()
		l.warn(s, s.trouble)
	}
}

func (l *loop) tryEquip(s *session) error {
	w := &s.want
	if s.index = interfaceIndex(w.Interface); w.Interface != "" && s.index == 0 {
		return fmt.Errorf("there is no interface %s: name one that the node has", w.Interface)
	}
	device := interfaceIndex(w.Device)
	if w.Device != "" && device == 0 {
		return fmt.Errorf("there is no VRF device %s: name one that the node has", w.Device)
	}
	if err := l.listen(s, device); err != nil {
		return err
	}
	if s.sender.ready && s.sender.device == device {
		s.sender.aim(w.Peer, l.port(w.Multihop), s.index)
		return nil
	}
	s.close()
	if err := l.openSender(s, device); err != nil {
		return err
	}
	s.sender.aim(w.Peer, l.port(w.Multihop), s.index)
	return nil
}

// openSender opens the socket of a session, on the port that it had if it had one.
func (l *loop) openSender(s *session, device uint32) error {
	const first, ports, attempts = 49152, 1 << 14, 64 // RFC 5881 §4
	for attempt := 0; ; attempt++ {
		port := s.sender.port
		if port == 0 || attempt > 0 {
			port = first + uint16(rand.IntN(ports))
			if l.ports[port] {
				continue
			}
		}
		fd, err := newSender(s.want, port, s.index)
		switch {
		case err == nil:
			delete(l.ports, s.sender.port)
			l.ports[port] = true
			s.sender = sender{ready: true, fd: fd, port: port, device: device}
			return nil
		case errors.Is(err, unix.EADDRNOTAVAIL):
			return fmt.Errorf("speaking from %v: the node has no such address: name one that it has (%w)", s.want.Local, err)
		case !errors.Is(err, unix.EADDRINUSE) || attempt >= attempts:
			return fmt.Errorf("opening a socket to %v: %w", s.want.Peer, err)
		}
	}
}

func (l *loop) port(multihop bool) uint16 {
	if multihop {
		return l.config.MultihopPort
	}
	return l.config.Port
}

// send sends one packet, if the session can speak.
func (l *loop) send(s *session, p packet) {
	if !s.open() {
		return
	}
	if err := s.sender.send(p); err != nil {
		s.failed++
		if text := err.Error(); text != s.sendTrouble {
			s.sendTrouble = text
			l.warn(s, text)
		}
		return
	}
	s.out++
	s.sendTrouble = ""
}

// warn logs why a session cannot work, once in a row.
func (l *loop) warn(s *session, trouble string) {
	if trouble == s.warned {
		return
	}
	s.warned = trouble
	peer := s.want.Peer
	l.say(func() { l.config.Log.Warn("BFD session cannot work", "peer", peer, "error", trouble) })
}
