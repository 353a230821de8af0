package bgp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"holdfast.dev/holdfast/deploy/world"
)

// A fake is a router of our own, which may behave badly. It has an address of
// its own on the cable fake0-fake1, and listens there.
type fake struct {
	t    testing.TB
	ns   string
	addr netip.AddrPort
	cable
	l *net.TCPListener
}

var fakes struct {
	sync.Mutex
	n int
}

// newFake makes one in a namespace of its own, where this process listens.
func newFake(t testing.TB, password string) *fake {
	fakes.Lock()
	defer fakes.Unlock()
	fakes.n++
	c := newCable("fake", fakes.n)
	c.here, c.routerNS = fmt.Sprintf("fake%d", fakes.n), fmt.Sprintf("fake-%d", fakes.n)
	addRouterNamespace(t, c.routerNS)
	c.lay(t)
	f := &fake{t: t, ns: c.routerNS, addr: netip.AddrPortFrom(c.their4, bgpPort), cable: c}
	f.listen(c.our4, password)
	return f
}

func (f *fake) peer(change ...func(*Peer)) Peer {
	p := Peer{Name: f.addr.Addr().String(), Address: f.addr.Addr(), MyAS: ourAS, PeerAS: routerAS, IPv4: true,
		HoldTime: 9 * time.Second, Connect: 2 * time.Second}
	return changed(p, change)
}

// accept waits for a connection.
func (f *fake) accept() *line {
	f.t.Helper()
	must(f.t, f.l.SetDeadline(time.Now().Add(patience)))
	c, err := f.l.AcceptTCP()
	must(f.t, err)
	f.t.Cleanup(func() { c.Close() })
	return &line{t: f.t, c: c, r: bufio.NewReaderSize(c, maxMessageLen)}
}

// A line is a connection as the fake sees it.
type line struct {
	t testing.TB
	c *net.TCPConn
	r *bufio.Reader
}

func (l *line) say(b []byte) {
	l.t.Helper()
	if _, err := l.c.Write(b); err != nil {
		l.t.Fatal(err)
	}
}

// hear reads one message, whole.
func (l *line) hear() (kind uint8, message []byte, err error) {
	if err := l.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	head, err := l.r.Peek(headerLen)
	if err != nil {
		return 0, nil, err
	}
	message = make([]byte, binary.BigEndian.Uint16(head[16:]))
	_, err = io.ReadFull(l.r, message)
	return message[18], message, err
}

func (l *line) hearKind(want uint8) []byte {
	l.t.Helper()
	for {
		kind, message, err := l.hear()
		must(l.t, err)
		if kind == want {
			return message
		}
	}
}

// hearEnd reads to the end, and returns the NOTIFICATION before it.
func (l *line) hearEnd() *notification {
	l.t.Helper()
	var last *notification
	for {
		kind, message, err := l.hear()
		if err != nil {
			return last
		}
		if kind == packet.BGP_MSG_NOTIFICATION {
			last = parseNotification(message[headerLen:])
		}
	}
}

func fakeOpen(change ...func(*open)) open {
	o := open{AS: routerAS, ID: netip.MustParseAddr("10.255.0.3"), Hold: 9 * time.Second, Families: [families]bool{true, false},
		FourOctetAS: true, RouteRefresh: true}
	for _, f := range change {
		f(&o)
	}
	return o
}

// establish is what a good router does.
func (l *line) establish(o open) {
	l.t.Helper()
	l.say(o.message())
	l.hearKind(packet.BGP_MSG_OPEN)
	l.say(keepalive)
	l.hearKind(packet.BGP_MSG_KEEPALIVE)
}

