package peering

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast.dev/holdfast/allocator"
)

var zoneA = []allocator.Selector{{{Key: "zone", Operator: allocator.In, Values: []string{"a"}}}}

// cluster is one node in zone a, with both families, and one in zone b without IPv4.
func cluster() []allocator.Node {
	return []allocator.Node{
		{Name: "n1", Labels: map[string]string{"zone": "a"}, Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::11"), netip.MustParseAddr("10.0.0.11")}},
		{Name: "n2", Labels: map[string]string{"zone": "b"}, Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::12")}},
	}
}

func router(change func(*Peer)) Peer {
	p := Peer{Object: Object{Name: "r"}, MyAS: 64512, PeerAS: 64513, Address: "10.0.0.1"}
	change(&p)
	return p
}

var secrets = []Secret{
	{Name: "good", Type: SecretType, Password: "hush"}, {Name: "newline", Type: SecretType, Password: "hush\n"},
	{Name: "opaque", Type: "Opaque", Password: "hush"}, {Name: "empty", Type: SecretType},
}

// Defaults, and what each field does to the session of node n1.
func TestPeerBecomesASession(t *testing.T) {
	base := Session{
		Name: "r", Address: netip.MustParseAddr("10.0.0.1"), Port: 179, MyAS: 64512, PeerAS: 64513, RouterID: netip.MustParseAddr("10.0.0.11"),
		IPv4: true, HoldTime: 90 * time.Second, Keepalive: 30 * time.Second, Connect: 5 * time.Second,
	}
	bfd := &BFD{Receive: 300 * time.Millisecond, Transmit: 50 * time.Millisecond, Multiplier: 3, MinimumTTL: 254}
	for name, c := range map[string]struct {
		write func(*Peer)
		want  func(*Session)
	}{
		"defaults":        {func(*Peer) {}, func(*Session) {}},
		"IPv6":            {func(p *Peer) { p.Address = "2001:db8::1" }, func(s *Session) { s.Address, s.IPv4, s.IPv6 = netip.MustParseAddr("2001:db8::1"), false, true }},
		"both families":   {func(p *Peer) { p.DualStack = true }, func(s *Session) { s.IPv6 = true }},
		"unnumbered":      {func(p *Peer) { p.Address, p.Interface = "", "eth1" }, func(s *Session) { s.Address, s.Interface, s.IPv6 = netip.Addr{}, "eth1", true }},
		"mapped":          {func(p *Peer) { p.Address = "::ffff:10.0.0.1" }, func(*Session) {}},
		"dynamic":         {func(p *Peer) { p.PeerAS, p.DynamicAS = 0, "internal" }, func(s *Session) { s.PeerAS, s.Internal = 0, true }},
		"external":        {func(p *Peer) { p.PeerAS, p.DynamicAS = 0, "external" }, func(s *Session) { s.PeerAS, s.External = 0, true }},
		"local AS":        {func(p *Peer) { p.LocalAS = 65000 }, func(s *Session) { s.LocalAS = 65000 }},
		"port":            {func(p *Peer) { p.Port = 1179 }, func(s *Session) { s.Port = 1179 }},
		"source":          {func(p *Peer) { p.Source = "10.0.0.11" }, func(s *Session) { s.Source = netip.MustParseAddr("10.0.0.11") }},
		"router ID":       {func(p *Peer) { p.RouterID = "1.2.3.4" }, func(s *Session) { s.RouterID = netip.MustParseAddr("1.2.3.4") }},
		"hold only":       {func(p *Peer) { p.HoldTime = "30s" }, func(s *Session) { s.HoldTime, s.Keepalive = 30*time.Second, 10*time.Second }},
		"keepalive only":  {func(p *Peer) { p.Keepalive = "2s" }, func(s *Session) { s.HoldTime, s.Keepalive = 6*time.Second, 2*time.Second }},
		"shortest":        {func(p *Peer) { p.HoldTime = "3900ms" }, func(s *Session) { s.HoldTime, s.Keepalive = 3*time.Second, time.Second }},
		"no hold time":    {func(p *Peer) { p.HoldTime = "0s" }, func(s *Session) { s.HoldTime, s.Keepalive = 0, 0 }},
		"keepalive of 0s": {func(p *Peer) { p.HoldTime, p.Keepalive = "9s", "0s" }, func(s *Session) { s.HoldTime, s.Keepalive = 9*time.Second, 3*time.Second }},
		"connect":         {func(p *Peer) { p.Connect = "1m" }, func(s *Session) { s.Connect = time.Minute }},
		"the rest": {
			func(p *Peer) { p.Multihop, p.GracefulRestart, p.VRF, p.Password = true, true, "red", "x" },
			func(s *Session) { s.Multihop, s.GracefulRestart, s.VRF, s.Password = true, true, "red", "x" },
		},
		"TTL security": {func(p *Peer) { p.TTLSecurity = "true" }, func(s *Session) { s.TTLSecurity = true }},
		"no security":  {func(p *Peer) { p.TTLSecurity, p.Multihop = "false", true }, func(s *Session) { s.Multihop = true }},
		"secret":       {func(p *Peer) { p.PasswordSecret = "good" }, func(s *Session) { s.Password = "hush" }},
		"line break":   {func(p *Peer) { p.PasswordSecret = "newline" }, func(s *Session) { s.Password = "hush" }},
		"BFD":          {func(p *Peer) { p.Profile = "fast" }, func(s *Session) { s.BFD = bfd }},
		"unknown BFD":  {func(p *Peer) { p.Profile = "none" }, func(*Session) {}},
		"refused BFD":  {func(p *Peer) { p.Profile = "echo" }, func(*Session) {}},
	} {
		want := base
		c.want(&want)
		plan := Resolve(Facts{
			Nodes: cluster(), Secrets: secrets, Peers: []Peer{router(c.write)},
			Profiles: []Profile{{Object: Object{Name: "fast"}, Transmit: 50}, {Object: Object{Name: "echo"}, Echo: true}},
		})
		if v := plan.Peers["r"]; v.Refused != nil || (v.Warning != nil) != (name == "line break" || name == "unknown BFD" || name == "refused BFD") {
			t.Errorf("%s: %+v", name, v)
		}
		if got := plan.Sessions("n1"); !reflect.DeepEqual(got, []Session{want}) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
}

// Invariants 2 and 4: who cannot be used is told why, and is frozen where it is selected.
func TestBadPeerIsRefusedAndFrozen(t *testing.T) {
	for want, write := range map[string]func(*Peer){
		"spec.myASN is 0":                            func(p *Peer) { p.MyAS = 0 },
		"neither spec.peerASN":                       func(p *Peer) { p.PeerAS = 0 },
		"spec.peerASN and spec.dynamicASN":           func(p *Peer) { p.DynamicAS = "internal" },
		"spec.dynamicASN is \"any\"":                 func(p *Peer) { p.PeerAS, p.DynamicAS = 0, "any" },
		"spec.ebgpMultiHop":                          func(p *Peer) { p.PeerAS, p.Multihop = 64512, true },
		"spec.localASN is for":                       func(p *Peer) { p.PeerAS, p.LocalAS = 64512, 65000 },
		"spec.localASN and spec.peerASN":             func(p *Peer) { p.LocalAS = 64513 },
		"give either spec.peerAddress":               func(p *Peer) { p.Interface = "eth0" },
		"spec.peerAddress \"10.0.0\"":                func(p *Peer) { p.Address = "10.0.0" },
		"spec.peerAddress 224.0.0.5":                 func(p *Peer) { p.Address = "224.0.0.5" },
		"spec.peerAddress fe80::1":                   func(p *Peer) { p.Address = "fe80::1" },
		"spec.peerAddress 10.0.0.11 is the address":  func(p *Peer) { p.Address = "10.0.0.11" },
		"spec.sourceAddress \"x\"":                   func(p *Peer) { p.Source = "x" },
		"spec.sourceAddress 2001:db8::1 and":         func(p *Peer) { p.Source = "2001:db8::1" },
		"spec.sourceAddress cannot":                  func(p *Peer) { p.Source, p.Address, p.Interface = "10.0.0.11", "", "eth1" },
		"spec.routerID \"::1\"":                      func(p *Peer) { p.RouterID = "::1" },
		"spec.routerID \"0.0.0.0\"":                  func(p *Peer) { p.RouterID = "0.0.0.0" },
		"spec.holdTime \"soon\"":                     func(p *Peer) { p.HoldTime = "soon" },
		"the hold time is 2s":                        func(p *Peer) { p.HoldTime = "2s" },
		"the hold time is 1.5s":                      func(p *Peer) { p.Keepalive = "500ms" },
		"the hold time is 18h12m16s":                 func(p *Peer) { p.HoldTime = "65536s" },
		"the hold time is -3s":                       func(p *Peer) { p.HoldTime = "-3s" },
		"spec.keepaliveTime is -3s":                  func(p *Peer) { p.Keepalive = "-3s" },
		"spec.keepaliveTime 10s is longer":           func(p *Peer) { p.HoldTime, p.Keepalive = "9s", "10s" },
		"spec.keepaliveTime 1s is longer":            func(p *Peer) { p.HoldTime, p.Keepalive = "0s", "1s" },
		"spec.keepaliveTime 999ms is shorter":        func(p *Peer) { p.HoldTime, p.Keepalive = "9s", "999ms" },
		"spec.connectTime is 1.5s":                   func(p *Peer) { p.Connect = "1500ms" },
		"spec.connectTime is 0s":                     func(p *Peer) { p.Connect = "0s" },
		"annotation holdfast.dev/ttl-security is \"": func(p *Peer) { p.TTLSecurity = "yes" },
		"annotation holdfast.dev/ttl-security is f":  func(p *Peer) { p.TTLSecurity, p.Multihop = "true", true },
		"spec.password and":                          func(p *Peer) { p.Password, p.PasswordSecret = "x", "good" },
		"spec.passwordSecret names none, and there":  func(p *Peer) { p.PasswordSecret = "none" },
		"spec.passwordSecret names opaque, a Secret": func(p *Peer) { p.PasswordSecret = "opaque" },
		"spec.passwordSecret names empty, a Secret":  func(p *Peer) { p.PasswordSecret = "empty" },
		"the password has 81 bytes":                  func(p *Peer) { p.Password = strings.Repeat("x", 81) },
		"spec.nodeSelectors[1] is the same":          func(p *Peer) { p.NodeSelectors = append(zoneA, zoneA...) },
		"spec.nodeSelectors[0] has the same requirement on zone twice": func(p *Peer) {
			p.NodeSelectors = []allocator.Selector{append(zoneA[0], zoneA[0]...)}
		},
	} {
		p := router(write)
		if len(p.NodeSelectors) == 0 {
			p.NodeSelectors = zoneA
		}
		plan := Resolve(Facts{Nodes: cluster(), Secrets: secrets, Peers: []Peer{p}})
		v := plan.Peers["r"]
		if v.Refused == nil || !strings.HasPrefix(v.Refused.Error(), want) {
			t.Errorf("%s: %v", want, v.Refused)
		}
		if got := plan.Sessions("n1"); !reflect.DeepEqual(got, []Session{{Name: "r", Frozen: true}}) {
			t.Errorf("%s: on n1 %+v", want, got)
		}
		if got := plan.Sessions("n2"); got != nil {
			t.Errorf("%s: on n2 %+v", want, got)
		}
	}
}

func TestWhereAPeerIs(t *testing.T) {
	plan := Resolve(Facts{Nodes: cluster(), Peers: []Peer{
		router(func(p *Peer) { p.Name, p.Address = "own", "10.0.0.11" }),
		router(func(p *Peer) {
			p.Name, p.NodeSelectors = "nowhere", []allocator.Selector{{{Key: "gpu", Operator: allocator.Exists}}}
		}),
	}})
	for name, want := range map[string]string{"own": "is the address of node n1 itself", "nowhere": "match no node"} {
		if v := plan.Peers[name]; v.Refused != nil || v.Warning == nil || !strings.Contains(v.Warning.Error(), want) {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if s := plan.Sessions("n1"); len(s) != 1 || !s[0].Frozen {
		t.Errorf("with itself: %+v", s)
	}
	s := plan.Sessions("n2")
	if len(s) != 1 || s[0].Frozen || !s[0].RouterID.Is4() || s[0].RouterID.IsUnspecified() {
		t.Fatalf("a node without IPv4 address: %+v", s)
	}
	if other := routerIDOf("n3", nil); other == s[0].RouterID {
		t.Errorf("two nodes have router ID %s", other)
	}
}

func TestPeersThatCannotBeOnOneNode(t *testing.T) {
	older := router(func(p *Peer) { p.Name, p.Created, p.VRF, p.RouterID = "older", time.Unix(1, 0), "red", "1.1.1.1" })
	for name, c := range map[string]struct {
		write func(*Peer)
		want  string // "": both are used
	}{
		"address":           {func(p *Peer) {}, "spec.peerAddress 10.0.0.1 is that of BGPPeer older, too"},
		"address and port":  {func(p *Peer) { p.Port = 1179 }, "spec.peerAddress 10.0.0.1 is that of BGPPeer older, too"},
		"address elsewhere": {func(p *Peer) { p.VRF = "blue" }, ""},
		"other node":        {func(p *Peer) { p.NodeSelectors = zoneA }, ""},
		"AS":                {func(p *Peer) { p.Address, p.MyAS = "10.0.0.2", 64600 }, "spec.myASN is 64600, and that of BGPPeer older is 64512"},
		"AS in another VRF": {func(p *Peer) { p.Address, p.MyAS, p.VRF = "10.0.0.2", 64600, "blue" }, ""},
		"router ID":         {func(p *Peer) { p.Address, p.RouterID = "10.0.0.2", "2.2.2.2" }, "spec.routerID is 2.2.2.2, and that of BGPPeer older is 1.1.1.1"},
		"no router ID":      {func(p *Peer) { p.Address, p.RouterID = "10.0.0.2", "" }, ""},
	} {
		p := older
		p.Name, p.Created = "newer", time.Unix(2, 0)
		c.write(&p)
		first := older
		if len(p.NodeSelectors) > 0 {
			first.NodeSelectors = []allocator.Selector{{{Key: "zone", Operator: allocator.NotIn, Values: []string{"a"}}}}
		}
		plan := Resolve(Facts{Nodes: cluster(), Peers: []Peer{p, first}})
		if plan.Peers["older"].Refused != nil {
			t.Errorf("%s: the older one is refused: %v", name, plan.Peers["older"].Refused)
		}
		if got := plan.Peers["newer"].Refused; (got == nil) != (c.want == "") || got != nil && !strings.HasPrefix(got.Error(), c.want) {
			t.Errorf("%s: %v", name, got)
		}
		p.Accepted = true // invariant 3
		plan = Resolve(Facts{Nodes: cluster(), Peers: []Peer{p, first}})
		if plan.Peers["newer"].Refused != nil || (plan.Peers["older"].Refused == nil) != (c.want == "") {
			t.Errorf("%s: with the newer one in use: %+v", name, plan.Peers)
		}
	}
	unnumbered := func(name string) Peer {
		return router(func(p *Peer) { p.Name, p.Address, p.Interface = name, "", "eth1" })
	}
	plan := Resolve(Facts{Peers: []Peer{unnumbered("a"), unnumbered("b")}}) // no node is known yet
	if err := plan.Peers["b"].Refused; err == nil || !strings.HasPrefix(err.Error(), "spec.interface eth1 is that of BGPPeer a") {
		t.Errorf("interface: %v", err)
	}
}
