package apitest

import (
	"fmt"
	"strings"
	"testing"
)

// samples are manifests as users of MetalLB have them: every kind, every field.
const samples = `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: peer-sample1, namespace: holdfast-system}
spec:
  myASN: 64512
  peerASN: 64512
  peerAddress: 172.30.0.3
  peerPort: 180
  sourceAddress: 172.30.0.4
  holdTime: 1m30s
  keepaliveTime: 30s
  connectTime: 10s
  routerID: 10.10.10.10
  nodeSelectors:
  - {matchLabels: {rack: frontend, network-speed: fast}}
  - matchExpressions: [{key: network-speed, operator: NotIn, values: [slow]}]
  passwordSecret: {name: bgp-test-secret, namespace: holdfast-system}
  bfdProfile: default
  enableGracefulRestart: true
  ebgpMultiHop: false
  vrf: red
  disableMP: false
  dualStackAddressFamily: true
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: unnumbered, namespace: holdfast-system, annotations: {holdfast.dev/ttl-security: "true"}}
spec: {myASN: 64513, dynamicASN: external, interface: net0, localASN: 4200000000, password: hush, holdTime: 0s}
---
apiVersion: metallb.io/v1beta1
kind: BGPPeer
metadata: {name: old, namespace: holdfast-system}
spec:
  myASN: 64512
  peerASN: 64520
  peerAddress: 2001:db8::1
  sourceAddress: 2001:db8::2
  peerPort: 0
  holdTime: 9s
  keepaliveTime: 0s
  routerID: 10.10.10.10
  nodeSelectors:
  - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [hostA, hostB]}]
  password: hush
  bfdProfile: default
  ebgpMultiHop: true
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: bgpadvertisement-advanced, namespace: holdfast-system, annotations: {holdfast.dev/weighted: "true"}}
spec:
  ipAddressPools: [bgppool]
  ipAddressPoolSelectors: [{matchExpressions: [{key: zone, operator: In, values: [east, west]}]}]
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: hostA}}]
  aggregationLength: 30
  aggregationLengthV6: 126
  localPref: 4294967295
  communities: [64512:1234, vpn-only, "large:123:456:7890"]
  peers: [peer-sample1]
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: services, namespace: holdfast-system}
spec: {serviceSelectors: [{matchLabels: {tier: front}}], aggregationLength: 32}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: basic, namespace: holdfast-system}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: communities, namespace: holdfast-system}
spec: {communities: [{name: vpn-only, value: "1234:1"}, {name: NO_ADVERTISE, value: "65535:65282"}, {name: huge, value: "large:1:2:3"}]}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: bfdprofile, namespace: holdfast-system}
spec: {receiveInterval: 380, transmitInterval: 270, detectMultiplier: 5, echoInterval: 40, echoMode: false, passiveMode: true, minimumTtl: 250}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: default, namespace: holdfast-system}
spec: {}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: l2-all, namespace: holdfast-system}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bgppool, namespace: holdfast-system, labels: {zone: east}}
spec:
  addresses: [198.51.100.10/24, "fc00:f853:0ccd:e799::/124"]
  autoAssign: false
  avoidBuggyIPs: true
  serviceAllocation: {priority: 50, namespaces: [default], serviceSelectors: [{matchLabels: {app: a}}]}
---
`

