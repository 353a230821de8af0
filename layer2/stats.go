package layer2

import (
	"sync/atomic"
	"time"
)

// families counts by address family.
type families struct{ v4, v6 atomic.Uint64 }

func (f *families) add(v6 bool) {
	if v6 {
		f.v6.Add(1)
	} else {
		f.v4.Add(1)
	}
}

func (f *families) read() Families { return Families{IPv4: f.v4.Load(), IPv6: f.v6.Load()} }

type counters struct {
	answered, gratuitous, probes, heard, malformed   families
	heardDropped, receiveErrors, sendErrors, resyncs atomic.Uint64
}

func (c *counters) read() Stats {
	return Stats{
		Answered: c.answered.read(), Gratuitous: c.gratuitous.read(),
		Probes: c.probes.read(), Heard: c.heard.read(), Malformed: c.malformed.read(),
		HeardDropped: c.heardDropped.Load(), ReceiveErrors: c.receiveErrors.Load(),
		SendErrors: c.sendErrors.Load(), Resyncs: c.resyncs.Load(),
	}
}

// time is when the first gratuitous frame was sent.
func (l *life) time() time.Time {
	if ns := l.since.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}
