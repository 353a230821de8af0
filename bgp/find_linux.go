package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	wire6 "golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	// advertiseEvery is how often a router is told that we are there. It is also
	// how soon an interface that was made anew is noticed.
	advertiseEvery = 5 * time.Second
	findRetry      = 5 * time.Second // after a socket could not be opened
)

// ICMPv6 types, RFC 4861 §4.
const (
	routerSolicitation  = 133
	routerAdvertisement = 134
	sourceLinkLayer     = 1 // option, §4.6.1
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// A finder learns from router advertisements which router there is on an
// interface, and sends some itself, with a router lifetime of 0: we are no
// router for anybody, but it is how the other side learns of us.
type finder struct {
	iface string
	found func(netip.Addr)
}

// run looks for routers until ctx ends.
func (f finder) run(ctx context.Context, complain func(error)) {
	for ctx.Err() == nil {
		if err := f.once(ctx); err != nil && ctx.Err() == nil {
			complain(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(findRetry):
		}
	}
}

// once works until the interface changes under it.
func (f finder) once(ctx context.Context) error {
	ifi, err := net.InterfaceByName(f.iface)
	if err != nil {
		return fmt.Errorf("looking for a router on %s: there is no such interface: %w", f.iface, err)
	}
	c, err := f.open(ctx, ifi)
	if err != nil {
		return fmt.Errorf("looking for a router on %s: %w", f.iface, err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan struct{}, 1)
	var sender sync.WaitGroup
	sender.Go(func() {
		defer c.Close() // ends the reader too
		f.speak(ctx, c, ifi, asked)
	})
	err = f.listen(c, ifi, asked)
	cancel()
	sender.Wait()
	return err
}

// open makes a socket that hears routers, and those who look for them, on one
// interface.
func (f finder) open(ctx context.Context, ifi *net.Interface) (*wire6.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error { return unix.BindToDevice(fd, f.iface) })
	}}
	raw, err := lc.ListenPacket(ctx, "ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, err
	}
	c := wire6.NewPacketConn(raw)
	var filter wire6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(wire6.ICMPTypeRouterSolicitation)
	filter.Accept(wire6.ICMPTypeRouterAdvertisement)
	err = errors.Join(c.SetICMPFilter(&filter), c.SetHopLimit(maxHops), c.SetMulticastHopLimit(maxHops),
		c.SetMulticastInterface(ifi), c.SetMulticastLoopback(false),
		c.SetControlMessage(wire6.FlagHopLimit, true),
		c.JoinGroup(ifi, &net.IPAddr{IP: allRouters.AsSlice()}))
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// listen reads until the socket is closed, as it is meant to be if the interface ends.
func (f finder) listen(c *wire6.PacketConn, ifi *net.Interface, asked chan<- struct{}) error {
	buffer := make([]byte, 1500)
	for {
		n, cm, from, err := c.ReadFrom(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("looking for a router on %s: %w", f.iface, err)
		}
		router, ok := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		if !ok || cm == nil {
			continue
		}
		switch kind, ok := neighborMessage(buffer[:n], router, cm.HopLimit); {
		case ok && kind == routerAdvertisement:
			f.found(router.WithZone(f.iface))
		case ok && kind == routerSolicitation:
			select {
			case asked <- struct{}{}:
			default:
			}
		}
	}
}

// neighborMessage is the type of an ICMPv6 message, if it is a router solicitation or
// advertisement that RFC 4861 §6.1 holds valid; the kernel has checked the sum. Who
// solicits without a link-local address is no router.
func neighborMessage(b []byte, from netip.Addr, hops int) (kind uint8, ok bool) {
	if len(b) < 8 || b[1] != 0 || hops != maxHops || !from.IsLinkLocalUnicast() || !from.Is6() {
		return 0, false
	}
	options := b[8:]
	switch kind = b[0]; kind {
	case routerSolicitation:
	case routerAdvertisement:
		if len(b) < 16 {
			return 0, false
		}
		options = b[16:]
	default:
		return 0, false
	}
	for len(options) > 0 { // type, length in units of 8 octets
		if len(options) < 2 || options[1] == 0 || int(options[1])*8 > len(options) {
			return 0, false
		}
		options = options[int(options[1])*8:]
	}
	return kind, true
}

// speak asks for routers and tells of us: at once, when asked, and then from time
// to time. It ends when the interface does.
func (f finder) speak(ctx context.Context, c *wire6.PacketConn, ifi *net.Interface, asked <-chan struct{}) {
	every := time.NewTicker(advertiseEvery)
	defer every.Stop()
	_, _ = c.WriteTo(solicitation(ifi), nil, to(allRouters, ifi)) // without a link-local address yet: the next one
	last := time.Time{}
	for {
		if time.Since(last) >= time.Second { // RFC 4861 §6.2.6 would have 3 s
			if _, err := c.WriteTo(advertisement(ifi), nil, to(allNodes, ifi)); err == nil {
				last = time.Now()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-asked:
		case <-every.C:
			if now, err := net.InterfaceByIndex(ifi.Index); err != nil || now.Name != ifi.Name {
				return
			}
		}
	}
}

func to(group netip.Addr, ifi *net.Interface) net.Addr {
	return &net.IPAddr{IP: group.AsSlice(), Zone: ifi.Name}
}

// solicitation is RFC 4861 §4.1; the kernel fills in the checksum.
func solicitation(ifi *net.Interface) []byte {
	b := []byte{routerSolicitation, 0, 0, 0, 0, 0, 0, 0}
	return appendLinkLayer(b, ifi)
}

// advertisement is RFC 4861 §4.2 with all that makes hosts do something left 0.
func advertisement(ifi *net.Interface) []byte {
	b := []byte{routerAdvertisement, 0, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, 0) // router lifetime
	b = append(b, make([]byte, 8)...)       // reachable time, retransmission timer
	return appendLinkLayer(b, ifi)
}

func appendLinkLayer(b []byte, ifi *net.Interface) []byte {
	if len(ifi.HardwareAddr) != 6 {
		return b
	}
	return append(append(b, sourceLinkLayer, 1), ifi.HardwareAddr...)
}

// find looks for the router of an unnumbered peer, and stops that of another
// interface.
func (p *peer) find(ctx context.Context) {
	if p.unfind != nil {
		p.unfind()
		p.unfind = nil
	}
	p.know(netip.Addr{})
	if p.is.Address.IsValid() || p.is.Interface == "" {
		return
	}
	ctx, p.unfind = context.WithCancel(ctx)
	f := finder{iface: p.is.Interface, found: func(router netip.Addr) {
		p.post(func() {
			if ctx.Err() == nil && p.know(router) {
				p.carryOut(p.machine.hurry(time.Now(), p.bfdWait(), "a router has been heard"))
			}
		})
	}}
	p.seeking.Go(func() {
		f.run(ctx, func(err error) { p.post(func() { p.complain("no router can be found", err.Error()) }) })
	})
}

// know takes the address of an unnumbered peer's router over, and tells whether
// it is another one. While a session is established with one router, another one
// that is heard counts for nothing.
func (p *peer) know(router netip.Addr) bool {
	p.mu.Lock()
	same := p.router == router || router.IsValid() && p.status.State == Established
	if !same {
		p.router = router
		if !p.is.Address.IsValid() {
			p.status.Address = router
		}
	}
	p.mu.Unlock()
	if !same && router.IsValid() {
		go p.found()
	}
	return !same
}