// Bad behaviour ends in a reason, and in the right NOTIFICATION if one is due.
func TestBadRouters(t *testing.T) {
	huge := append(bytes.Clone(keepalive[:16]), 0xff, 0xff, 2)
	short := append(bytes.Clone(keepalive[:16]), 0, 18, 4)
	badMarker := append([]byte{0}, keepalive[1:]...)
	badType := append(bytes.Clone(keepalive[:18]), 77)
	version := fakeOpen().message()
	version[headerLen] = 3
	rows := []struct {
		name      string
		do        func(l *line)
		code, sub uint8 // of the NOTIFICATION; 0: none
		reason    string
	}{
		{"silent after accept", func(l *line) {}, 4, 0, "sent no OPEN for 10s"},
		{"reset", func(l *line) { _ = l.c.SetLinger(0); l.c.Close() }, 0, 0, "connection"}, // found by reading, or by writing
		{"closed", func(l *line) { l.hearKind(packet.BGP_MSG_OPEN); l.c.Close() }, 0, 0, "closed the connection"},
		{"garbage", func(l *line) { l.say([]byte("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")) }, 1, 1, "no BGP message"},
		{"4096 octets of junk", func(l *line) { l.say(bytes.Repeat([]byte{0x5a}, 4096)) }, 1, 1, "Connection Not Synchronized"},
		{"wrong marker", func(l *line) { l.say(badMarker) }, 1, 1, "Connection Not Synchronized"},
		{"huge length", func(l *line) { l.say(huge) }, 1, 2, "Bad Message Length"},
		{"length below the header", func(l *line) { l.say(short) }, 1, 2, "Bad Message Length"},
		{"unknown type", func(l *line) { l.say(badType) }, 1, 3, "Bad Message Type"},
		{"KEEPALIVE for an OPEN", func(l *line) { l.say(keepalive) }, 5, 1, "type 4 in state OpenSent"},
		{"UPDATE before KEEPALIVE", func(l *line) { l.say(append(fakeOpen().message(), endOfRIB(nil, ipv4)...)) }, 5, 2, "type 2 in state OpenConfirm"},
		{"second OPEN", func(l *line) { l.establish(fakeOpen()); l.say(fakeOpen().message()) }, 5, 3, "type 1 in state Established"},
		{"version 3", func(l *line) { l.say(version) }, 2, 1, "version 3"},
		{"wrong AS", func(l *line) { l.say(fakeOpen(func(o *open) { o.AS = 65001 }).message()) }, 2, 2, "65000 is expected"},
		{"identifier 0", func(l *line) { l.say(fakeOpen(func(o *open) { o.ID = netip.IPv4Unspecified() }).message()) }, 2, 3, "0.0.0.0"},
		{"hold time of a second", func(l *line) { l.say(fakeOpen(func(o *open) { o.Hold = time.Second }).message()) }, 2, 6, "hold time of 1s"},
		{"another family", func(l *line) {
			l.say(fakeOpen(func(o *open) { o.Families = [families]bool{false, true} }).message())
		}, 2, 7, "activate"},
		{"silent once established", func(l *line) { l.establish(fakeOpen(func(o *open) { o.Hold = 3 * time.Second })) }, 4, 0, "hold timer expired: nothing heard for 3s"},
		{"its own words", func(l *line) {
			l.establish(fakeOpen())
			l.say(shutdown("replacing the fan").message())
		}, 0, 0, `Cease/Administrative Shutdown (6/2): "replacing the fan"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, "")
			n := run(t, Config{})
			p := f.peer()
			n.Set([]Prefix{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}}, []Peer{p})
			l := f.accept()
			row.do(l)
			got := l.hearEnd()
			if row.code == 0 && got != nil || row.code != 0 && (got == nil || got.code != row.code || got.subcode != row.sub) {
				t.Errorf("NOTIFICATION %v, want %d/%d", got, row.code, row.sub)
			}
			waitFor(t, fmt.Sprintf("a reason with %q", row.reason), func() error {
				for _, e := range n.seen() {
					if strings.Contains(e.Reason, row.reason) {
						return nil
					}
				}
				return fmt.Errorf("events %+v", n.seen())
			})
			f.accept() // another attempt is made
		})
	}
}

// Invariant 2: who does not read, or says nothing, delays nobody; and he who
// does not read is given up after a hold time.
func TestNeverDelayedByOthers(t *testing.T) {
	t.Parallel()
	deaf, mute, good := newFake(t, ""), newFake(t, ""), newFake(t, "")
	n := run(t, Config{})
	peers := []Peer{deaf.peer(func(p *Peer) { p.HoldTime = 3 * time.Second }), mute.peer(), good.peer()}
	n.Set(nil, peers)
	d := deaf.accept()
	must(t, d.c.SetReadBuffer(4096))
	d.establish(fakeOpen(func(o *open) { o.Hold = 3 * time.Second }))
	mute.accept()
	g := good.accept()
	g.establish(fakeOpen())
	stop := make(chan struct{})
	defer close(stop)
	go func() { // signs of life of one that does not read
		for {
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
				if _, err := d.c.Write(keepalive); err != nil {
					return
				}
			}
		}
	}()
	many := make([]Prefix, 200_000)
	for i := range many {
		many[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	m := newModel()
	for i := range 40 {
		attrs := []uint32{uint32(i)}
		for j := range many {
			many[j].Communities = attrs
		}
		size := len(many)
		if i > 0 {
			size = 1000
		}
		n.Set(many[:size], peers)
	}
	last := netip.MustParsePrefix("10.0.3.231/32")
	for !strings.Contains(m.routes[last], "[39]") || len(m.routes) != 1000 {
		_, message, err := g.hear()
		must(t, err)
		must(t, m.apply(message))
	}
	for i := 0; ; i++ { // until more waits to be read than the kernel holds
		n.Set(many[:size(i)], peers)
		if s := n.status(peers[0].Name); s.State != Established {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	waitFor(t, "the deaf one to be given up", func() error {
		for _, e := range n.seen() {
			if strings.Contains(e.Reason, "has read nothing for 3s") {
				return nil
			}
		}
		return errors.New("it is not")
	})
	if s := n.status(peers[2].Name); s.State != Established || s.Downs > 0 {
		t.Errorf("the good one is %s: %s", s.State, s.LastError)
	}
}

func size(i int) int { return 200_000 - 100_000*(i%2) }

// A live session takes another password, if the router does so within the hold time.
func TestPasswordChangesOnALiveSession(t *testing.T) {
	t.Parallel()
	f := newFake(t, "old")
	n := run(t, Config{})
	p := f.peer(func(p *Peer) { p.Password, p.HoldTime = "old", 3*time.Second })
	n.Set(nil, []Peer{p})
	l := f.accept()
	l.establish(fakeOpen())
	l.hearKind(packet.BGP_MSG_UPDATE)
	p.Password = "new"
	n.Set(nil, []Peer{p})
	e := endpoint{remote: netip.MustParseAddrPort(l.c.RemoteAddr().String())}
	must(t, e.rekey(l.c, "new"))
	stop := time.Now().Add(4 * time.Second) // longer than the hold time
	for time.Now().Before(stop) {
		l.say(keepalive)
		l.hearKind(packet.BGP_MSG_KEEPALIVE)
	}
	if s := n.status(p.Name); s.State != Established || s.Ups != 1 || s.Downs != 0 {
		t.Errorf("status %+v", s)
	}
}

// A route refresh brings the family again, and nothing else.
func TestRouteRefresh(t *testing.T) {
	t.Parallel()
	f := newFake(t, "")
	n := run(t, Config{})
	n.Set([]Prefix{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}}, []Peer{f.peer()})
	l := f.accept()
	l.establish(fakeOpen())
	m := newModel()
	for m.ends[ipv4] == 0 {
		must(t, m.apply(l.hearKind(packet.BGP_MSG_UPDATE)))
	}
	first := len(m.routes)
	clear(m.routes)
	l.say(mustSerialize(packet.NewBGPRouteRefreshMessage(packet.AFI_IP6, 0, packet.SAFI_UNICAST))) // not negotiated: ignored
	l.say(mustSerialize(packet.NewBGPRouteRefreshMessage(packet.AFI_IP, 0, packet.SAFI_UNICAST)))
	must(t, m.apply(l.hearKind(packet.BGP_MSG_UPDATE)))
	if first != 1 || len(m.routes) != 1 {
		t.Errorf("%d routes, then %v", first, m.routes)
	}
}

// What cannot work is told as a reason, and tried again.
func TestMistakesAreTold(t *testing.T) {
	f := newFake(t, "")
	n := run(t, Config{})
	own := f.peer(func(p *Peer) { p.Name, p.Address = "own", netip.MustParseAddr("127.0.0.1") })
	source := f.peer(func(p *Peer) { p.Name, p.Source = "source", netip.MustParseAddr("192.0.2.77") })
	vrf := f.peer(func(p *Peer) { p.Name, p.Device = "vrf", "red" })
	ghost := Peer{Name: "ghost", Interface: "eth77", MyAS: 1, IPv4: true}
	n.Set(nil, []Peer{own, source, vrf, ghost, {Name: "frozen", Frozen: true}})
	waitReason(t, n, "own", "127.0.0.1 is an address of this node")
	waitReason(t, n, "source", "192.0.2.77 is not an address of this node")
	waitReason(t, n, "vrf", "no VRF device red")
	waitReason(t, n, "ghost", "no router has been heard on eth77")
	for _, s := range n.Status() {
		if s.Name == "frozen" {
			t.Error("a frozen peer has been made")
		}
	}
}

// listen opens the fake's port in its namespace, with a TCP MD5 password for us.
func (f *fake) listen(us netip.Addr, password string) {
	must(f.t, world.Within(f.ns, func() error {
		lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			return control(raw, func(fd int) error {
				if err := mark(fd, false); err != nil || password == "" {
					return err
				}
				return sign(fd, false, us, password)
			})
		}}
		l, err := lc.Listen(f.t.Context(), "tcp4", f.addr.String())
		if err == nil {
			f.l = l.(*net.TCPListener)
		}
		return err
	}))
	f.t.Cleanup(func() { f.l.Close() })
}
