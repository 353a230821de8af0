package layer2

import "maps"

// link is a network interface as netlink tells it.
type link struct {
	index   int
	name    string
	mac     mac
	fit     bool // Ethernet, broadcast, does ARP, no loopback, no port of a bridge or bond
	up      bool // administratively
	running bool // and with a carrier
	ipv6    bool // can do IPv6 at all: an MTU of 1280 or more (RFC 8200 §5)
}

// change is one event of a subscription.
type change struct {
	link link
	gone bool
}

// system is what an Announcer needs from the machine below.
type system interface {
	// Links lists the interfaces.
	Links() ([]link, error)
	// Watch subscribes to changes of interfaces until stop is closed. The
	// channel is closed when the subscription breaks.
	Watch(stop <-chan struct{}) (<-chan change, error)
	// Open starts to receive ARP on an interface that is up. receive
	// is not called concurrently for one wire, and not after Close returned.
	Open(l link, receive func(w wire, frame []byte)) (wire, error)
	// Close ends what the system itself runs, after all wires are closed.
	Close() error
}

// auto says whether entries that name no interface use this one.
func (a *Announcer) auto(name string) bool {
	for _, x := range a.exclude {
		if x.MatchString(name) {
			return false
		}
	}
	return true
}

// wanted says whether there is to be a port on the interface.
func (a *Announcer) wanted(t *table, l link) bool {
	return l.fit && l.up && l.mac.station() && (t.names[l.name] || t.asks(l.name) || a.auto(l.name))
}

// relist takes a whole list of interfaces as the truth.
func (r *runner) relist() error {
	all, err := r.a.system.Links()
	if err != nil {
		return err
	}
	r.a.count.resyncs.Add(1)
	r.links = make(map[int]link, len(all))
	for _, l := range all {
		r.links[l.index] = l
	}
	r.own()
	r.survey()
	return nil
}

// note takes one event, and says whether a port can be affected.
func (r *runner) note(c change) bool {
	old, known := r.links[c.link.index]
	if c.gone {
		delete(r.links, c.link.index)
	} else {
		r.links[c.link.index] = c.link
	}
	if !c.gone && known && old == c.link {
		return false
	}
	r.own()
	surveyed := r.survey()
	_, port := r.a.ports[c.link.index]
	return surveyed || port || r.a.wanted(r.a.held.Load(), c.link)
}

// survey publishes which interfaces are usable, and tells whether that changed.
func (r *runner) survey() bool {
	next := map[string]Usability{}
	for _, l := range r.links {
		if l.fit && l.up && l.running && l.mac.station() {
			next[l.name] = Usability{Unnamed: r.a.auto(l.name), IPv6: l.ipv6}
		}
	}
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	if r.a.usable != nil && maps.Equal(next, r.a.usable) {
		return false
	}
	r.a.usable = next
	r.a.changes++
	return true
}

// own publishes the hardware addresses of this node, so that the readers know
// its own frames.
func (r *runner) own() {
	next := make(macSet, len(r.links))
	for _, l := range r.links {
		if l.mac.station() {
			next[l.mac] = true
		}
	}
	if !maps.Equal(next, *r.a.ours.Load()) {
		r.a.ours.Store(&next)
	}
}
