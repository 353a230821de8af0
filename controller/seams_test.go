package controller

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Service that is made and deleted before the leader looks is nothing to it, and no
// reason to fall.
func TestServiceThatCameAndWentBetweenTwoSteps(t *testing.T) {
	n := shopped("a")
	onStage(t, nil, func(st *stage) {
		time.Sleep(time.Second)
		s := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{{Port: 80}}}}
		s.Namespace, s.Name, s.UID, s.ResourceVersion = n.Namespace, n.Name, "u", "11"
		gone := s.DeepCopy()
		gone.ResourceVersion = "12"
		// Both are delivered before anybody is woken.
		k := st.store("services").(*keeping[*corev1.Service, *service])
		at, version, fact, err := k.reduced(s)
		if err != nil {
			t.Fatal(err)
		}
		st.belief.mu.Lock()
		k.shelf.delivered(at, version, fact)
		k.shelf.delivered(at, gone.ResourceVersion, nil)
		st.belief.mu.Unlock()
		st.belief.wake()
		time.Sleep(time.Second)
	})
}
