package bgp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	goodbyeWait = time.Second      // for a NOTIFICATION to be sent and read
	firstWait   = 10 * time.Second // for the first messages to be sent
	noHoldWait  = 90 * time.Second // for what is sent to a peer without hold time
	writeChunk  = 32 << 10         // octets that one deadline is for
)

// A conn is one TCP connection with a router: a goroutine that reads it and one
// that writes it. Only the writer knows what the router has been told.
type conn struct {
	tcp           *net.TCPConn
	local, remote netip.AddrPort
	count         *counters
	deliver       func(kind uint8, body []byte) // called by the reader
	broken        func(note *notification, why string)
	heard         atomic.Int64 // when the last message came, as UnixNano
	quiet         atomic.Bool  // signs of life are not delivered
	wake          chan struct{}
	ended         sync.WaitGroup // reader and writer
	running       atomic.Int32   // how many of them

	mu       sync.Mutex
	queue    []byte        // whole messages
	alive    time.Duration // between KEEPALIVEs; 0: none
	patience time.Duration // how long a write may take
	speech   *speech
	again    [families]bool // to be told anew
	bye      *farewell
}

// A speech is what an established session has to say.
type speech struct {
	dialect
	families [families]bool
	hops     [families]hop
	view     *atomic.Pointer[view]
}

// A farewell ends a connection on purpose.
type farewell struct {
	note     *notification
	withdraw bool // everything, before the note
}

func newConn(tcp *net.TCPConn, count *counters) *conn {
	c := &conn{tcp: tcp, count: count, wake: make(chan struct{}, 1), patience: firstWait}
	c.local = unmapped(tcp.LocalAddr())
	c.remote = unmapped(tcp.RemoteAddr())
	return c
}

func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// run starts both goroutines.
func (c *conn) run() {
	c.running.Store(2)
	c.ended.Go(c.read)
	c.ended.Go(c.write)
}

// read delivers messages until the connection ends, and then closes it.
func (c *conn) read() {
	defer c.running.Add(-1)
	defer c.tcp.Close()
	r := newReader(c.tcp)
	for {
		kind, body, err := readMessage(r)
		if n := (*notification)(nil); errors.As(err, &n) {
			c.broken(n, "the router sent what is no BGP message: "+n.String())
			_, _ = io.Copy(io.Discard, c.tcp) // until the farewell has been read, or its time is over
			return
		}
		if err != nil {
			c.broken(nil, whyEnded(err))
			return
		}
		c.count.in(kind)
		c.heard.Store(time.Now().UnixNano())
		if c.quiet.Load() && (kind == packet.BGP_MSG_UPDATE || kind == packet.BGP_MSG_KEEPALIVE) {
			continue
		}
		c.deliver(kind, bytes.Clone(body))
	}
}

func whyEnded(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the router closed the connection"
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	return "the connection broke: " + err.Error()
}

// change lets f change what the writer reads, and wakes it.
func (c *conn) change(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	c.nudge()
}

// nudge has the writer look what there is to say.
func (c *conn) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) send(message []byte) { c.change(func() { c.queue = append(c.queue, message...) }) }

// end closes the connection: with a farewell once that is said, else at once.
func (c *conn) end(bye *farewell) {
	if bye == nil {
		c.tcp.Close()
		bye = &farewell{} // which nobody hears
	}
	// Also for a write that is going on; both fail on a closed connection only.
	soon := time.Now().Add(goodbyeWait)
	_ = c.tcp.SetWriteDeadline(soon)
	_ = c.tcp.SetReadDeadline(soon)
	c.change(func() { c.bye = bye })
}

// write says what there is to say until the connection ends.
func (c *conn) write() {
	defer c.running.Add(-1)
	w := writer{conn: c}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.mu.Lock()
		queue, speech, again, alive, bye := c.queue, c.speech, c.again, c.alive, c.bye
		c.queue, c.again = nil, [families]bool{}
		w.patience = c.patience
		c.mu.Unlock()
		if bye != nil {
			w.goodbye(queue, speech, bye)
			return
		}
		w.buffer = append(w.buffer[:0], queue...)
		if speech != nil {
			w.say(speech, again)
		}
		if err := w.flush(); err != nil {
			c.lostWriting(err, w.patience)
			return
		}
		if speech != nil {
			for f := range families {
				w.count.advertised[f].Store(int64(w.table.told[f].len()))
			}
		}
		if alive > 0 {
			timer.Reset(time.Until(w.sent.Add(time.Duration(float64(alive) * jitter()))))
		}
		select {
		case <-c.wake:
		case <-timer.C:
			c.count.out(packet.BGP_MSG_KEEPALIVE, 1)
			c.mu.Lock()
			c.queue = append(c.queue, keepalive...)
			c.mu.Unlock()
		}
	}
}

func (c *conn) lostWriting(err error, patience time.Duration) {
	if isTimeout(err) {
		c.broken(&notification{code: sendHoldTimerExpired}, fmt.Sprintf("the router has read nothing for %s", patience))
		return
	}
	c.broken(nil, whyEnded(err))
}

// A writer is the state of a conn's writing goroutine.
type writer struct {
	*conn
	table    table
	finished bool // the first time everything has been told
	patience time.Duration
	buffer   []byte
	sent     time.Time // when the last message went out
}

// say adds to the buffer what the router does not know yet.
func (w *writer) say(s *speech, again [families]bool) {
	want := s.view.Load()
	for f := range families {
		if !s.families[f] {
			continue
		}
		var st step
		if again[f] {
			st = w.table.again(f, want[f], s.hops[f])
		} else {
			st = w.table.turn(f, want[f], s.hops[f])
		}
		var n int
		w.buffer, n = s.write(w.buffer, f, st)
		w.count.out(packet.BGP_MSG_UPDATE, n)
	}
	if w.finished {
		return
	}
	w.finished = true
	for f := range families {
		if s.families[f] {
			w.buffer = endOfRIB(w.buffer, f)
			w.count.out(packet.BGP_MSG_UPDATE, 1)
		}
	}
}

// flush writes the buffer. A large one is not kept. Its deadlines may come after that
// of end: they do not put the end off, since the reader, whose deadline nobody else
// sets, then closes the connection.
func (w *writer) flush() error {
	rest := w.buffer
	for len(rest) > 0 {
		n := min(len(rest), writeChunk)
		_ = w.tcp.SetWriteDeadline(time.Now().Add(w.patience)) // fails on a closed connection, as Write does then
		if _, err := w.tcp.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		w.sent = time.Now()
	}
	if cap(w.buffer) > writeChunk {
		w.buffer = nil
	}
	return nil
}

// goodbye says the last words, and that they are the last.
func (w *writer) goodbye(queue []byte, s *speech, bye *farewell) {
	out := queue
	if bye.withdraw && s != nil {
		for f := range families {
			if s.families[f] {
				var n int
				out, n = s.write(out, f, w.table.turn(f, nil, s.hops[f]))
				w.count.out(packet.BGP_MSG_UPDATE, n)
			}
		}
	}
	if bye.note != nil {
		out = append(out, bye.note.message()...)
		w.count.out(packet.BGP_MSG_NOTIFICATION, 1)
	}
	_, err := w.tcp.Write(out) // the deadline is that of end
	if err != nil || w.tcp.CloseWrite() != nil {
		w.tcp.Close()
	}
}