// Manifests apply as they are, and a BGPPeer is the same in both versions, with
// nothing that converts.
func TestManifestsOfMetalLBApplyAsTheyAre(t *testing.T) {
	s := Start(t)
	const crd = "crd/bgppeers.metallb.io"
	if _, err := s.Try(samples, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	spec := func(version, object string) string {
		return s.Kubectl(t, "get", "-n", "holdfast-system", "bgppeers."+version+".metallb.io/"+object, "-o", "jsonpath={.spec}")
	}
	for _, object := range []string{"peer-sample1", "unnumbered", "old"} {
		if one, two := spec("v1beta1", object), spec("v1beta2", object); one != two || !strings.Contains(two, "myASN") {
			t.Errorf("%s: as v1beta1 %s\nas v1beta2 %s", object, one, two)
		}
	}
	// What the older version of MetalLB's did not know is kept when that version is edited.
	s.Kubectl(t, "patch", "-n", "holdfast-system", "bgppeers.v1beta1.metallb.io/peer-sample1", "--type=merge", "-p", `{"spec":{"peerPort":181}}`)
	if got := spec("v1beta2", "peer-sample1"); !strings.Contains(got, `"peerPort":181`) || !strings.Contains(got, "bgp-test-secret") {
		t.Errorf("after an edit as v1beta1: %s", got)
	}
	// A cluster that comes from MetalLB: its CRD converts by a webhook that is gone.
	s.Kubectl(t, "patch", crd, "--type=merge", "-p", `{"spec":{"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1beta1"],`+
		`"clientConfig":{"service":{"name":"metallb-webhook-service","namespace":"metallb-system","path":"/convert"}}}}}}`)
	s.Kubectl(t, "apply", "-k", "../../crds")
	if got := s.Kubectl(t, "get", crd, "-o", "jsonpath={.spec.conversion.strategy}"); got != "None" {
		t.Errorf("after our manifests the CRD converts by %s", got)
	}
	if got := spec("v1beta1", "old"); !strings.Contains(got, "64520") {
		t.Errorf("after MetalLB's webhook: %s", got)
	}
}

// What is wrong with one object alone is refused at once, with what to do.
func TestEveryRuleRefuses(t *testing.T) {
	s := Start(t)
	peer := func(more string) string {
		return "apiVersion: metallb.io/%s\nkind: BGPPeer\nmetadata: {name: bad, namespace: holdfast-system}\nspec: {" + more + "}\n"
	}
	both := func(more string) string { return peer("myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, " + more) }
	for _, c := range []struct{ want, manifest string }{
		{"give either peerASN or dynamicASN", peer("myASN: 64512, peerAddress: 10.0.0.1")},
		{"give either peerASN or dynamicASN", both("dynamicASN: internal")},
		{"Unsupported value: \"any\"", peer("myASN: 64512, dynamicASN: any, peerAddress: 10.0.0.1")},
		{"give either peerAddress or interface", peer("myASN: 64512, peerASN: 64513")},
		{"give either peerAddress or interface", both("interface: eth1")},
		{"AS number 0 is reserved", peer("myASN: 0, peerASN: 64513, peerAddress: 10.0.0.1")},
		{"spec.myASN", peer("myASN: 4294967296, peerASN: 64513, peerAddress: 10.0.0.1")},
		{"spec.localASN", both("localASN: 0")},
		{"must be an IPv4 or IPv6 address", peer("myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1/32")},
		{"must be an IPv4 or IPv6 address", both("sourceAddress: router")},
		{"must have the form of an IPv4 address", both("routerID: '::1'")},
		{"must have the form of an IPv4 address", both("routerID: 0.0.0.0")},
		{"spec.peerPort", both("peerPort: 16385")},
		{"give either password or passwordSecret", both("password: x, passwordSecret: {name: z}")},
		{"must be 0s or from 3s to 65535s", both("holdTime: 2s")},
		{"must be 0s or from 3s to 65535s", both("holdTime: 65536s")},
		{"spec.holdTime", both("holdTime: soon")},
		{"keepaliveTime must not be longer than holdTime", both("holdTime: 9s, keepaliveTime: 10s")},
		{"must be a duration such as 30s", both("keepaliveTime: -1s")},
		{"must be from 1s to 65535s", both("connectTime: 0s")},
		{"must be from 1s to 65535s", both("connectTime: 65536s")},
		{"must be in whole seconds", both("connectTime: 1500ms")},
		{"ebgpMultiHop is for routers of another AS", peer("myASN: 64512, peerASN: 64512, peerAddress: 10.0.0.1, ebgpMultiHop: true")},
		{"with serviceSelectors only the addresses", advertisementWith("serviceSelectors: [{}], aggregationLength: 24")},
		{"with serviceSelectors only the addresses", advertisementWith("serviceSelectors: [{}], aggregationLengthV6: 64")},
		{"spec.aggregationLength", advertisementWith("aggregationLength: 33")},
		{"spec.aggregationLength", advertisementWith("aggregationLength: 0")},
		{"spec.aggregationLengthV6", advertisementWith("aggregationLengthV6: 129")},
		{"Duplicate value: \"1:1\"", advertisementWith("communities: ['1:1', '1:1']")},
		{"Duplicate value: \"p\"", advertisementWith("peers: [p, p]")},
		{"Duplicate value: \"p\"", advertisementWith("ipAddressPools: [p, p]")},
		{"the echo function of BFD is not supported", kindWith("BFDProfile", "echoMode: true")},
		{"spec.receiveInterval", kindWith("BFDProfile", "receiveInterval: 9")},
		{"spec.transmitInterval", kindWith("BFDProfile", "transmitInterval: 60001")},
		{"spec.detectMultiplier", kindWith("BFDProfile", "detectMultiplier: 1")},
		{"spec.minimumTtl", kindWith("BFDProfile", "minimumTtl: 255")},
		{"must be written 65000:1", kindWith("Community", "communities: [{name: x, value: blue}]")},
		{"must be written 65000:1", kindWith("Community", "communities: [{name: x, value: 'large:1:2'}]")},
	} {
		manifests := []string{c.manifest}
		if strings.Contains(c.manifest, "%s") {
			manifests = []string{fmt.Sprintf(c.manifest, "v1beta2"), fmt.Sprintf(c.manifest, "v1beta1")}
		}
		for _, m := range manifests {
			if err := s.wouldCreate(m); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("wanted %q of\n%s\ngot %v", c.want, m, err)
			}
		}
	}
	s.Apply(t, fmt.Sprintf(both("enableGracefulRestart: true"), "v1beta2"))
	_, err := s.Try("", "patch", "-n", "holdfast-system", "bgppeer/bad", "--type=merge", "-p", `{"spec":{"enableGracefulRestart":false}}`)
	if err == nil || !strings.Contains(err.Error(), "delete the BGPPeer and create it anew") {
		t.Errorf("enableGracefulRestart changed: %v", err)
	}
}

func kindWith(kind, more string) string {
	return "apiVersion: metallb.io/v1beta1\nkind: " + kind + "\nmetadata: {name: bad, namespace: holdfast-system}\nspec: {" + more + "}\n"
}

func advertisementWith(more string) string { return kindWith("BGPAdvertisement", more) }
