package apitest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/controller"
)

const (
	wentBack  = "has gone back to an older state"
	readAnew  = "everything was read anew"
	oldWrites = 3000 // that the backup does not know of
)

// busy makes that many writes of objects that are not ours.
func (s *Server) busy(t *testing.T, writes int) {
	t.Helper()
	for i := range writes {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("busy-", i)}}
		if _, err := s.API.CoreV1().ConfigMaps("default").Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// version returns the resourceVersion that the API is at.
func (s *Server) version(t *testing.T) string {
	t.Helper()
	list, err := s.API.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	return list.ResourceVersion
}

// since waits until something is so, and returns how long that took from began.
func since(t *testing.T, began time.Time, what string, is func() bool) time.Duration {
	t.Helper()
	eventually(t, what, is)
	took := time.Since(began)
	t.Logf("%s %s after the API was back", what, took.Round(10*time.Millisecond))
	return took
}

// Invariant 9 of package controller: etcd is restored from a backup, with the API
// server restarted; resourceVersions go back by 3,000 writes. Copies run with the
// durations that they have by default.
func TestEtcdIsRestored(t *testing.T) {
	s := Start(t)
	s.Apply(t, fmt.Sprintf(pool, "p", "192.0.2.0/24")+advertisement+fmt.Sprintf(node, "node1")+fmt.Sprintf(node, "node2")+
		service("stays", "")+fmt.Sprintf(slice, "stays")+service("goes", "")+fmt.Sprintf(slice, "goes"))
	usual := func(c *controller.Config) { c.LeaseDuration = 0 }
	copies := []*instance{s.runWith(t, "node1", usual), s.runWith(t, "node2", usual)}
	leads := func() bool { return copies[0].Stats().Leads || copies[1].Stats().Leads }
	everywhere := func(is func(*instance) bool) func() bool {
		return func() bool { return is(copies[0]) && is(copies[1]) }
	}
	announced := func(addr string, want bool) func() bool {
		return everywhere(func(c *instance) bool { seat, ok := c.seat(addr); return (ok && len(seat.Layer2) > 0) == want })
	}
	eventually(t, "two announced", func() bool {
		return announced("192.0.2.0", true)() && announced("192.0.2.1", true)()
	})
	stays, goes := s.address(t, "stays"), s.address(t, "goes")
	// What the backup has, and was changed after it: a Service is gone, and another
	// has come; one has lost its endpoints; a pool is another.
	s.Backup(t)
	eventually(t, "a leader after the backup", leads)
	s.Apply(t, service("later", "")+fmt.Sprintf(slice, "later"))
	eventually(t, "the later one announced", announced("192.0.2.2", true))
	s.Kubectl(t, "delete", "service/goes", "endpointslice/goes-1", "endpointslice/stays-1")
	eventually(t, "no endpoints", announced(stays, false))
	eventually(t, "none gone", announced(goes, false))
	s.busy(t, oldWrites)
	before := s.version(t)
	time.Sleep(2 * time.Second) // bookmarks, renewals

	s.Restore(t)
	began := time.Now()
	t.Logf("resourceVersion %s before, %s after", before, s.version(t))
	if took := since(t, began, "somebody leads", leads); took > 15*time.Second {
		t.Error("nobody has led for too long")
	}
	s.Apply(t, service("new", "")+fmt.Sprintf(slice, "new"))
	if took := since(t, began, "a new Service has its address", func() bool { return s.address(t, "new") != "" }); took > 15*time.Second {
		t.Error("the new Service has waited for too long")
	}
	since(t, began, "the address of a Service that is gone is announced for nobody else", everywhere(func(c *instance) bool {
		seat, ok := c.seat("192.0.2.2")
		return !ok || len(seat.Services) == 1 && seat.Services[0].Name == "new"
	}))
	since(t, began, "the Service that is back is announced", announced(goes, true))
	since(t, began, "the endpoints that are back count", announced(stays, true))
	since(t, began, "everything was read", everywhere(func(c *instance) bool { return c.logged(readAnew) == 1 }))

	// A copy that does not lead hears what changes from now on.
	s.Apply(t, strings.Replace(fmt.Sprintf(slice, "stays"), "nodeName: node1", "nodeName: node2", 1))
	s.Kubectl(t, "patch", "service", "stays", "-p", `{"spec":{"externalTrafficPolicy":"Local"}}`)
	eventually(t, "the endpoints have moved", everywhere(func(c *instance) bool {
		seat, _ := c.seat(stays)
		return len(seat.Layer2) == 1 && seat.Layer2[0].Node == "node2"
	}))
	for _, c := range copies {
		if n := c.logged(wentBack); n != 1 {
			t.Errorf("%s has said %d times that the storage went back", c.Node, n)
		}
	}
}
