package bfd

import (
	"cmp"
	"slices"
)

// report tells all. It is made anew each time that somebody asks, so that the loop
// keeps nothing that others read.
func (l *loop) report() report {
	r := report{dropped: l.dropped}
	for _, s := range l.sessions {
		r.sessions = append(r.sessions, s.status())
	}
	for k, refused := range l.refused {
		if l.sessions[k] == nil {
			r.sessions = append(r.sessions, refused)
		}
	}
	for i, st := range r.sessions {
		if refused, is := l.refused[st.Key()]; is {
			r.sessions[i].Trouble = refused.Trouble
		}
	}
	slices.SortFunc(r.sessions, func(a, b Status) int {
		k, o := a.Key(), b.Key()
		multihop := 0
		if k.Multihop != o.Multihop {
			if multihop = 1; o.Multihop {
				multihop = -1
			}
		}
		return cmp.Or(k.Peer.Compare(o.Peer), cmp.Compare(k.Device, o.Device), multihop)
	})
	return r
}

func (s *session) status() Status {
	m := &s.m
	st := Status{Session: s.want, State: m.state, Since: m.since, Reason: m.reason, Trouble: cmp.Or(s.trouble, s.sendTrouble, s.turnedAway()),
		LocalDiscr: m.discr, RemoteDiscr: m.remote.discr, RemoteState: m.remote.state,
		Local: m.diag, Remote: m.remote.diag, TransmitEvery: m.every,
		PacketsIn: s.in, PacketsOut: s.out, SendErrors: s.failed, Dropped: counted(&s.dropped), Ups: m.ups, Downs: m.downs}
	if m.remote.discr != 0 {
		st.DetectAfter = m.detect()
		st.RemoteTransmit, st.RemoteReceive, st.RemoteMultiplier = m.remote.desiredTx, m.remote.requiredRx, m.remote.multiplier
	}
	return st
}
