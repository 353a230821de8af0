package speaker

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/bgp/bfd"
)

// A SessionChange is what there is to say of a BGP session of this node.
type SessionChange string

// What there is to say.
const (
	SessionUp         SessionChange = "up"         // it is established
	SessionDown       SessionChange = "down"       // it was established, and has ended
	SessionFailing    SessionChange = "failing"    // an attempt did not succeed; more follow
	SessionIncomplete SessionChange = "incomplete" // it is established, and not all is advertised over it
	BFDFailing        SessionChange = "bfd"        // BFD with the router does not work
)

// A SessionNotice says how the session with a peer stands, when that is another than
// before.
type SessionNotice struct {
	Peer   string
	Change SessionChange
	Router netip.Addr // not valid: it has not been found
	AS     uint32     // of the router; with SessionUp
	Reason string     // why; "" with SessionUp
}

const (
	sessionsEvery = 5 * time.Second        // what bgp does not call for is looked at
	sessionsPause = 100 * time.Millisecond // between two looks, so that changes that come together cost one
	// Of one peer so much is said at once, and after that one thing in a while: of a
	// session that flaps what it has come to by then.
	noticesAtOnce = 6
	noticeEvery   = time.Minute
	// bfdWithin is how long BFD may take to come up after BGP.
	bfdWithin = 30 * time.Second
)

// watchSessions tells what changes of the sessions with the routers. It looks at how
// they stand and not at each change: what comes and goes in between is not missed,
// since it is counted, and nobody waits for who is told.
func (s *Speaker) watchSessions(ctx context.Context) {
	tick := time.NewTicker(sessionsEvery)
	defer tick.Stop()
	r := rapporteur{}
	var before []Hearer
	for {
		all := s.bgp.Status()
		if now := hearers(all); !slices.Equal(now, before) && s.advertising != nil {
			before = now
			s.advertising()
		}
		for _, n := range r.look(time.Now(), all) {
			s.session(n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.turned:
			select {
			case <-ctx.Done():
				return
			case <-time.After(sessionsPause):
			}
		}
	}
}

// A Hearer is a BGP peer whose session is established, and for which families.
type Hearer struct {
	Name       string
	IPv4, IPv6 bool
}

// Hearers returns the peers that hear what this node advertises.
func (s *Speaker) Hearers() []Hearer { return hearers(s.bgp.Status()) }

func hearers(all []bgp.PeerStatus) (out []Hearer) {
	for _, st := range all {
		if st.State == bgp.Established {
			out = append(out, Hearer{st.Name, st.IPv4, st.IPv6})
		}
	}
	return out
}

// sessionChanged is bgp.Config.Changed.
func (s *Speaker) sessionChanged(bgp.Event) {
	select {
	case s.turned <- struct{}{}:
	default:
	}
}

// A rapporteur knows what has been said of each peer.
type rapporteur map[string]*reported

// reported is what has been said of one peer.
type reported struct {
	ups, downs uint64
	failures   map[string]bool // since a session was established last
	problem    string          // of SessionIncomplete
	bfd        string          // of BFDFailing

	left  int // notices that may follow at once
	since time.Time
}

// look says what is another than what has been said.
func (r rapporteur) look(now time.Time, all []bgp.PeerStatus) (out []SessionNotice) {
	there := make(map[string]bool, len(all))
	for _, st := range all {
		there[st.Name] = true
		before := r[st.Name]
		if before == nil {
			before = &reported{left: noticesAtOnce, since: now}
			r[st.Name] = before
		}
		out = append(out, before.look(now, st)...)
	}
	for name := range r {
		if !there[name] {
			delete(r, name)
		}
	}
	return out
}

func (r *reported) look(now time.Time, st bgp.PeerStatus) (out []SessionNotice) {
	// say is false when it must not be said yet: then it is looked at again.
	say := func(change SessionChange, why string) bool {
		if !r.may(now) {
			return false
		}
		out = append(out, SessionNotice{st.Name, change, st.Address, st.RemoteAS, why})
		return true
	}
	if st.Downs != r.downs && say(SessionDown, cmp.Or(st.LastError, st.Reason)) {
		r.downs, r.ups = st.Downs, st.Downs // it came up as often before that
		r.failures = map[string]bool{st.LastError: true}
		r.problem = ""
	}
	up := st.State == bgp.Established
	switch {
	case up && st.Ups != r.ups && say(SessionUp, ""):
		r.ups, r.downs, r.failures, r.problem = st.Ups, st.Downs, nil, ""
	case !up && st.Ups == st.Downs && st.LastError != "" && !r.failures[st.LastError] && say(SessionFailing, st.LastError):
		if len(r.failures) >= 100 { // texts that differ each time
			clear(r.failures)
		}
		if r.failures == nil {
			r.failures = map[string]bool{}
		}
		r.failures[st.LastError] = true
	}
	if p := st.Problem; p == "" || p != r.problem && say(SessionIncomplete, p) {
		r.problem = p
	}
	if b := bfdTrouble(now, st); b == "" || b != r.bfd && say(BFDFailing, b) {
		r.bfd = b
	}
	return out
}

// bfdTrouble says why BFD does not work with a router.
func bfdTrouble(now time.Time, st bgp.PeerStatus) string {
	b := st.BFD
	switch {
	case b == nil:
		return ""
	case b.Trouble != "":
		return b.Trouble
	case b.State != bfd.Up && st.Up(now) >= bfdWithin && now.Sub(b.Since) >= bfdWithin:
		return "it is " + b.State.String() + " while BGP is established (" + b.Reason + "): is BFD configured on the router, for this node's address?"
	}
	return ""
}

// may tells whether one more notice may be given, and counts it.
func (r *reported) may(now time.Time) bool {
	if more := int(now.Sub(r.since) / noticeEvery); more > 0 {
		r.left, r.since = min(noticesAtOnce, r.left+more), r.since.Add(time.Duration(more)*noticeEvery)
	}
	if r.left == 0 {
		return false
	}
	r.left--
	return true
}
