package apitest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Invariant 1 of package controller: while the API is away nothing changes, and
// what changed meanwhile is made up for soon after.
func TestAPIAwayChangesNothing(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+advertisement+fmt.Sprintf(node, "node1")+service("a", "")+fmt.Sprintf(slice, "a"))
	c := s.run(t, "node1")
	at := netip.MustParseAddr("192.0.2.0")
	placed := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.seats[at].Layer2)
	}
	eventually(t, "the address placed", func() bool { return placed() == 1 })
	s.StopAPI(t)
	for range 60 {
		time.Sleep(100 * time.Millisecond)
		if placed() != 1 {
			t.Fatal("the seat was lost with the API")
		}
	}
	if c.Stats().Leads {
		t.Error("still leads, a second after the fence")
	}
	s.StartAPI(t)
	began := time.Now()
	s.Apply(t, service("b", ""))
	eventually(t, "the next Service served", func() bool { return s.address(t, "b") == "192.0.2.1" })
	t.Logf("made up for after %s", time.Since(began).Round(time.Millisecond))
	if placed() != 1 {
		t.Error("the seat was lost with the relist")
	}
}

// Invariant 7 of package controller.
func TestBadObjectsAreRefusedByThemselves(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "good", "192.0.2.0/24")+fmt.Sprintf(pool, "cidr", "192.0.3.0/33")+fmt.Sprintf(pool, "overlap", "192.0.2.8/32")+`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: selector, namespace: holdfast-system}
spec: {addresses: [198.51.100.0/24], serviceAllocation: {serviceSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: selector, namespace: holdfast-system}
spec: {nodeSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: unknown, namespace: holdfast-system}
spec: {ipAddressPools: [nowhere]}
---
`+advertisement+fmt.Sprintf(node, "node1")+service("a", "")+fmt.Sprintf(slice, "a"))
	s.run(t, "node1").follow()
	eventually(t, "the good Service announced", func() bool {
		return strings.Contains(s.shown(t, "default", "services/a"), `"reason":"Announced"`)
	})
	for object, want := range map[string]string{
		"ipaddresspools/good":       "True Accepted in use",
		"ipaddresspools/cidr":       "False Refused spec.addresses: \"192.0.3.0/33\"",
		"ipaddresspools/overlap":    "False Refused 192.0.2.8-192.0.2.8 overlaps",
		"ipaddresspools/selector":   "False Refused spec.serviceAllocation.serviceSelectors[0]: ",
		"l2advertisements/selector": "False Refused spec.nodeSelectors[0]: ",
		"l2advertisements/unknown":  "True Incomplete spec.ipAddressPools names nowhere",
		"l2advertisements/all":      "True Accepted in use",
	} {
		var got string
		eventually(t, object+" "+want, func() bool {
			got = s.accepted(t, object)
			return strings.HasPrefix(got, want)
		})
		t.Logf("%s: %s", object, got)
	}
}
