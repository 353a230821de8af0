package peering

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	defaultPort    = 179
	longestMD5Pass = 80 // bytes, as Linux takes for TCP_MD5SIG
)

// A peer is a Peer, read.
type peer struct {
	Peer
	session  Session    // without the defaults that depend on the node
	selected *set       // the nodes
	had      []standing // what it had, where it still selects the node
	refused  error      // why it is not used
}

// newPeer reads a peer and looks up what it names, without a look at others.
func newPeer(in Peer, secrets map[string]Secret, profiles map[string]*BFD) (p *peer, warning, err error) {
	p = &peer{Peer: in}
	if in.Problem != nil {
		return p, nil, in.Problem
	}
	p.session = Session{
		Name: in.Name, Interface: in.Interface, Port: in.Port, VRF: in.VRF, MyAS: in.MyAS, LocalAS: in.LocalAS, PeerAS: in.PeerAS,
		Internal: in.DynamicAS == "internal", External: in.DynamicAS == "external",
		Multihop: in.Multihop, GracefulRestart: in.GracefulRestart,
	}
	if p.session.Port == 0 {
		p.session.Port = defaultPort
	}
	for _, step := range []func() error{p.readAS, p.readAddresses, p.readTimers, p.readTTL, func() error { return onceSelected("spec.nodeSelectors", in.NodeSelectors) }} {
		if err := step(); err != nil {
			return p, nil, err
		}
	}
	warned, err := p.readPassword(secrets)
	if err != nil {
		return p, nil, err
	}
	if in.Profile != "" {
		if p.session.BFD = profiles[in.Profile]; p.session.BFD == nil {
			warned = errors.Join(warned, fmt.Errorf("spec.bfdProfile names %s, which is not there or is refused: the session is used without BFD, or with that which it has; make or correct that BFDProfile", in.Profile))
		}
	}
	return p, warned, nil
}

// keepBFD lets a peer whose profile cannot be used any more keep the one that it had:
// a router that is told of the end of BFD may drop the routes.
func (p *peer) keepBFD(before *Plan) {
	if p.Profile == "" || p.session.BFD != nil || before == nil {
		return
	}
	for _, was := range before.peers {
		if was.Name == p.Name && was.Created.Equal(p.Created) {
			p.session.BFD = was.session.BFD
		}
	}
}

func (p *peer) readAS() error {
	internal := p.DynamicAS == "internal" || p.DynamicAS == "" && p.PeerAS == p.MyAS
	switch {
	case p.MyAS == 0:
		return errors.New("spec.myASN is 0, which is reserved (RFC 7607): give the number of the nodes' AS")
	case p.PeerAS == 0 && p.DynamicAS == "":
		return errors.New("neither spec.peerASN nor spec.dynamicASN is given: give one, so that a wrong router is not taken")
	case p.PeerAS != 0 && p.DynamicAS != "":
		return errors.New("spec.peerASN and spec.dynamicASN are both given: remove one")
	case p.DynamicAS != "" && p.DynamicAS != "internal" && p.DynamicAS != "external":
		return fmt.Errorf("spec.dynamicASN is %q: write internal or external", p.DynamicAS)
	case p.Multihop && p.PeerAS == p.MyAS:
		return errors.New("spec.ebgpMultiHop is for routers of another AS: remove it, since spec.peerASN is spec.myASN")
	case p.LocalAS != 0 && internal:
		return errors.New("spec.localASN is for routers of another AS: remove it, or correct the router's AS")
	case p.LocalAS != 0 && p.LocalAS == p.PeerAS:
		return fmt.Errorf("spec.localASN and spec.peerASN are both %d: the router would take the nodes for its own AS; show it another one", p.LocalAS)
	}
	return nil
}

func (p *peer) readAddresses() (err error) {
	if (p.Address == "") == (p.Interface == "") {
		return errors.New("give either spec.peerAddress or spec.interface")
	}
	s := &p.session
	if p.Address != "" {
		if s.Address, err = p.readAddress("peerAddress", p.Address); err != nil {
			return err
		}
	}
	if p.Source != "" {
		if s.Source, err = p.readAddress("sourceAddress", p.Source); err != nil {
			return err
		}
		if p.Interface != "" {
			return errors.New("spec.sourceAddress cannot be used with spec.interface, where link-local addresses are spoken from: remove it")
		}
		if s.Source.Is4() != s.Address.Is4() {
			return fmt.Errorf("spec.sourceAddress %s and spec.peerAddress %s are of different families", s.Source, s.Address)
		}
	}
	if p.RouterID != "" {
		s.RouterID, err = netip.ParseAddr(p.RouterID)
		if err != nil || !s.RouterID.Is4() || s.RouterID.IsUnspecified() {
			s.RouterID = netip.Addr{}
			return fmt.Errorf("spec.routerID %q must have the form of an IPv4 address, and not be 0.0.0.0", p.RouterID)
		}
	}
	both := p.DualStack || p.Interface != ""
	s.IPv4, s.IPv6 = both || s.Address.Is4(), both || !s.Address.Is4()
	return nil
}

