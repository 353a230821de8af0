package witness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Wire hears and asks on one interface of the network namespace that it was opened in.
type Wire struct {
	iface *net.Interface
	addrs []netip.Addr // its own, to ask from
	arp   *packet.Conn
	ndp   *packet.Conn
}

// OpenWire opens the interface. It takes CAP_NET_RAW.
func OpenWire(name string) (*Wire, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("hearing interface %s: %w", name, err)
	}
	w := &Wire{iface: iface}
	if w.addrs, err = addresses(iface); err != nil {
		return nil, err
	}
	if w.arp, err = packet.Listen(iface, packet.Raw, unix.ETH_P_ARP, nil); err != nil {
		return nil, fmt.Errorf("hearing ARP on %s: %w", name, err)
	}
	w.ndp, err = packet.Listen(iface, packet.Raw, unix.ETH_P_IPV6, &packet.Config{Filter: advertisements()})
	if err != nil {
		w.arp.Close()
		return nil, fmt.Errorf("hearing NDP on %s: %w", name, err)
	}
	for _, c := range []*packet.Conn{w.arp, w.ndp} {
		if err := enlarge(c); err != nil {
			w.close()
			return nil, fmt.Errorf("hearing on %s: receive buffer: %w", name, err)
		}
	}
	return w, nil
}

// enlarge makes room for the announcements of thousands of addresses at once.
func enlarge(c *packet.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) })
	return errors.Join(err, failed)
}

// advertisements lets neighbour advertisements pass, and none of the probes' packets.
func advertisements() []bpf.RawInstruction {
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: etherLen + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmp6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: etherLen + ip6Len, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 136, SkipTrue: 1},
		bpf.RetConstant{Val: 512},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err) // a constant program
	}
	return filter
}

// Hear calls heard for every announcement of another station until the context ends.
func (w *Wire) Hear(ctx context.Context, heard func(Announcement)) error {
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	errs := make(chan error, 2)
	found := make(chan Announcement, 1024)
	go func() { errs <- w.read(w.arp, parseARP, found) }()
	go func() { errs <- w.read(w.ndp, parseNDP, found) }()
	for ended := 0; ended < 2; {
		select {
		case a := <-found:
			heard(a)
		case err := <-errs:
			if err != nil && ctx.Err() == nil {
				w.close()
				return err
			}
			ended++
		}
	}
	return nil
}

func (w *Wire) read(c *packet.Conn, parse func([]byte) (Announcement, bool), found chan<- Announcement) error {
	b := make([]byte, 512)
	for {
		n, _, err := c.ReadFrom(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, syscall.ENETDOWN): // said once when the link goes down
			continue
		case err != nil:
			return fmt.Errorf("hearing on %s: %w", w.iface.Name, err)
		}
		if a, ok := parse(b[:n]); ok && a.MAC != w.iface.HardwareAddr.String() {
			a.At = time.Now()
			found <- a
		}
	}
}

// Ask asks once who has the address; the answer comes through Hear.
func (w *Wire) Ask(addr netip.Addr) error {
	var err error
	if addr.Is4() {
		err = w.askARP(addr)
	} else {
		err = w.askNDP(addr)
	}
	if err != nil {
		return fmt.Errorf("asking on %s who has %s: %w", w.iface.Name, addr, err)
	}
	return nil
}

// addresses returns the interface's addresses, without the link-local one.
func addresses(iface *net.Interface) (own []netip.Addr, err error) {
	addrs, err := iface.Addrs()
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of %s: %w", iface.Name, err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			own = append(own, p.Addr())
		}
	}
	return own, nil
}

func (w *Wire) source(v4 bool) (netip.Addr, error) {
	for _, a := range w.addrs {
		if a.Is4() == v4 {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("the interface has no address of that family")
}

func (w *Wire) askARP(addr netip.Addr) error {
	from, err := w.source(true)
	if err != nil {
		return err
	}
	p, err := arp.NewPacket(arp.OperationRequest, w.iface.HardwareAddr, from, make(net.HardwareAddr, 6), addr)
	if err != nil {
		return err
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return err
	}
	return w.write(w.arp, broadcast, ethernet.EtherTypeARP, body)
}

func (w *Wire) askNDP(addr netip.Addr) error {
	from, err := w.source(false)
	if err != nil {
		return err
	}
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return err
	}
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: w.iface.HardwareAddr}}}, from, group)
	if err != nil {
		return err
	}
	src, dst := from.As16(), group.As16()
	head := []byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), icmp6, 255}
	head = append(append(head, src[:]...), dst[:]...)
	to := net.HardwareAddr{0x33, 0x33, dst[12], dst[13], dst[14], dst[15]}
	return w.write(w.ndp, to, ethernet.EtherTypeIPv6, append(head, body...))
}

func (w *Wire) write(c *packet.Conn, to net.HardwareAddr, kind ethernet.EtherType, body []byte) error {
	b, err := (&ethernet.Frame{Destination: to, Source: w.iface.HardwareAddr, EtherType: kind, Payload: body}).MarshalBinary()
	if err != nil {
		return err
	}
	_, err = c.WriteTo(b, &packet.Addr{HardwareAddr: to})
	return err
}

func (w *Wire) close() {
	w.arp.Close()
	w.ndp.Close()
}
