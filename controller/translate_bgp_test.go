package controller

import (
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

const wellKept = `
metadata:
  name: x
  namespace: ours
  generation: 3
  creationTimestamp: "2026-01-02T03:04:05Z"
  annotations: {holdfast.dev/ttl-security: "true", holdfast.dev/weighted: "false", other: y}
status:
  conditions: [{type: Accepted, status: "True", reason: Accepted, message: "", observedGeneration: 3, lastTransitionTime: null}]
spec:
`

var wellKeptFact = peering.Object{Name: "x", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Accepted: true}

// trimmed reads an object and trims it, which takes away nothing that is read.
func trimmed[T any](t *testing.T, text string) *T {
	t.Helper()
	out := from[T](t, text)
	if _, err := trim(any(out).(runtime.Object)); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBGPPeerIsTranslatedWhole(t *testing.T) {
	got := peerFact(trimmed[v1beta2.BGPPeer](t, wellKept+`
  myASN: 64512
  peerASN: 64513
  dynamicASN: external
  localASN: 65000
  peerAddress: 10.0.0.1
  interface: eth1
  sourceAddress: 10.0.0.2
  peerPort: 1179
  holdTime: 1m30s
  keepaliveTime: 10s
  connectTime: 7s
  routerID: 1.1.1.1
  nodeSelectors: [{matchLabels: {zone: a}}, {}]
  password: hush
  passwordSecret: {name: s, namespace: ours}
  bfdProfile: fast
  enableGracefulRestart: true
  ebgpMultiHop: true
  vrf: red
  disableMP: true
  dualStackAddressFamily: true
`))
	want := peering.Peer{
		Object: wellKeptFact, MyAS: 64512, PeerAS: 64513, DynamicAS: "external", LocalAS: 65000, Address: "10.0.0.1", Interface: "eth1", Source: "10.0.0.2",
		Port: 1179, HoldTime: "1m30s", Keepalive: "10s", Connect: "7s", RouterID: "1.1.1.1", VRF: "red",
		NodeSelectors: []allocator.Selector{{{Key: "zone", Operator: allocator.In, Values: []string{"a"}}}, nil},
		Password:      "hush", PasswordSecret: "s", Profile: "fast", GracefulRestart: true, Multihop: true, DualStack: true, TTLSecurity: "true",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestBGPAdvertisementIsTranslatedWhole(t *testing.T) {
	zone := allocator.Selector{{Key: "zone", Operator: allocator.Exists}}
	got := routeAdvertisementFact(trimmed[v1beta1.BGPAdvertisement](t, wellKept+`
  aggregationLength: 24
  aggregationLengthV6: 64
  localPref: 200
  communities: [blue]
  ipAddressPools: [p]
  ipAddressPoolSelectors: [{matchExpressions: [{key: zone, operator: Exists}]}]
  nodeSelectors: [{matchExpressions: [{key: zone, operator: Exists}]}]
  serviceSelectors: [{matchExpressions: [{key: zone, operator: Exists}]}]
  peers: [r]
`))
	want := peering.Advertisement{
		Object: wellKeptFact, Length4: 24, Length6: 64, LocalPref: 200, Communities: []string{"blue"}, Pools: []string{"p"}, Peers: []string{"r"}, Weighted: "false",
		PoolSelectors: []allocator.Selector{zone}, NodeSelectors: []allocator.Selector{zone}, ServiceSelectors: []allocator.Selector{zone},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestProfileCommunityAndSecretAreTranslatedWhole(t *testing.T) {
	profile, _ := profileOf(trimmed[v1beta1.BFDProfile](t, wellKept+`
  receiveInterval: 10
  transmitInterval: 20
  detectMultiplier: 4
  echoInterval: 50
  echoMode: true
  passiveMode: true
  minimumTtl: 9
`))
	if want := (peering.Profile{Object: wellKeptFact, Receive: 10, Transmit: 20, Multiplier: 4, MinimumTTL: 9, Passive: true, Echo: true}); !reflect.DeepEqual(profile.fact, want) {
		t.Errorf("got  %+v\nwant %+v", profile.fact, want)
	}
	community, _ := communityOf(trimmed[v1beta1.Community](t, wellKept+"  communities: [{name: blue, value: '1:2'}]"))
	if want := (peering.Community{Object: wellKeptFact, Aliases: []peering.Alias{{Name: "blue", Value: "1:2"}}}); !reflect.DeepEqual(community.fact, want) {
		t.Errorf("got  %+v\nwant %+v", community.fact, want)
	}
	secret := trimmed[corev1.Secret](t, "metadata: {name: s, annotations: {a: b}}\ntype: kubernetes.io/basic-auth\ndata: {password: aHVzaA==, username: aHVzaA==}")
	if got, want := secretFact(secret), (peering.Secret{Name: "s", Type: "kubernetes.io/basic-auth", Password: "hush"}); got != want || len(secret.Data) != 1 {
		t.Errorf("got  %+v\nwant %+v; kept %v", got, want, secret.Data)
	}
}

// Invariant 7: who cannot be read is refused, and is told where it is wrong.
func TestBGPObjectsThatCannotBeRead(t *testing.T) {
	const near = "Selectors: [{matchExpressions: [{key: a, operator: Near}]}]"
	p := peerFact(from[v1beta2.BGPPeer](t, "metadata: {name: x}\nspec: {myASN: 1, node"+near+"}"))
	if p.Problem == nil || !strings.HasPrefix(p.Problem.Error(), "spec.nodeSelectors[0]: ") || p.NodeSelectors != nil {
		t.Errorf("%+v", p)
	}
	p = peerFact(from[v1beta2.BGPPeer](t, "metadata: {name: x, namespace: ours}\nspec: {myASN: 1, passwordSecret: {name: s, namespace: theirs}}"))
	if p.Problem == nil || !strings.HasPrefix(p.Problem.Error(), "spec.passwordSecret.namespace is theirs") {
		t.Errorf("%+v", p)
	}
	for _, field := range []string{"ipAddressPool", "node", "service"} {
		a := routeAdvertisementFact(from[v1beta1.BGPAdvertisement](t, "metadata: {name: x}\nspec: {"+field+near+"}"))
		if a.Problem == nil || !strings.HasPrefix(a.Problem.Error(), "spec."+field+"Selectors[0]: ") {
			t.Errorf("%s: %+v", field, a.Problem)
		}
	}
}
