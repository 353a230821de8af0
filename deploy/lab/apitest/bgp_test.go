package apitest

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
)

func (c *instance) session(name string) (peering.Session, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		if s.Name == name {
			return s, true
		}
	}
	return peering.Session{}, false
}

const peerManifest = `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: %s, namespace: holdfast-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: %s%s}
---
`

// Invariant 7 of package controller, for the kinds of BGP: each is judged by itself,
// and sessions and routes follow from those that can be used.
func TestBGPObjectsAreJudgedByThemselves(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+fmt.Sprintf(node, "node1")+service("a", "")+fmt.Sprintf(slice, "a")+oneOfEach)
	c, other := s.run(t, "node1"), s.run(t, "node2")
	s.Apply(t, fmt.Sprintf(peerManifest, "good", "10.0.0.2", ", bfdProfile: b")+
		fmt.Sprintf(peerManifest, "missing", "10.0.0.3", ", passwordSecret: {name: later}")+
		fmt.Sprintf(peerManifest, "zzz", "10.0.0.2", "")+
		kindWith("BGPAdvertisement", "aggregationLength: 23, ipAddressPools: [p]")+"---\n"+
		strings.Replace(kindWith("BGPAdvertisement", "communities: [red], ipAddressPools: [none]"), "bad", "worse", 1)+"---\n"+
		strings.Replace(kindWith("BGPAdvertisement", "peers: [nobody], ipAddressPools: [none]"), "bad", "odd", 1))
	for object, want := range map[string]string{
		"bgppeers/r":              "False Refused spec.passwordSecret names wrong, a Secret of type Opaque",
		"bgppeers/good":           "True Accepted in use as it stands",
		"bgppeers/missing":        "False Refused spec.passwordSecret names later, and there is no such Secret",
		"bgppeers/zzz":            "False Refused spec.peerAddress 10.0.0.2 is that of BGPPeer good",
		"bgpadvertisements/a":     "True Accepted in use as it stands",
		"bgpadvertisements/bad":   "False Refused not used for pool p: spec.aggregationLength 23",
		"bgpadvertisements/worse": "False Refused spec.communities names \"red\"",
		"bgpadvertisements/odd":   "True Incomplete spec.peers names nobody",
		"bfdprofiles/b":           "True Accepted in use as it stands",
		"communities/c":           "True Accepted in use as it stands",
	} {
		eventually(t, object+" "+want, func() bool { return strings.HasPrefix(s.accepted(t, object), want) })
	}
	for _, c := range []*instance{c, other} {
		eventually(t, "a session, and the frozen ones", func() bool {
			good, ok := c.session("good")
			r, ok2 := c.session("r")
			return ok && ok2 && !good.Frozen && good.BFD != nil && r.Frozen && len(c.sessions) == 4
		})
	}
	at := netip.MustParseAddr("192.0.2.0")
	eventually(t, "a route", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		r := c.seats[at].Routes
		return len(r) == 1 && r[0].Advertisement == "a" && reflect.DeepEqual(r[0].Attributes, allocator.Attributes{Communities: []uint32{64512<<16 | 1}})
	})

	// A change of what a peer names, of the community, and an end.
	s.Apply(t, `
apiVersion: v1
kind: Secret
metadata: {name: later, namespace: holdfast-system}
type: kubernetes.io/basic-auth
stringData: {password: hush}
---
`+strings.Replace(oneOfEach, "64512:1", "64512:2", 1))
	eventually(t, "the password", func() bool { m, _ := c.session("missing"); return m.Password == "hush" })
	eventually(t, "the other community", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		r := c.seats[at].Routes
		return len(r) == 1 && reflect.DeepEqual(r[0].Communities, []uint32{64512<<16 | 2})
	})
	// Who is edited into nonsense keeps its session, frozen; who is deleted loses it.
	s.Kubectl(t, "annotate", "-n", "holdfast-system", "bgppeers/missing", "holdfast.dev/ttl-security=maybe")
	eventually(t, "frozen", func() bool { m, ok := c.session("missing"); return ok && m.Frozen })
	eventually(t, "why", func() bool {
		return strings.HasPrefix(s.accepted(t, "bgppeers/missing"), "False Refused annotation holdfast.dev/ttl-security is \"maybe\"")
	})
	// An advertisement that loses what it names stays in use as it was; deleted, it goes.
	s.Kubectl(t, "delete", "-n", "holdfast-system", "communities/c")
	eventually(t, "that it is refused, and stays in use", func() bool {
		got := s.accepted(t, "bgpadvertisements/a")
		return strings.HasPrefix(got, "False Refused spec.communities names \"blue\"") && strings.Contains(got, "stays in use as it was before")
	})
	c.mu.Lock()
	if r := c.seats[at].Routes; len(r) != 1 || !reflect.DeepEqual(r[0].Communities, []uint32{64512<<16 | 2}) {
		t.Errorf("without the Community the routes are %+v", r)
	}
	c.mu.Unlock()
	s.Kubectl(t, "delete", "-n", "holdfast-system", "bgppeers/good", "bgpadvertisements/a")
	eventually(t, "no session, and the one that had to wait", func() bool {
		_, ok := c.session("good")
		z, _ := c.session("zzz")
		return !ok && z.Address == netip.MustParseAddr("10.0.0.2") && !z.Frozen
	})
	eventually(t, "no route", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.seats[at].Routes) == 0
	})
}

// Where only the manifests of a version without BGP are installed, all else works.
func TestOldInstallDoesWithoutBGP(t *testing.T) {
	s := Start(t)
	s.Kubectl(t, "delete", "crd", "bgppeers.metallb.io", "bgpadvertisements.metallb.io", "bfdprofiles.metallb.io", "communities.metallb.io", "servicebgpstatuses.metallb.io")
	s.Kubectl(t, "patch", "-n", "holdfast-system", "role/holdfast", "--type=json", "-p", `[{"op":"add","path":"/rules","value":[
{"apiGroups":["metallb.io"],"resources":["ipaddresspools","l2advertisements"],"verbs":["list","watch"]},
{"apiGroups":["metallb.io"],"resources":["ipaddresspools/status","l2advertisements/status"],"verbs":["patch"]},
{"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["create","list","watch","update"]},
{"apiGroups":[""],"resources":["secrets"],"verbs":["create"]},
{"apiGroups":[""],"resources":["secrets"],"resourceNames":["holdfast-membership"],"verbs":["list","watch"]}]}]`)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+advertisement+fmt.Sprintf(node, "node1")+service("a", "")+fmt.Sprintf(slice, "a"))
	c := s.run(t, "node1")
	eventually(t, "an address in the status", func() bool { return s.address(t, "a") == "192.0.2.0" })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told != 1 || len(c.sessions) != 0 {
		t.Errorf("told %d times: %+v", c.told, c.sessions)
	}
}