func (p *peer) readAddress(field, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	a = a.Unmap()
	switch {
	case err != nil:
		return a, fmt.Errorf("spec.%s %q is not an address: write 192.0.2.1 or 2001:db8::1", field, text)
	case a.IsUnspecified() || a.IsMulticast():
		return a, fmt.Errorf("spec.%s %s is the address of no station", field, a)
	case a.Is6() && a.IsLinkLocalUnicast():
		return a, fmt.Errorf("spec.%s %s is a link-local address, which does not say on which segment: give spec.interface instead of spec.peerAddress", field, a)
	}
	return a, nil
}

func (p *peer) readTTL() error {
	switch p.TTLSecurity {
	case "", "false":
		return nil
	case "true":
	default:
		return fmt.Errorf("annotation %s is %q: write \"true\" or \"false\"", AnnotationTTLSecurity, p.TTLSecurity)
	}
	if p.Multihop {
		return fmt.Errorf("annotation %s is for routers on a segment of the node: remove it or spec.ebgpMultiHop", AnnotationTTLSecurity)
	}
	p.session.TTLSecurity = true
	return nil
}

func (p *peer) readPassword(secrets map[string]Secret) (warning, err error) {
	p.session.Password = p.Password
	if p.PasswordSecret != "" {
		if p.Password != "" {
			return nil, errors.New("spec.password and spec.passwordSecret are both given: remove one")
		}
		s, there := secrets[p.PasswordSecret]
		switch {
		case !there:
			return nil, fmt.Errorf("spec.passwordSecret names %s, and there is no such Secret in this namespace: make one of type %s with an entry password", p.PasswordSecret, SecretType)
		case s.Type != SecretType:
			return nil, fmt.Errorf("spec.passwordSecret names %s, a Secret of type %s: it must be of type %s; delete it and create it anew", p.PasswordSecret, s.Type, SecretType)
		case s.Password == "":
			return nil, fmt.Errorf("spec.passwordSecret names %s, a Secret without an entry password: add one", p.PasswordSecret)
		}
		p.session.Password = strings.TrimRight(s.Password, "\r\n")
		if p.session.Password != s.Password {
			warning = fmt.Errorf("the password in Secret %s ends in a line break, which is left out", p.PasswordSecret)
		}
	}
	if n := len(p.session.Password); n > longestMD5Pass {
		return nil, fmt.Errorf("the password has %d bytes, and TCP MD5 takes at most %d: choose a shorter one", n, longestMD5Pass)
	}
	return warning, nil
}

// placed says on which nodes there can be no session: the one that the address is of.
func (p *peer) placed(nodes *nodes) (warning, err error) {
	i, owned := p.owner(nodes)
	switch {
	case owned && p.selected.size() == 1:
		return nil, fmt.Errorf("spec.peerAddress %s is the address of node %s itself, the only one that has the session: correct the address or spec.nodeSelectors", p.session.Address, nodes.all[i].Name)
	case owned:
		return fmt.Errorf("spec.peerAddress %s is the address of node %s itself, which makes no session with it", p.session.Address, nodes.all[i].Name), nil
	case p.selected.size() == 0 && len(nodes.all) > 0:
		return errors.New("spec.nodeSelectors match no node, so nobody has this session"), nil
	}
	return nil, nil
}

// owner is the node that is selected and that the router's address is of.
func (p *peer) owner(nodes *nodes) (i int, is bool) {
	i, is = nodes.owner[p.session.Address]
	return i, is && p.selected.has(i)
}

// conflict says why a node cannot have this session beside another one, and what can
// be done; "": it can. The other's is how the other one's fields are called.
func (a *Session) conflict(b *Session, others string) (what, advice string) {
	if a.VRF != b.VRF {
		return "", ""
	}
	switch {
	case a.Address.IsValid() && a.Address == b.Address:
		return fmt.Sprintf("spec.peerAddress %s is %s, too: a node has one session with a router", a.Address, others), "change one of them, or the nodeSelectors"
	case a.Interface != "" && a.Interface == b.Interface:
		return fmt.Sprintf("spec.interface %s is %s, too: a node has one session with the router there", a.Interface, others), "change one of them, or the nodeSelectors"
	case a.MyAS != b.MyAS:
		return fmt.Sprintf("spec.myASN is %d, and %s is %d: a node is in one AS", a.MyAS, others, b.MyAS), "give both the same, and show this router another one by spec.localASN"
	case a.RouterID.IsValid() && b.RouterID.IsValid() && a.RouterID != b.RouterID:
		return fmt.Sprintf("spec.routerID is %s, and %s is %s: a node has one", a.RouterID, others, b.RouterID), "give both the same, or leave one out"
	}
	return "", ""
}
