package layer2

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	listTries   = 5
	ipv6MinMTU  = 1280 // RFC 8200 §5; below it the kernel drops IPv6 from the interface
	watchBuffer = 1 << 20
)

// Links lists the interfaces. A list that changed while it was read is read again.
func (k *kernel) Links() ([]link, error) {
	var all []netlink.Link
	var err error
	for range listTries {
		if all, err = netlink.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	links := make([]link, len(all))
	for i, l := range all {
		links[i] = fromNetlink(l)
	}
	return links, nil
}

// Watch subscribes to changes of interfaces.
func (k *kernel) Watch(stop <-chan struct{}) (<-chan change, error) {
	updates := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(updates, stop, netlink.LinkSubscribeOptions{
		ErrorCallback:     func(error) {}, // the channel is closed after it
		ReceiveBufferSize: watchBuffer,
	})
	if err != nil {
		return nil, err
	}
	changes := make(chan change)
	go func() {
		defer close(changes)
		for u := range updates {
			if u.Family != unix.AF_UNSPEC {
				continue // what a bridge tells of its ports: they leave it, but stay
			}
			select {
			case changes <- change{link: fromNetlink(u.Link), gone: u.Header.Type == unix.RTM_DELLINK}:
			case <-stop:
			}
		}
	}()
	return changes, nil
}

func fromNetlink(l netlink.Link) link {
	a := l.Attrs()
	flags := a.RawFlags
	out := link{
		index: a.Index, name: a.Name, ipv6: a.MTU >= ipv6MinMTU,
		up: flags&unix.IFF_UP != 0, running: flags&unix.IFF_RUNNING != 0,
	}
	if len(a.HardwareAddr) == len(out.mac) {
		out.mac = mac(a.HardwareAddr)
	}
	// A member of a VRF is an interface in its own right; a port of a bridge
	// or a bond is not.
	port := a.MasterIndex != 0 && (a.Slave == nil || a.Slave.SlaveType() != "vrf")
	out.fit = a.EncapType == "ether" && flags&unix.IFF_BROADCAST != 0 &&
		flags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) == 0 && !port
	return out
}
