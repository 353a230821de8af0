package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listenRetry is the wait after a port could not be listened on.
const listenRetry = 10 * time.Second

// A caller is a router that may connect.
type caller struct {
	address  netip.Addr // not valid: not known yet
	iface    string     // of an unnumbered one: any link-local address there
	device   string
	password string
}

func (p *peer) caller() caller {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := caller{address: p.want.Address, device: p.want.Device, password: p.want.Password}
	if !c.address.IsValid() {
		c.address, c.iface = p.router, p.want.Interface
	}
	return c
}

func (c caller) is(router netip.Addr, device string) bool {
	if c.device != device {
		return false
	}
	// A password is of one address: who else is on the segment has no part in it.
	return c.address == router || c.password == "" && c.iface != "" && router.IsLinkLocalUnicast() && router.Zone() == c.iface
}

// ears are the listening sockets: one for each family and VRF device of a caller.
type ears struct {
	port uint16
	log  *slog.Logger
	take func(tcp *net.TCPConn, device, password string) // that the kernel demanded
	wake chan struct{}

	mu      sync.Mutex
	callers []caller

	// The rest belongs to run.
	open   map[ear]*listener
	warned map[ear]bool
	serves sync.WaitGroup
}

// An ear is what a listener is for. With a VRF device in use all listeners
// share the port, as the kernel wants it of sockets with and without device.
type ear struct {
	six    bool
	device string
	shared bool
}

type listener struct {
	tcp *net.TCPListener

	mu   sync.Mutex
	keys map[netip.Addr]string // passwords that the kernel demands
}

func newEars(port uint16, log *slog.Logger, take func(tcp *net.TCPConn, device, password string)) *ears {
	return &ears{port: port, log: log, take: take, wake: make(chan struct{}, 1), open: make(map[ear]*listener), warned: make(map[ear]bool)}
}

// set says who may connect from now on.
func (e *ears) set(callers []caller) {
	e.mu.Lock()
	e.callers = callers
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *ears) run(ctx context.Context) {
	if e.port == 0 {
		return
	}
	retry := time.NewTimer(listenRetry)
	defer retry.Stop()
	for {
		e.reconcile(ctx)
		retry.Reset(listenRetry)
		select {
		case <-ctx.Done():
			for _, l := range e.open {
				l.tcp.Close()
			}
			e.serves.Wait()
			return
		case <-e.wake:
		case <-retry.C:
		}
	}
}

// reconcile opens what is missing, and sets the passwords.
func (e *ears) reconcile(ctx context.Context) {
	e.mu.Lock()
	callers := e.callers
	e.mu.Unlock()
	wanted := wantedEars(callers)
	for k, l := range e.open {
		if wanted[k] == nil {
			l.tcp.Close()
			delete(e.open, k)
		}
	}
	for k, keys := range wanted {
		l := e.open[k]
		if l == nil {
			l = &listener{keys: make(map[netip.Addr]string)}
			if err := l.listen(ctx, k, e.port, keys); err != nil {
				if !e.warned[k] {
					e.log.Warn("routers cannot connect; trying again every 10 s", "err", err)
				}
				e.warned[k] = true
				continue
			}
			e.open[k], e.warned[k] = l, false
			e.serves.Go(func() { e.serve(l, k.device) })
		}
		if err := l.rekey(k.six, keys); err != nil {
			e.log.Warn("passwords of routers that connect could not be set: these routers are refused", "err", err)
		}
	}
}

// wantedEars are the listeners for callers, with the passwords of each.
func wantedEars(callers []caller) map[ear]map[netip.Addr]string {
	shared := false
	for _, c := range callers {
		shared = shared || c.device != ""
	}
	wanted := make(map[ear]map[netip.Addr]string)
	for _, c := range callers {
		k := ear{six: !c.address.Is4(), device: c.device, shared: shared}
		if wanted[k] == nil {
			wanted[k] = make(map[netip.Addr]string)
		}
		if c.password != "" && c.address.IsValid() {
			wanted[k][c.address.WithZone("")] = c.password
		}
	}
	return wanted
}

// listen opens the socket. The passwords are set before anybody can connect; of one
// that cannot be set rekey tells.
func (l *listener) listen(ctx context.Context, k ear, port uint16, keys map[netip.Addr]string) error {
	network, address := "tcp4", netip.IPv4Unspecified()
	if k.six {
		network, address = "tcp6", netip.IPv6Unspecified()
	}
	c := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error {
			if k.shared {
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
					return fmt.Errorf("sharing the port: %w", err)
				}
			}
			if k.device != "" {
				if err := unix.BindToDevice(fd, k.device); err != nil {
					return fmt.Errorf("binding to device %s: %w", k.device, err)
				}
			}
			_ = l.demand(fd, k.six, keys)
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1); err != nil { // for adopt
				return fmt.Errorf("keeping SYNs: %w", err)
			}
			return mark(fd, k.six)
		})
	}}
	c.SetMultipathTCP(false) // it knows no TCP MD5
	tcp, err := c.Listen(ctx, network, netip.AddrPortFrom(address, port).String())
	if err != nil {
		return fmt.Errorf("listening on TCP port %d: %w", port, err)
	}
	l.tcp = tcp.(*net.TCPListener)
	return nil
}

// rekey sets the passwords that differ, and removes those of nobody.
func (l *listener) rekey(six bool, keys map[netip.Addr]string) error {
	raw, err := l.tcp.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error { return l.demand(fd, six, keys) })
}

// demand has the kernel take only what is signed with these passwords from these
// addresses. One that cannot be set does not keep the others from it.
func (l *listener) demand(fd int, six bool, keys map[netip.Addr]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for a := range l.keys {
		if _, ok := keys[a]; !ok {
			delete(l.keys, a)
			errs = append(errs, sign(fd, six, a, ""))
		}
	}
	for a, password := range keys {
		if l.keys[a] == password {
			continue
		}
		delete(l.keys, a)
		err := sign(fd, six, a, password)
		if err == nil {
			l.keys[a] = password
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (l *listener) demanded(a netip.Addr) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[a.WithZone("")]
}

// serve takes connections until the listener is closed.
func (e *ears) serve(l *listener, device string) {
	for {
		tcp, err := l.tcp.AcceptTCP()
		if err == nil {
			e.take(tcp, device, l.demanded(unmapped(tcp.RemoteAddr()).Addr()))
			continue
		}
		if !isTemporary(err) {
			return
		}
		time.Sleep(time.Second) // out of file descriptors: it passes, or others notice
	}
}

func isTemporary(err error) bool {
	return isErrno(err, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED)
}
